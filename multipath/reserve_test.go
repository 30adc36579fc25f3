// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// reserving is a rule with a reservation.
func reserving(change func(*Rule)) func(*Config) {
	return func(c *Config) {
		r := Rule{CacheProtected: true, Reservation: Reservation{AllRegistrants: true}}
		if change != nil {
			change(&r)
		}
		c.Rule = func(...string) Rule { return r }
	}
}

// second launches another gateway on the network of bd.
func (bd *bed) second(change func(*Config)) *bed {
	bd.t.Helper()
	o := &bed{t: bd.t, net: bd.net, store: newMemStore()}
	o.launch(func(c *Config) {
		c.Adapters = []Adapter{
			{Name: "vmhba0", Connector: &fakeConnector{net: bd.net, name: "other0"}},
			{Name: "vmhba1", Connector: &fakeConnector{net: bd.net, name: "other1"}},
		}
		change(c)
	})
	return o
}

// owners counts the keys of LUN 1 by gateway.
func (bd *bed) owners(l *fakeLUN) map[uint32]int {
	bd.net.mu.Lock()
	defer bd.net.mu.Unlock()
	n := map[uint32]int{}
	for _, k := range l.keys {
		n[RegistrationKey(k).Gateway()]++
	}
	return n
}

// H6: each path has a key before it is used, orphans of earlier logins go, keys of
// lost paths go without touching the living ones, and a clean stop leaves nothing.
func TestH06KeysFollowThePaths(t *testing.T) {
	for _, replace := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			bd := newBed(t)
			l := bd.net.server(iqn, portals(2)...).addLUN(1, newMedium(), naa(1))
			l.pr.replace = replace
			bd.start(reserving(nil))
			d := bd.device()
			check := func(what string, want int) {
				t.Helper()
				synctest.Wait()
				bd.net.mu.Lock()
				defer bd.net.mu.Unlock()
				if len(l.keys) != want || !l.pr.reserved {
					t.Errorf("%s: %d keys, reserved %v, want %d: %x", what, len(l.keys), l.pr.reserved, want, l.keys)
				}
			}
			check("at the start", 4)
			for range 5 {
				bd.net.cut("10.0.0.1:3260")
				time.Sleep(time.Second)
				check("a portal is lost", 2)
				mustOK(t, write(d, 0, 4096, 1))
				bd.net.mend("10.0.0.1:3260")
				time.Sleep(20 * time.Second)
				check("it is back", 4)
			}
			if got := bd.events.of(ReservationTaken); len(got) != 1 {
				t.Errorf("taken: %+v", got)
			}
			if got := append(bd.events.of(ReservationLost), bd.events.of(ReservationConflicts)...); len(got) != 0 {
				t.Errorf("told: %+v", got)
			}
			bd.stop()
			if len(l.keys) != 0 || l.pr.reserved {
				t.Errorf("left behind: %x", l.keys)
			}
		})
	}
}

// H6, H16: a second gateway reads, and writes only after it has preempted; the first
// one then writes no more, and does not take the LUN back by itself.
func TestH06SecondGatewayMustPreempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, reserving(nil))
		d := bd.device()
		mustOK(t, write(d, 0, 4096, 1))
		o := bd.second(reserving(nil))
		time.Sleep(time.Second)
		e := o.device()
		mustRead(t, e, 0, 4096, 1)
		if res := write(e, 0, 4096, 2).wait(); res.Class != backends.ReservationConflict {
			t.Errorf("the second gateway writes: %v", res.Class)
		}
		if s := e.State(); !s.Barred || !strings.Contains(s.Reservation, "foreign: reserved") {
			t.Errorf("state %+v", s.Reservation)
		}
		if n := bd.owners(l); len(n) != 1 {
			t.Errorf("keys of %v", n)
		}
		if res := write(d, 0, 4096, 3).wait(); !res.OK() {
			t.Errorf("the first gateway: %v", res.Err())
		}
		done, err := o.m.Preempt(context.Background(), e.Name(), 0, 0)
		if err != nil || len(done.Keys) != 4 || !done.Reset || done.Aborted {
			t.Errorf("preempt: %+v, %v", done, err)
		}
		mustOK(t, write(e, 0, 4096, 4))
		if res := write(d, 0, 4096, 5).wait(); res.Class != backends.ReservationConflict {
			t.Errorf("the first gateway still writes: %v", res.Class)
		}
		mustRead(t, d, 0, 4096, 4)
		if got := bd.events.of(ReservationLost); len(got) != 1 {
			t.Errorf("lost: %+v", got)
		}
		time.Sleep(time.Minute)
		if n := bd.owners(l); len(n) != 1 || n[e.gatewayKey()] != 4 {
			t.Errorf("keys of %v", n)
		}
		if _, err := o.m.Preempt(context.Background(), e.Name(), 0, 0); !errors.Is(err, ErrNoSuchKey) {
			t.Errorf("nobody is there to preempt: %v", err)
		}
		// The second one leaves; the first finds the LUN free and takes it.
		o.stop()
		time.Sleep(10 * time.Second)
		mustOK(t, write(d, 0, 4096, 6))
		bd.stop()
	})
}

// Two gateways that come at once: exactly one of them gets the LUN.
func TestH06BothAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd := newBed(t)
		l := bd.net.server(iqn, portals(2)...).addLUN(1, newMedium(), naa(1))
		o := bd.second(reserving(nil))
		bd.launch(reserving(nil))
		time.Sleep(10 * time.Second)
		if n := bd.owners(l); len(n) != 1 {
			t.Errorf("keys of %v", n)
		}
		a, b := write(bd.device(), 0, 4096, 1).wait(), write(o.device(), 8192, 4096, 1).wait()
		if a.OK() == b.OK() {
			t.Errorf("they write: %v, %v", a.Class, b.Class)
		}
		o.stop()
		bd.stop()
	})
}

// Section 5, RESERVATION CONFLICT: with our key missing it is registered again and
// the request is sent once more. The target has forgotten all.
func TestH08ConflictReregisters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, reserving(nil))
		bd.net.with(func() { l.keys = []uint64{}; l.pr.reserved = true })
		// A stale all-registrants reservation with no key at all: nobody may write,
		// and nobody can say whose it is.
		if res := write(bd.device(), 0, 4096, 1).wait(); res.Class != backends.ReservationConflict {
			t.Errorf("got %v", res.Class)
		}
		bd.net.with(func() { l.pr.reserved = false })
		time.Sleep(10 * time.Second)
		mustOK(t, write(bd.device(), 0, 4096, 1))
		var dropped uint64
		bd.net.with(func() { // one key of four
			dropped = l.keys[0]
			l.keys = slices.Delete(l.keys, 0, 1)
		})
		for range 16 {
			mustOK(t, write(bd.device(), 0, 4096, 2))
		}
		if k := bd.net.keysOf(l.srv)[0]; !slices.Contains(k, dropped) {
			t.Errorf("%x is not registered again: %x", dropped, k)
		}
		bd.stop()
	})
}

// A target without persistent reservations cannot keep others out, so nothing is
// written there.
func TestReservationUnsupported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd := newBed(t)
		bd.net.server(iqn, portals(1)...).addLUN(1, newMedium(), naa(1)).noPR = true
		bd.start(reserving(nil))
		if res := write(bd.device(), 0, 4096, 1).wait(); res.Class != backends.ReservationConflict {
			t.Errorf("got %v", res.Class)
		}
		if got := bd.events.of(ReservationConflicts); len(got) != 1 || !strings.Contains(got[0].Reason, "does not do") {
			t.Errorf("told: %+v", got)
		}
		mustRead(t, bd.device(), 0, 4096, 0)
		bd.stop()
	})
}

// twoGroups is one target whose portals are in groups of their own: an ISID of one
// reinstates nothing in the other.
func twoGroups(t *testing.T, change func(*Config)) (*bed, *fakeLUN) {
	bd := newBed(t)
	l := bd.net.server(iqn, portals(2)...).addLUN(1, newMedium(), naa(1))
	bd.net.portals["10.0.0.2:3260"].tag = 2
	bd.start(func(c *Config) {
		c.Adapters = c.Adapters[:1]
		change(c)
	})
	return bd, l
}

// cutUnder sends W1, waits until it runs at the target, and takes its portal away.
func cutUnder(t *testing.T, bd *bed, l *fakeLUN, slow time.Duration) (w1 *call, portal string) {
	t.Helper()
	first := true
	bd.net.with(func() {
		l.delay = func(r *backends.Request) time.Duration {
			if r.Op == backends.Write && first {
				first = false
				return slow
			}
			return 0
		}
	})
	w1 = write(bd.device(), 0, 4096, 1)
	synctest.Wait()
	for _, p := range bd.device().Paths() {
		if p.Inflight > 0 {
			portal = p.Portal
		}
	}
	bd.net.cut(portal)
	return w1, portal
}

// Rule 6(c): no portal of the group is left. The key of the lost path is taken away
// over the other group, and a reset waits for what runs; also when the first one is
// not answered in time.
func TestH01PreemptFencesOverAnotherGroup(t *testing.T) {
	for _, slow := range []time.Duration{3 * time.Second, 8 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			bd, l := twoGroups(t, reserving(nil))
			w1, _ := cutUnder(t, bd, l, slow)
			begin := time.Now()
			mustOK(t, w1)
			w2 := write(bd.device(), 0, 4096, 2)
			mustOK(t, w2)
			if took := w2.at.Sub(begin); took < slow-time.Second || took > slow+4*time.Second {
				t.Errorf("W2 took %v, want to wait for the %v of W1", took, slow)
			}
			got := bd.events.of(FenceDone)
			if len(got) != 1 || got[0].Method != preemptResetMethod {
				t.Errorf("fences: %+v", got)
			}
			time.Sleep(10 * time.Second)
			if v := bd.net.peek(l); v != 2 {
				t.Errorf("the medium has %d, want 2", v)
			}
			bd.net.mend("10.0.0.1:3260")
			bd.net.mend("10.0.0.2:3260")
			time.Sleep(20 * time.Second)
			if n := bd.used(); n != 2 {
				t.Errorf("%d paths are used again", n)
			}
			bd.stop()
		})
	}
}

// Without a reservation the key proves nothing: what the target has not read yet
// would be carried out. W2 waits for the portal.
func TestH01NoReservationNoPreempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, l := twoGroups(t, func(*Config) {})
		w1, portal := cutUnder(t, bd, l, 3*time.Second)
		mustOK(t, w1)
		w2 := write(bd.device(), 0, 4096, 2)
		time.Sleep(10 * time.Second)
		if w2.ended() || l.pr.preempts != 0 {
			t.Errorf("W2 ended (%v) or %d preempts", w2.res.Class, l.pr.preempts)
		}
		bd.net.mend(portal)
		mustOK(t, w2)
		bd.stop()
	})
}

// Rule 12: a LUN that others use is not reset, unless the rule says so; the path
// itself is used again.
func TestH12ResetOffOnSharedLUN(t *testing.T) {
	for name, c := range map[string]struct {
		rule   Rule
		key    uint64
		resets bool
	}{
		"alone":           {Rule{}, 0, true},
		"rule says never": {Rule{FenceReset: FenceNever}, 0, false},
		"shared by rule":  {Rule{Shared: true}, 0, false},
		"foreign key":     {Rule{}, 0xcafe, false},
		"always":          {Rule{FenceReset: FenceAlways}, 0xcafe, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bd := newBed(t)
				l := bd.net.server(iqn, portals(2)...).addLUN(1, newMedium(), naa(1))
				if c.key != 0 {
					l.keys = []uint64{c.key}
				}
				bd.start(func(cfg *Config) { cfg.Rule = func(...string) Rule { return c.rule } })
				if got, want := bd.device().Info().Caps.Has(backends.Shared), c.rule.Shared || c.key != 0; got != want {
					t.Errorf("told as shared: %v, want %v", got, want)
				}
				w1, portal := cutUnder(t, bd, l, 3*time.Second)
				mustOK(t, w1)
				w2 := write(bd.device(), 0, 4096, 2)
				time.Sleep(10 * time.Second)
				bd.net.mend(portal)
				time.Sleep(10 * time.Second)
				if got := bd.net.count(&bd.net.resets) > 0; got != c.resets || w2.ended() != c.resets {
					t.Errorf("resets %v, W2 ended %v, want %v", got, w2.ended(), c.resets)
				}
				time.Sleep(20 * time.Second)
				if n := bd.used(); n != 4 {
					t.Errorf("%d paths are used: %+v", n, bd.m.Paths())
				}
				told := bd.events.of(FenceFailed)
				if !c.resets && (len(told) == 0 || !strings.Contains(told[0].Reason, "is off here")) {
					t.Errorf("told: %+v", told)
				}
				w2.wait()
				time.Sleep(time.Minute)
				_ = bd.m.Close()
				<-bd.ended // with ghosts left it is not clean, and may say so
				time.Sleep(time.Minute)
			})
		})
	}
}

// H3, P18: the level tells what was proved, and follows the paths.
func TestH03FenceLevels(t *testing.T) {
	level := func(bd *bed) string { synctest.Wait(); return bd.device().State().Fencing }
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		if got := level(bd); got != "fenced" {
			t.Errorf("one target, two portals: %s", got)
		}
		bd.stop()
		bd, _, _ = oneName(t, func(c *Config) { c.Adapters = c.Adapters[:1] })
		if got := level(bd); got != "waiting" {
			t.Errorf("two processes: %s", got)
		}
		bd.stop()
		bd, _, _ = oneName(t, func(c *Config) {
			c.Adapters = c.Adapters[:1]
			reserving(func(r *Rule) { r.Quiesce = time.Minute })(c)
		})
		if got := level(bd); got != "timed" {
			t.Errorf("two processes with a quiesce time: %s", got)
		}
		bd.stop()
	})
	synctest.Test(t, func(t *testing.T) {
		bd, _ := twoGroups(t, reserving(nil))
		if got := level(bd); got != "pr-fenced" {
			t.Errorf("two groups with a reservation: %s", got)
		}
		bd.net.cut("10.0.0.1:3260")
		time.Sleep(time.Second)
		if got := level(bd); got != "waiting" {
			t.Errorf("one path is left: %s", got)
		}
		bd.net.mend("10.0.0.1:3260")
		time.Sleep(20 * time.Second)
		if got := level(bd); got != "pr-fenced" {
			t.Errorf("it is back: %s", got)
		}
		bd.stop()
		bd, _ = twoGroups(t, func(*Config) {})
		if got := level(bd); got != "waiting" {
			t.Errorf("two groups: %s", got)
		}
		bd.stop()
	})
}
