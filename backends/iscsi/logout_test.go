// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

// nextRaw gives the next PDU, NOP-Outs too, and answers none. False: the
// initiator has closed.
func (f *fake) nextRaw() (h wire.BHS, ok bool) {
	_, err := readPDU(f.sock, f.recvF, &h)
	return h, err == nil
}

// TestNothingAfterLogout: no command, function or ping follows a Logout Request,
// and what is submitted then was never sent (RFC 7143 11.14). A target that does
// not answer the logout is left after FenceLogin.
func TestNothingAfterLogout(t *testing.T) {
	for _, answer := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			leaving, submitted := make(chan struct{}), make(chan struct{})
			r := newRig(t, func(f *fake) {
				first, _ := f.command()
				f.send(&wire.AsyncMessage{Event: wire.AsyncLogoutRequest, Parameter3: 1, Numbers: f.status()}, nil)
				h, _ := f.recv()
				if h.Opcode() != wire.OpLogoutRequest {
					t.Errorf("got %v, want a logout", h.Opcode())
				}
				close(leaving)
				<-submitted
				// Opens the window, and shows what the initiator sends now.
				f.send(&wire.NOPIn{ITT: wire.NoTag, TTT: 5, Numbers: f.numbers()}, nil)
				f.sendData(first, make([]byte, 4096)) // it may still end well
				for h2, ok := f.nextRaw(); ok; h2, ok = f.nextRaw() {
					if h2.Opcode() != wire.OpNOPOut || h2.ITT() != wire.NoTag {
						t.Errorf("%v after the logout", h2.Opcode())
					}
					if answer {
						f.send(&wire.LogoutResponse{ITT: h.ITT(), Numbers: f.status()}, nil)
					}
				}
			})
			r.waitUp()
			first := r.submit(read4k())
			<-leaving
			start := time.Now()
			later := r.submit(read4k())
			if got := <-r.tmf(&backends.TaskManagement{Function: backends.LUNReset}); got != backends.TMLost {
				t.Errorf("reset: %v", got)
			}
			if _, room := r.s.Load(); room != 0 {
				t.Errorf("room for %d commands", room)
			}
			close(submitted)
			if o := <-first; !o.res.OK() {
				t.Errorf("the command before the logout: %+v", o.res)
			}
			if o := <-later; o.res.Class != backends.Transport || o.res.Sent != backends.SentNone {
				t.Errorf("the command after the logout: %+v", o.res)
			}
			if l := <-r.down; l.Class != backends.LossLogout {
				t.Errorf("got loss %v: %v", l.Class, l.Err)
			}
			if took := time.Since(start); !answer && took != 5*time.Second || answer && took > time.Second {
				t.Errorf("answer %v: left after %v", answer, took)
			}
			r.close()
		})
	}
}
