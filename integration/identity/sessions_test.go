// SPDX-License-Identifier: Apache-2.0

//go:build integration

package identity

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/integration/scripted"
	wire "pathgate/internal/iscsi"
	"pathgate/internal/scsi"
	"pathgate/multipath"
)

// TestH08Redirects (B35): logins that are sent elsewhere. The session is where the
// target has sent it, being sent there for good is an alarm, and what goes in a
// circle, too far or out of the allowed networks is no path.
func TestH08Redirects(t *testing.T) {
	const portals = 6 // the first two are configured, the others only led to
	temporary, permanent := wire.LoginTargetMovedTemporarily, wire.LoginTargetMovedPermanently
	for name, tt := range map[string]struct {
		status  wire.LoginStatus
		next    map[int]int // where the logins at a portal are sent
		foreign string      // where those at portal 0 are sent instead
		at      int         // the portal of the session in the end
		reason  string      // there is none, since
		refused int         // logins that were sent on
	}{
		"for a time":           {status: temporary, next: map[int]int{0: 2}, at: 2, refused: 1},
		"for good":             {status: permanent, next: map[int]int{0: 2}, at: 2, refused: 1},
		"three hops":           {status: temporary, next: map[int]int{0: 2, 2: 3, 3: 4}, at: 4, refused: 3},
		"four hops":            {status: temporary, next: map[int]int{0: 2, 2: 3, 3: 4, 4: 5}, reason: "redirected more than 3 times", refused: 4},
		"to itself":            {status: permanent, next: map[int]int{0: 0}, reason: "redirected more than 3 times", refused: 4},
		"in a circle":          {status: temporary, next: map[int]int{0: 2, 2: 0}, reason: "redirected more than 3 times", refused: 4},
		"to a foreign address": {status: permanent, foreign: "198.51.100.1:3260,1", reason: "not in the allowed networks", refused: 1},
		"to another loopback":  {status: temporary, foreign: "127.9.9.9:3260,1", reason: "not in the allowed networks", refused: 1},
		"to a name":            {status: temporary, foreign: "localhost:3260,1", reason: "not in the allowed networks", refused: 1},
	} {
		t.Run(name, func(t *testing.T) {
			u := scripted.NewUnit(1 << 20)
			tg := scripted.New(t, scripted.Options{Portals: make([]scripted.Portal, portals), Units: map[uint16]*scripted.Unit{1: u}})
			r := start(t, options{allowed: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}, tg.Addresses()[:2]...)
			r.up(2)
			tg.OnLogin(func(l scripted.Login) (a scripted.LoginAnswer) {
				to, ok := tt.next[l.Portal]
				switch {
				case l.Discovery:
				case ok:
					a = scripted.LoginAnswer{Status: tt.status, Address: tg.Address(to) + ",1"}
				case l.Portal == 0:
					a = scripted.LoginAnswer{Status: tt.status, Address: tt.foreign}
				}
				return a
			})
			tg.Cut(0)
			if tt.reason != "" {
				r.poll("quarantine", func() bool { return r.path("vmhba0:0:1").Health == "quarantined" })
				if got := r.path("vmhba0:0:1").Reason; !strings.Contains(got, tt.reason) {
					t.Errorf("reason %q, want %q in it", got, tt.reason)
				}
			} else {
				r.poll("session at the other portal", func() bool { return tg.Sessions(tt.at) == 1 })
				r.up(2)
			}
			for i := range 4 {
				if res := r.write(r.device(), i*4096, pattern(4096, 1)); !res.OK() {
					t.Errorf("%+v", res)
				}
			}
			refused := 0
			for i := range portals {
				refused += tg.Stats(i).Refused
			}
			if refused != tt.refused {
				t.Errorf("%d logins were sent on, want %d", refused, tt.refused)
			}
			if told := r.log.count(multipath.TargetMoved, ""); told > 1 || (told == 1) != (name == "for good") {
				t.Errorf("told %d times that the target has moved", told)
			}
		})
	}
}

// TestH08Leave (B36): the target asks for a logout, or for other parameters. What is
// in flight may end, nothing new goes there, then there is a logout in order, and a
// new session; no ghost.
func TestH08Leave(t *testing.T) {
	for _, event := range []wire.AsyncEvent{wire.AsyncLogoutRequest, wire.AsyncNegotiate} {
		t.Run(event.String(), func(t *testing.T) {
			r, tg, _ := two(t, options{timers: func(m *multipath.Timers) { m.Command = time.Minute }})
			d := r.device()
			gate := make(chan struct{})
			held := writesUntil(r, tg, scripted.Held(gate))
			before := tg.Stats(0)
			tg.Async(0, wire.AsyncMessage{Event: event, Parameter3: 60}, nil)
			r.poll("hold", func() bool { return !r.path("vmhba0:0:1").Used })
			mark := tg.Stats(0).Data()
			for i := range 16 {
				if res := r.write(d, 1<<19+i*4096, pattern(4096, 6)); !res.OK() {
					t.Errorf("%+v", res)
				}
			}
			if now := tg.Stats(0); now.Data() != mark || now.Logouts != before.Logouts {
				t.Errorf("%d commands and %d logouts while a write was in flight", now.Data()-mark, now.Logouts-before.Logouts)
			}
			close(gate)
			for _, ch := range held {
				if res := r.wait(ch); !res.OK() {
					t.Errorf("in flight: %+v", res)
				}
			}
			r.poll("new session", func() bool { return tg.Stats(0).Logins > before.Logins })
			r.up(2)
			if got := tg.Stats(0); got.Logouts != before.Logouts+1 || got.Logins != before.Logins+1 || got.Tasks != 0 {
				t.Errorf("%+v, was %+v", got, before)
			}
			if n := r.log.count(multipath.GhostHeld, ""); n > 0 {
				t.Errorf("%d ghosts", n)
			}
		})
	}
	t.Run("not in time", func(t *testing.T) { // the write in flight is a ghost
		r, tg, u := two(t, options{})
		all := writesUntil(r, tg, scripted.Silent)
		before := tg.Stats(0)
		tg.Async(0, wire.AsyncMessage{Event: wire.AsyncLogoutRequest, Parameter3: 1}, nil)
		for _, ch := range all {
			if res := r.wait(ch); !res.OK() {
				t.Errorf("in flight: %+v", res)
			}
		}
		r.poll("fence", func() bool { return r.log.count(multipath.FenceDone, "") > 0 })
		r.up(2)
		if got := tg.Stats(0); got.Logouts != before.Logouts+1 || r.log.count(multipath.GhostHeld, "vmhba0:0:1") != 1 {
			t.Errorf("%+v, was %+v; %d ghosts", got, before, r.log.count(multipath.GhostHeld, ""))
		}
		if !bytes.Equal(u[1].Medium.Bytes(0, 4096), pattern(4096, 5)) {
			t.Error("not written")
		}
	})
}

// writesUntil writes until do has one of the writes at portal 0 and all have come.
func writesUntil(r *rig, tg *scripted.Target, do scripted.Action) (list []<-chan backends.Result) {
	come := func() int { return tg.Stats(0).Data() + tg.Stats(1).Data() }
	before, d := come(), r.device()
	s := tg.On(scripted.Rule{Portals: []int{0}, Ops: scripted.Writes, Times: 1, Do: do})
	r.poll("a write on the path", func() bool {
		switch {
		case come() < before+len(list):
			return false
		case s.Hits() > 0:
			return true
		}
		_, ch := submit(d, backends.Write, uint64(len(list))*4096, 4096, pattern(4096, 5))
		list = append(list, ch)
		return false
	})
	return list
}

// TestH08DataRejected: the target says that the digest of our data was wrong (Reject
// 02h), and ends the command for it: the same path once more, then another.
func TestH08DataRejected(t *testing.T) {
	rejected := func(c *scripted.Command) {
		var h wire.BHS
		c.Encode(&h)
		c.Send(wire.Reject{Reason: wire.RejectDataDigest}, h[:])
	}
	ended := func(c *scripted.Command) {
		rejected(c)
		c.Check(scsi.CodeProtocolServiceCRC)
	}
	for _, tt := range []row{
		{name: "once", op: backends.Write, do: ended, times: 1},
		{name: "again", op: backends.Write, do: ended, other: true},
		{name: "lost before its status", op: backends.Write, do: func(c *scripted.Command) {
			rejected(c)
			scripted.Reset(c)
		}, times: 1, other: true, health: "down", ghost: true},
		{name: "of a read", op: backends.Read, do: rejected, times: 1, other: true, health: "down"},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t) })
	}
}
