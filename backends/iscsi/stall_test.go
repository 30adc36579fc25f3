// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// mute takes everything and answers nothing.
func mute(f *fake) {
	buf := make([]byte, 4096)
	for {
		if _, err := f.sock.Read(buf); err != nil {
			return
		}
	}
}

// TestP16OwnStall: a NOP deadline that is found to have passed by a timer that fired
// late begins anew, since the answer may lie in the socket; in time it is the end.
func TestP16OwnStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, mute)
		r.waitUp()
		time.Sleep(1500 * time.Millisecond) // a NOP-Out is out since 500 ms
		synctest.Wait()
		c := r.n.(*nexus).conn.Load()
		var b backends.Batch
		late := time.Now().Add(time.Second)
		next, err := c.tick(&b, late, true)
		if err != nil || next != late.Add(time.Second) {
			t.Errorf("after a stall: %v, next look after %v; want a whole deadline more", err, next.Sub(late))
		}
		_, err = c.tick(&b, next, false)
		var l *lossError
		if !errors.As(err, &l) || l.class != backends.LossSilent {
			t.Errorf("in time: %v, want silence", err)
		}
		b.Run()
		r.close()
	})
}
