// SPDX-License-Identifier: Apache-2.0

package iscsi

import wire "pathgate/internal/iscsi"

// window is the target's command window: which CmdSN may be sent. It is a pure
// value; the caller serialises. RFC 7143 4.2.2.1 (Command Numbering and
// Acknowledging).
type window struct {
	next wire.Serial // CmdSN of the next command that is not immediate
	exp  wire.Serial // ExpCmdSN as last told
	max  wire.Serial // MaxCmdSN as last told
}

// maxWindow bounds the room that a target can claim.
const maxWindow = 4096

// startWindow gives the window as it is after a login.
func startWindow(next wire.Serial, n wire.Numbers) window {
	w := window{next: next, exp: next, max: next.Prev()}
	w.update(n)
	return w
}

// update takes the numbers of a response. Numbers that are no window, older than
// what is known, or acknowledge what was never sent, change nothing.
func (w *window) update(n wire.Numbers) {
	if !n.ValidWindow() {
		return
	}
	if w.exp.Less(n.ExpCmdSN) && n.ExpCmdSN.LessEq(w.next) {
		w.exp = n.ExpCmdSN
	}
	if w.max.Less(n.MaxCmdSN) {
		w.max = n.MaxCmdSN
	}
}

// room tells how many commands may be sent now.
func (w *window) room() int {
	n := w.max.Sub(w.next) + 1
	return int(min(max(n, 0), maxWindow))
}

// take gives the number for one command; room must be positive.
func (w *window) take() wire.Serial {
	sn := w.next
	w.next = sn.Next()
	return sn
}
