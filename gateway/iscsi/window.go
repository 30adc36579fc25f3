// SPDX-License-Identifier: Apache-2.0

package iscsi

import wire "pathgate/internal/iscsi"

// window is the command window of a session: what it may be sent, and what comes
// next. Not safe for concurrent use. RFC 7143 4.2.2.1 (Command Numbering and
// Acknowledging).
//
// Invariant: max never goes back, and is not before exp - 1.
type window struct {
	exp   wire.Serial // ExpCmdSN: the next that is carried out
	max   wire.Serial // MaxCmdSN: the last that may come
	depth uint32      // most commands outstanding
	busy  uint32      // commands that have a place and are not answered
}

// place is where a CmdSN stands to the window.
type place uint8

const (
	placeNext    place = iota // its turn
	placeEarly                // in the window, but others come first
	placeOutside              // ignored
)

// start begins the numbering at first.
func (w *window) start(first wire.Serial, depth uint32) {
	*w = window{exp: first, max: first.Prev(), depth: depth}
	w.open()
}

func (w *window) place(sn wire.Serial) place {
	switch {
	case !sn.InWindow(w.exp, w.max):
		return placeOutside
	case sn == w.exp:
		return placeNext
	}
	return placeEarly
}

// advance ends the turn of exp.
func (w *window) advance() { w.exp = w.exp.Next() }

// enter and leave take and give back a place.
func (w *window) enter() { w.busy++ }
func (w *window) leave() { w.busy-- }

// closed tells that nothing may come.
func (w *window) closed() bool { return w.max.Less(w.exp) }

// open lets the window grow to what is free. A window that is wider already, since
// the depth has shrunk, closes as commands come.
func (w *window) open() {
	if w.busy >= w.depth {
		return
	}
	if m := w.exp.Add(w.depth - w.busy).Prev(); w.max.Less(m) {
		w.max = m
	}
}
