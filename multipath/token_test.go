// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"testing"
	"testing/synctest"
	"time"
)

// oneName is one medium behind two target processes that nothing tells apart from
// outside: same target name, same portal group tag, same LUN.
func oneName(t *testing.T, change func(*Config)) (bd *bed, a, b *fakeServer) {
	bd = newBed(t)
	m := newMedium()
	a = bd.net.server(iqn, "10.0.0.1:3260")
	b = bd.net.server(iqn, "10.0.0.2:3260")
	a.addLUN(1, m, naa(1))
	b.addLUN(1, m, naa(1))
	bd.start(func(c *Config) {
		c.Rule = func(...string) Rule { return Rule{CacheProtected: true} }
		if change != nil {
			change(c)
		}
	})
	if n := bd.used(); n != 2*len(bd.cfg.Adapters) {
		t.Fatalf("got %d paths in use: %+v", n, bd.m.Paths())
	}
	return bd, a, b
}

// H3, rule 5: a login with the lost session's ISID and a reset at another process
// of the same target name fence nothing, however well they are answered.
func TestH03OtherProcessOfSameNameIsNoFence(t *testing.T) {
	for _, adapters := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			bd, a, _ := oneName(t, func(c *Config) { c.Adapters = c.Adapters[:adapters] })
			d := bd.device()
			a.stop()
			mustOK(t, through(t, bd)) // from b, after the NOP timeout
			mustOK(t, write(d, 8192, 4096, 3))
			w2 := write(d, 0, 4096, 2)
			time.Sleep(20 * time.Second)
			if w2.ended() {
				t.Fatalf("W2 was let go over a ghost in the other process: %v, %+v", w2.res.Class, bd.events.of(FenceDone))
			}
			mustRead(t, d, 8192, 4096, 3)
			a.cont()
			mustOK(t, w2)
			time.Sleep(time.Second)
			if got := bd.net.peek(a.luns[1]); got != 2 {
				t.Errorf("the medium has %d, want 2", got)
			}
			if bd.net.resets == 0 {
				t.Error("no reset")
			}
			bd.stop()
		})
	}
}

// The same after a kill: which process the earlier run's session was with is told
// by its token.
func TestH03UncleanRestartSameName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := func(c *Config) { c.Adapters, c.Targets[0].Name = c.Adapters[:1], iqn }
		bd, a, b := oneName(t, one)
		a.stop()
		w1 := through(t, bd)
		crash := bd.store.clone()
		keys := bd.net.keysOf(a, b)
		mustOK(t, w1)
		bd.stop()
		bd.net.with(func() { a.luns[1].keys, b.luns[1].keys = keys[0], keys[1] })
		bd.store = crash
		bd.start(func(c *Config) {
			one(c)
			c.Run = 2
			c.Rule = func(...string) Rule { return Rule{CacheProtected: true} }
		})
		time.Sleep(time.Second) // ports wait a little for those before them
		w2 := write(bd.device(), 0, 4096, 2)
		time.Sleep(15 * time.Second)
		if w2.ended() {
			t.Fatalf("the first write passed before the fence: %v", w2.res.Class)
		}
		a.cont()
		mustOK(t, w2)
		time.Sleep(time.Second)
		if got := bd.net.peek(b.luns[1]); got != 2 {
			t.Errorf("the medium has %d, want 2", got)
		}
		bd.stop()
	})
}

// keysOf copies the registrations of LUN 1.
func (n *fakeNet) keysOf(list ...*fakeServer) (keys [][]uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range list {
		keys = append(keys, append([]uint64(nil), s.luns[1].keys...))
	}
	return keys
}

// Where no token can be left nothing proves that another portal leads to the same
// process: the ghost waits for its own portal.
func TestNoTokenNoOtherRoute(t *testing.T) {
	for name, change := range map[string]func(*fakeLUN){
		"no persistent reservations": func(l *fakeLUN) { l.noPR = true },
		"somebody has a reservation": func(l *fakeLUN) { l.held = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bd := newBed(t)
				l := bd.net.server(iqn, portals(2)...).addLUN(1, newMedium(), naa(1))
				change(l)
				bd.start(func(c *Config) {
					c.Adapters = c.Adapters[:1]
					c.Rule = func(...string) Rule { return Rule{FenceReset: FenceAlways} }
				})
				if l.held && len(l.keys) != 0 {
					t.Errorf("registered beside a reservation: %x", l.keys)
				}
				d := bd.device()
				bd.net.with(func() { l.delay = slow(10 * time.Millisecond) })
				w1 := write(d, 0, 4096, 1)
				synctest.Wait()
				portal := "10.0.0.1:3260"
				for _, p := range d.Paths() {
					if p.Inflight > 0 {
						portal = p.Portal
					}
				}
				bd.net.cut(portal)
				mustOK(t, w1)
				w2 := write(d, 0, 4096, 2)
				time.Sleep(10 * time.Second)
				if w2.ended() {
					t.Fatalf("W2 was let go: %v", w2.res.Class)
				}
				bd.net.mend(portal)
				mustOK(t, w2)
				bd.stop()
			})
		})
	}
}

// Targets that keep a registration of each login do not get more and more of ours,
// and a clean stop leaves none.
func TestTokensDoNotPileUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		for range 10 {
			bd.net.reset("10.0.0.1:3260", "")
			time.Sleep(time.Second)
		}
		if n := len(bd.net.keysOf(l.srv)[0]); n != 4 {
			t.Errorf("%d registrations of 4 paths", n)
		}
		bd.stop()
		if k := bd.net.keysOf(l.srv)[0]; len(k) != 0 {
			t.Errorf("left behind: %x", k)
		}
	})
}
