// SPDX-License-Identifier: Apache-2.0

//go:build integration

package identity

import (
	"bytes"
	"sync/atomic"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/integration/scripted"
	wire "pathgate/internal/iscsi"
	"pathgate/multipath"
)

// TestB30Moved: a read is given up on one path and done on another. What the first
// target then still sends for it costs the session there and never reaches the buffer
// that the client was given.
func TestB30Moved(t *testing.T) {
	r, tg, u := two(t, options{timers: func(m *multipath.Timers) { m.Command = 500 * time.Millisecond }})
	for i := range u {
		u[i].Medium.Put(0, pattern(4096, 3))
	}
	var late atomic.Pointer[scripted.Command]
	s := tg.On(scripted.Rule{Ops: scripted.Reads, Times: 1, Do: func(c *scripted.Command) { late.Store(c) }})
	q, ch := submit(r.device(), backends.Read, 0, 4096, nil)
	if res := r.wait(ch); !res.OK() || s.Hits() != 1 {
		t.Fatalf("%+v, %d hits", res, s.Hits())
	}
	c := late.Load()
	r.poll("ABORT TASK", func() bool { return tg.Stats(c.Portal).Tasks > 0 })
	r.rescan() // its commands come after the function in the session, so that has been answered
	c.Send(wire.DataIn{Final: true, HasStatus: true, ITT: c.ITT, TTT: wire.NoTag}, pattern(4096, 9))
	r.poll("loss of the session", func() bool { return r.log.count(multipath.PathDown, "") > 0 })
	if !bytes.Equal(q.Data.Bytes(), pattern(4096, 3)) {
		t.Error("the late data is in the client's buffer")
	}
	q.Data.Release()
	r.up(2)
}

// TestH08BrokenProtocol: the third session in a minute that is lost since its target
// breaks the protocol costs the path.
func TestH08BrokenProtocol(t *testing.T) {
	r, tg, _ := two(t, options{})
	for n := range 3 {
		r.up(2)
		if k := r.log.count(multipath.PathQuarantined, ""); k > 0 {
			t.Fatalf("quarantined after %d", n)
		}
		lost := r.log.count(multipath.PathDown, "") + r.log.count(multipath.PathQuarantined, "")
		tg.Async(0, wire.AsyncMessage{Event: wire.AsyncSCSI}, []byte{1, 0, 1})
		r.poll("loss of the session", func() bool {
			return r.log.count(multipath.PathDown, "")+r.log.count(multipath.PathQuarantined, "") > lost
		})
	}
	r.poll("quarantine", func() bool { return r.log.count(multipath.PathQuarantined, "vmhba0:0:1") == 1 })
	if res := r.write(r.device(), 0, pattern(4096, 1)); !res.OK() {
		t.Errorf("over the other path: %+v", res)
	}
}
