// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// killed ends the run as SIGKILL would: the store and the registrations are as they
// were, and what the targets have of it is not taken back.
func (bd *bed) killed(list ...*fakeServer) {
	bd.t.Helper()
	crash, keys := bd.store.clone(), bd.net.keysOf(list...)
	bd.stop()
	bd.store = crash
	bd.net.with(func() {
		for i, s := range list {
			s.luns[1].keys = keys[i]
		}
	})
}

// busyOn writes until a write is in flight over the portal, and resets that under it.
func (bd *bed) busyOn(portal string, l *fakeLUN) {
	bd.t.Helper()
	bd.net.with(func() { l.delay = slow(50 * time.Millisecond) })
	var calls []*call
	for i := range 8 {
		calls = append(calls, write(bd.device(), uint64(i)*4096, 4096, 1))
	}
	synctest.Wait()
	bd.net.reset(portal, "")
	mustOK(bd.t, calls...)
	bd.net.with(func() { l.delay = nil })
}

// Rule 4: sessions of a killed run are fenced over another portal of the same process
// also where they had been lost and fenced before: the records name the last login.
func TestH01RestartFencesOverAnotherPortal(t *testing.T) {
	for _, replace := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			bd, s, l := oneDisk(t, nil)
			bd.net.with(func() { l.pr.replace = replace })
			bd.busyOn("10.0.0.1:3260", l)
			time.Sleep(time.Minute) // fenced, and in use again
			if n := bd.used(); n != 4 || len(bd.events.of(FenceDone)) == 0 {
				t.Fatalf("%d paths in use, %d fences", n, len(bd.events.of(FenceDone)))
			}
			bd.killed(s)
			bd.net.cut("10.0.0.1:3260")
			bd.start(func(c *Config) { c.Run = 2 })
			time.Sleep(time.Second) // ports wait a little for those before them
			begin := time.Now()
			mustOK(t, write(bd.device(), 0, 4096, 2))
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("replace %v: the first write waited %v", replace, took)
				for _, e := range bd.events.all() {
					t.Log(e.Time.Format("05.000"), e.Kind, e.Path, e.Method, e.Reason, e.Loss)
				}
				for _, g := range bd.device().ghosts {
					t.Logf("%x %+v", g.key, g.rec)
				}
				t.Logf("%x", bd.net.keysOf(s))
			}
			bd.net.mend("10.0.0.1:3260")
			time.Sleep(time.Minute)
			bd.stop()
			if n := len(bd.store.ghosts); n != 0 {
				t.Errorf("%d records are left: %+v", n, bd.store.ghosts)
			}
		})
	}
}

// H5, rule 5: between the proof of the identity and the reset the session is lost, and
// comes back to another logical unit. What that one answers fences nothing.
func TestH05SwapBeforeTheReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		d := bd.device()
		other := bd.net.server(iqn)
		other.addLUN(1, newMedium(), naa(2))
		first := true
		bd.net.with(func() {
			l.delay = func(r *backends.Request) time.Duration {
				switch {
				case r.Op == backends.Read:
					return 280 * time.Millisecond // what the fence lets drain
				case r.Op == backends.Write && first:
					first = false
					return 3 * time.Second
				}
				return 0
			}
		})
		w1 := write(d, 0, 4096, 1)
		synctest.Wait()
		portal := ""
		for _, p := range d.Paths() {
			if p.Inflight > 0 {
				portal = p.Portal
			}
		}
		bd.net.reset(portal, "")
		mustOK(t, w1)
		reads := []*call{read(d, 0, 512), read(d, 0, 512)}
		w2 := write(d, 0, 4096, 2)
		time.Sleep(100 * time.Millisecond)
		bd.net.with(func() { bd.net.portals[portal].srv = other })
		bd.net.reset(portal, "")
		time.Sleep(time.Second)
		if w2.ended() {
			t.Errorf("W2 ended (%v) while W1 runs: %+v", w2.res.Class, bd.events.of(FenceDone))
		}
		mustOK(t, reads...)
		bd.net.with(func() { bd.net.portals[portal].srv = l.srv })
		bd.net.reset(portal, "")
		w2.wait()
		time.Sleep(5 * time.Second)
		if got := bd.net.peek(l); w2.res.OK() && got != 2 {
			t.Errorf("the medium has %d, want 2", got)
		}
		_ = bd.m.Close()
		<-bd.ended
		time.Sleep(time.Minute)
	})
}

// heldOnTheWay sends W1, and takes it for something that is held in the network on its
// way to the target, which gets it when s goes on (cont). It gives W1's portal.
func heldOnTheWay(t *testing.T, bd *bed, l *fakeLUN) (w1 *call, portal string) {
	t.Helper()
	first := true
	bd.net.with(func() {
		l.delay = func(r *backends.Request) time.Duration {
			if r.Op == backends.Write && first {
				first = false
				return time.Hour
			}
			return 0
		}
	})
	w1 = write(bd.device(), 0, 4096, 1)
	synctest.Wait()
	bd.net.with(func() {
		for c := range l.running {
			delete(l.running, c)
			c.begun = false
			c.conn.unread = append(c.conn.unread, c)
			portal = c.conn.nexus.tp.Portal
		}
	})
	if portal == "" {
		t.Fatal("W1 is not on its way")
	}
	return w1, portal
}

// Rule 5: a portal comes back in another target portal group. A login there with the
// same initiator port replaces nothing in the old group, also in the next run; back in
// its group it does.
func TestH01LoginToAnotherGroupIsNoFence(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart %v", restart), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rule := func(c *Config) { c.Rule = func(...string) Rule { return Rule{CacheProtected: true} } }
				bd, s, l := oneDisk(t, rule)
				w1, portal := heldOnTheWay(t, bd, l)
				bd.net.with(func() { bd.net.portals[portal].tag = 7 })
				if restart {
					crash := bd.store.clone()
					var unread []*fakeCmd
					var conn *fakeConn
					bd.net.with(func() {
						for _, c := range s.conns {
							if len(c.unread) > 0 {
								conn, unread = c, c.unread
							}
						}
					})
					bd.net.with(func() { bd.net.portals[portal].srv.stopped = false })
					keys := bd.net.keysOf(s)
					bd.net.reset(portal, "")
					_ = bd.m.Close()
					<-bd.ended
					time.Sleep(time.Minute)
					bd.net.with(func() {
						l.keys = keys[0]
						conn.gone, conn.unread = false, unread
						s.conns[conn.nexus.nexus(&fakePortal{tag: 1})] = conn
					})
					bd.store = crash
					bd.start(func(c *Config) { rule(c); c.Run = 2 })
					time.Sleep(time.Second)
				} else {
					bd.net.reset(portal, "")
					mustOK(t, w1)
				}
				w2 := write(bd.device(), 0, 4096, 2)
				time.Sleep(5 * time.Second)
				if w2.ended() {
					t.Errorf("restart %v: W2 ended (%v) while W1 is on its way: %+v", restart, w2.res.Class, bd.events.of(FenceDone))
				}
				bd.net.with(func() { bd.net.portals[portal].tag = 1 })
				bd.net.reset(portal, "")
				w2.wait()
				s.cont() // the network lets go what it held
				time.Sleep(5 * time.Second)
				if got := bd.net.peek(l); !w2.res.OK() || got != 2 {
					t.Errorf("restart %v: W2 %v, the medium has %d, want 2", restart, w2.res.Class, got)
				}
				time.Sleep(time.Minute)
				_ = bd.m.Close()
				<-bd.ended
				time.Sleep(time.Minute)
			})
		})
	}
}
