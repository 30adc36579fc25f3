// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// twoProcesses is one medium behind two target processes with a portal each: a
// fence on one says nothing about the other.
func twoProcesses(t *testing.T, change func(*Config)) (bd *bed, a, b *fakeServer) {
	bd = newBed(t)
	m := newMedium()
	a = bd.net.server("iqn.2026-11.test:a", "10.0.0.1:3260")
	b = bd.net.server("iqn.2026-11.test:b", "10.0.0.2:3260")
	a.addLUN(1, m, naa(1))
	b.addLUN(1, m, naa(1))
	bd.start(func(c *Config) {
		c.Adapters = c.Adapters[:1]
		c.Rule = func(...string) Rule { return Rule{CacheProtected: true} }
		if change != nil {
			change(c)
		}
	})
	if n := bd.used(); n != 2 {
		t.Fatalf("got %d paths in use, want 2: %+v", n, bd.m.Paths())
	}
	return bd, a, b
}

// through writes until one write has gone to the target that does not answer, and
// gives that one.
func through(t *testing.T, bd *bed) *call {
	t.Helper()
	for range 4 {
		c := write(bd.device(), 0, 4096, 1)
		synctest.Wait()
		if !c.ended() {
			return c
		}
	}
	t.Fatal("no write went to that path")
	return nil
}

// H1(a): the target is stopped with W1 in its receive queue.
func TestH01aStoppedTarget(t *testing.T) {
	for _, fenced := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			bd, a, _ := twoProcesses(t, func(c *Config) { c.fenceOff = !fenced })
			d := bd.device()
			a.stop()
			w1 := through(t, bd)
			mustOK(t, w1) // from the other path, after the NOP timeout
			other := write(d, 8192, 4096, 3)
			mustOK(t, other)
			w2 := write(d, 0, 4096, 2)
			time.Sleep(5 * time.Second)
			var held []backends.Range // W1, and not what else is written
			if fenced {
				held = append(held, backends.Range{Length: 4096})
			}
			for _, within := range []backends.Range{{Length: 1 << 20}, {Offset: 4096, Length: 8192}} {
				want := held
				if within.Offset > 0 {
					want = nil
				}
				if got := d.Held(nil, within); !slices.Equal(got, want) {
					t.Errorf("held in %v: got %v, want %v", within, got, want)
				}
			}
			if fenced && w2.ended() {
				t.Fatalf("W2 was let go over a ghost: %v", w2.res.Class)
			}
			mustRead(t, d, 8192, 4096, 3) // reads go on
			a.cont()
			mustOK(t, w2)
			if got := d.Held(nil, backends.Range{Length: 1 << 20}); len(got) != 0 {
				t.Errorf("held after the fence: %v", got)
			}
			time.Sleep(time.Second)
			got := bd.net.peek(a.luns[1])
			if fenced && got != 2 {
				t.Errorf("the medium has %d, want 2", got)
			}
			if !fenced && got != 1 {
				t.Errorf("the negative control saw no ghost: %d", got)
			}
			if fenced && len(bd.events.of(FenceDone)) == 0 {
				t.Error("no fence was told")
			}
			bd.stop()
		})
	}
}

// H1(b): W1 is in a slow worker of the target; the login is at once and proves
// nothing, only the reset does.
func TestH01bSlowWorker(t *testing.T) {
	for _, fenced := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			bd, a, _ := twoProcesses(t, func(c *Config) { c.fenceOff = !fenced })
			d := bd.device()
			bd.net.with(func() {
				a.luns[1].delay = slow(2700 * time.Millisecond)
			})
			w1 := through(t, bd)
			bd.net.with(func() { a.luns[1].delay = nil })
			bd.net.reset("10.0.0.1:3260", "")
			mustOK(t, w1)
			start := time.Now()
			w2 := write(d, 0, 4096, 2)
			mustOK(t, w2)
			if e := time.Since(start); fenced && e < 2*time.Second {
				t.Errorf("W2 waited only %v", e)
			}
			time.Sleep(5 * time.Second)
			got := bd.net.peek(a.luns[1])
			if fenced && got != 2 || !fenced && got != 1 {
				t.Errorf("fenced %v: the medium has %d", fenced, got)
			}
			bd.stop()
		})
	}
}

// H1(c): W1 is held in the network between us and a portal whose connections are
// dead for us; the target is fine and is fenced over its other portal.
func TestH01cFenceOverOtherPortal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, s, l := oneDisk(t, nil)
		d := bd.device()
		bd.net.with(func() { l.delay = slow(time.Hour) })
		calls := []*call{}
		for i := range 8 {
			calls = append(calls, write(d, uint64(i)*4096, 4096, 1))
		}
		// What the second portal took runs and ends.
		bd.net.with(func() { l.delay = nil })
		_ = s
		bd.net.with(func() {
			for c := range l.running {
				if c.conn.nexus.tp.Portal == "10.0.0.1:3260" {
					delete(l.running, c) // in the network, not at the target
					c.conn.unread = append(c.conn.unread, c)
					continue
				}
				s.end(c)
			}
		})
		bd.net.cut("10.0.0.1:3260")
		mustOK(t, calls...)
		start := time.Now()
		var second []*call
		for i := range 8 {
			second = append(second, write(d, uint64(i)*4096, 4096, 2))
		}
		mustOK(t, second...)
		if e := time.Since(start); e > 2*time.Second {
			t.Errorf("the fence over the other portal took %v", e)
		}
		ev := bd.events.of(FenceDone)
		if len(ev) != 2 {
			t.Errorf("fence events: %+v", ev)
		}
		s.cont() // the network lets go what it held: on replaced connections
		time.Sleep(time.Second)
		for i := range 8 {
			mustRead(t, d, uint64(i)*4096, 4096, 2)
		}
		// The sessions are back on their own way when it works again.
		bd.net.mend("10.0.0.1:3260")
		time.Sleep(time.Minute)
		if n := bd.used(); n != 4 {
			t.Errorf("got %d paths in use, want 4: %+v", n, bd.m.Paths())
		}
		bd.stop()
	})
}

// H2: the client got an error for W1; the range is held all the same.
func TestH02ErrorAndThenLanding(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, a, b := twoProcesses(t, func(c *Config) {
			c.Rule = func(...string) Rule {
				return Rule{CacheProtected: true, AllPathsDown: AllPathsDown{Fail: true}}
			}
		})
		d := bd.device()
		a.stop()
		w1 := through(t, bd)
		bd.net.with(func() { bd.net.portals["10.0.0.2:3260"].down[""] = true })
		bd.net.reset("10.0.0.2:3260", "")
		if res := w1.wait(); res.Class != backends.NoPath || res.Sent != backends.SentSome {
			t.Fatalf("W1: %+v", res)
		}
		bd.net.mend("10.0.0.2:3260")
		time.Sleep(time.Second)
		w2 := write(d, 0, 4096, 2)
		time.Sleep(3 * time.Second)
		if w2.ended() {
			t.Fatalf("W2 was let go: %v", w2.res.Class)
		}
		if g := d.State().Ghosts; len(g) != 1 || g[0].Length != 4096 {
			t.Errorf("ghosts %+v", g)
		}
		a.cont()
		mustOK(t, w2)
		time.Sleep(time.Second)
		mustRead(t, d, 0, 4096, 2)
		_ = b
		bd.stop()
	})
}

// H4, H10: overlapping changes go in the order of arrival over all paths.
func TestH04OrderOfArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		n := 0
		bd.net.with(func() {
			l.delay = func(*backends.Request) time.Duration {
				n++
				return time.Duration(20-n) * 10 * time.Millisecond // later ones are faster
			}
		})
		var calls []*call
		for i := range 10 {
			op := []backends.Op{backends.Write, backends.Write, backends.WriteZeroes}[i%3]
			c := newCall(op, uint64(i%2)*512, 4096, byte(i+1))
			calls = append(calls, c)
			do(d, c)
		}
		last := write(d, 0, 8192, 99)
		mustOK(t, calls...)
		mustOK(t, last)
		mustRead(t, d, 0, 8192, 99)
	})
}

// Not one byte was sent: no ghost, and no fence.
func TestCleanLossLeavesNoGhost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		defer bd.stop()
		bd.net.reset("10.0.0.1:3260", "")
		mustOK(t, write(bd.device(), 0, 4096, 1), write(bd.device(), 0, 4096, 2))
		time.Sleep(time.Second)
		if bd.net.count(&bd.net.resets) != 0 || len(bd.events.of(GhostHeld)) != 0 {
			t.Errorf("%d resets", bd.net.count(&bd.net.resets))
		}
	})
}

// COMPARE AND WRITE is never sent twice: it ends when it is fenced.
func TestCompareAndWriteIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, a, b := twoProcesses(t, nil)
		defer bd.stop()
		d := bd.device()
		bd.net.with(func() {
			a.luns[1].delay = slow(time.Second)
			b.luns[1].delay = slow(time.Second)
		})
		c := newCall(backends.CompareAndWrite, 0, 512, 0)
		c.r.Data.AppendBytes(append(pattern(0, 512), pattern(5, 512)...))
		do(d, c)
		synctest.Wait()
		bd.net.reset("10.0.0.1:3260", "")
		bd.net.reset("10.0.0.2:3260", "")
		res := c.wait()
		if res.Class != backends.Aborted {
			t.Errorf("got %v, want Aborted", res.Class)
		}
		if len(bd.events.of(FenceDone)) != 1 {
			t.Error("it ended before the fence")
		}
		if bd.net.peek(a.luns[1]) != 5 {
			t.Error("the one sending should have been carried out in this run")
		}
	})
}

// A fence that cannot be made: overlapping writes end clean after their deadline.
func TestUnfencedWriteEndsClean(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, a, _ := twoProcesses(t, nil)
		d := bd.device()
		a.stop()
		mustOK(t, through(t, bd))
		start := time.Now()
		w2 := write(d, 2048, 4096, 2)
		res := w2.wait()
		if res.OK() || res.Sent != backends.SentNone || time.Since(start) != 25*time.Second {
			t.Errorf("got %+v after %v", res, time.Since(start))
		}
		a.cont()
		time.Sleep(time.Minute)
		mustOK(t, write(d, 0, 4096, 3))
		bd.stop()
	})
}

// Rule 7: a quiesce time counts only where one is set.
func TestQuiesceTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, a, _ := twoProcesses(t, func(c *Config) {
			c.Rule = func(...string) Rule { return Rule{CacheProtected: true, Quiesce: 10 * time.Second} }
		})
		a.stop()
		mustOK(t, through(t, bd))
		start := time.Now()
		mustOK(t, write(bd.device(), 0, 4096, 2))
		if e := time.Since(start); e < 7*time.Second || e > 11*time.Second {
			t.Errorf("waited %v", e)
		}
		ev := bd.events.of(FenceDone)
		if len(ev) != 1 || ev[0].Method != "timed" || bd.device().State().Fencing != "timed" {
			t.Errorf("events %+v", ev)
		}
		a.cont()
		time.Sleep(time.Minute)
		bd.stop()
	})
}

// A killed gateway: the next run resets before its first write, reads pass.
func TestUncleanRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, a, b := twoProcesses(t, nil)
		a.stop()
		w1 := through(t, bd)
		crash := bd.store.clone() // the store as at the kill
		mustOK(t, w1)
		// The first run is gone from the network, but W1 is in a's queue.
		bd.stop()
		bd.store = crash
		bd.start(func(c *Config) {
			c.Adapters = c.Adapters[:1]
			c.Run = 2
			c.Rule = func(...string) Rule { return Rule{CacheProtected: true} }
		})
		d := bd.device()
		mustRead(t, d, 4096, 512, 0)
		w2 := write(d, 0, 4096, 2)
		time.Sleep(5 * time.Second)
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
		if n := len(crash.ghosts); n != 0 {
			t.Errorf("%d records are left: %v", n, crash.ghosts)
		}
	})
}

// A fence lets no write go before the ghost's record is in the store.
func TestGhostIsKeptBeforeItIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		d := bd.device()
		gate := make(chan struct{})
		bd.store.mu.Lock()
		bd.store.gate = gate
		bd.store.mu.Unlock()
		bd.net.with(func() { l.delay = slow(10 * time.Millisecond) })
		w1 := write(d, 0, 4096, 1)
		synctest.Wait()
		bd.net.reset("10.0.0.1:3260", "")
		bd.net.reset("10.0.0.2:3260", "")
		mustOK(t, w1)
		time.Sleep(time.Second)
		if len(bd.events.of(FenceDone)) == 0 {
			t.Fatal("no fence")
		}
		w2 := write(d, 0, 4096, 2)
		other := write(d, 8192, 4096, 2)
		mustOK(t, other) // only overlapping writes wait for the store
		if w2.ended() {
			t.Error("W2 passed a ghost that the store does not have")
		}
		close(gate)
		mustOK(t, w2)
		bd.stop()
	})
}

// A store that fails is told, and writes go on: the range is held here.
func TestStoreFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		d := bd.device()
		bd.store.mu.Lock()
		bd.store.fail = errors.New("disk full")
		bd.store.mu.Unlock()
		bd.net.with(func() { l.delay = slow(10 * time.Millisecond) })
		w1 := write(d, 0, 4096, 1)
		synctest.Wait()
		bd.net.reset("10.0.0.1:3260", "")
		mustOK(t, w1)
		bd.store.mu.Lock()
		bd.store.fail = nil
		bd.store.mu.Unlock()
		mustOK(t, write(d, 0, 4096, 2))
		bd.stop()
	})
}
