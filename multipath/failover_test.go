// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// slow makes a LUN's commands take d each.
func slow(d time.Duration) func(*backends.Request) time.Duration {
	return func(*backends.Request) time.Duration { return d }
}

func TestFailoverOnReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		bd.net.with(func() { l.delay = slow(20 * time.Millisecond) })
		var calls []*call
		for i := range 64 {
			calls = append(calls, write(d, uint64(i)*4096, 4096, byte(i+1)))
		}
		time.Sleep(10 * time.Millisecond)
		start := time.Now()
		if n := bd.net.reset("10.0.0.1:3260", ""); n != 2 {
			t.Fatalf("cut %d sessions, want 2", n)
		}
		mustOK(t, calls...)
		for _, c := range calls {
			if e := c.at.Sub(start); e > 100*time.Millisecond {
				t.Errorf("write at %d: took %v after the reset", c.r.Offset, e)
			}
			if c.ends != 1 {
				t.Errorf("write at %d: %d completions", c.r.Offset, c.ends)
			}
		}
		if ev := bd.events.of(Failover); len(ev) != 2 || ev[0].Count == 0 {
			t.Errorf("failover events: %+v", ev)
		}
		time.Sleep(time.Second)
		if bd.net.count(&bd.net.resets) == 0 || len(bd.events.of(FenceDone)) == 0 {
			t.Errorf("no fence: %d resets", bd.net.count(&bd.net.resets))
		}
		for i := range 64 {
			mustRead(t, d, uint64(i)*4096, 4096, byte(i+1))
		}
	})
}

func TestFailbackAfterDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		defer bd.stop()
		bd.net.reset("10.0.0.1:3260", "vmhba0")
		time.Sleep(time.Second)
		if n := bd.used(); n != 3 {
			t.Errorf("at once: got %d paths in use, want 3: %+v", n, bd.m.Paths())
		}
		time.Sleep(30 * time.Second)
		if n := bd.used(); n != 4 {
			t.Errorf("later: got %d paths in use, want 4: %+v", n, bd.m.Paths())
		}
		if ev := bd.events.of(Failback); len(ev) != 1 || ev[0].Path != "vmhba0:0:1" {
			t.Errorf("failback events: %+v", ev)
		}
	})
}

// The delay doubles with each loss that comes soon after the last one, and the
// list of paths tells so.
func TestFlappingIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		defer bd.stop()
		reason := func() string {
			synctest.Wait()
			return bd.m.Paths()[0].Reason
		}
		if got := reason(); got != "" {
			t.Errorf("healthy: %q", got)
		}
		for _, want := range []string{
			"on probation, back in 15 s", "on probation after 2 losses, back in 30 s",
			"on probation after 3 losses, back in 60 s", "flapping: 4 losses in 2m0s, back in 120 s",
			"flapping: 5 losses in 2m0s, back in 240 s", "flapping: 6 losses in 2m0s, back in 240 s",
		} {
			bd.net.reset("10.0.0.1:3260", "vmhba0")
			time.Sleep(200 * time.Millisecond)
			if got := reason(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		time.Sleep(3 * time.Minute)
		if got, want := reason(), "flapping: 6 losses in 2m0s, back in 60 s"; got != want {
			t.Errorf("later: got %q, want %q", got, want)
		}
		time.Sleep(time.Minute)
		if got := reason(); got != "" || bd.used() != 4 {
			t.Errorf("back: %q; %d paths in use", got, bd.used())
		}
		time.Sleep(2 * maxFailback)
		bd.net.reset("10.0.0.1:3260", "vmhba0")
		time.Sleep(200 * time.Millisecond)
		if got, want := reason(), "on probation, back in 15 s"; got != want {
			t.Errorf("after a long time: got %q, want %q", got, want)
		}
	})
}

// A path on probation is used at once when there is no other one.
func TestProbationIsUsedWhenAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		defer bd.stop()
		bd.net.cut("10.0.0.1:3260")
		bd.net.cut("10.0.0.2:3260")
		c := write(bd.device(), 0, 4096, 1)
		time.Sleep(10 * time.Second)
		if c.ended() {
			t.Fatalf("ended without a path: %v", c.res.Class)
		}
		bd.net.mend("10.0.0.1:3260")
		start := time.Now()
		mustOK(t, c)
		if e := c.at.Sub(start); e > time.Second {
			t.Errorf("waited %v for a path that was there", e)
		}
		if len(bd.events.of(NoPaths)) != 1 || len(bd.events.of(Restored)) != 1 {
			t.Errorf("events: %+v", bd.events.all())
		}
	})
}

func TestFailoverOnSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		bd.net.mute("10.0.0.1:3260")
		start := time.Now()
		var calls []*call
		for i := range 16 {
			calls = append(calls, write(d, uint64(i)*4096, 4096, 7))
		}
		mustOK(t, calls...)
		if e := time.Since(start); e > fakeNOP+200*time.Millisecond {
			t.Errorf("took %v", e)
		}
		for _, p := range bd.m.Paths() {
			if p.Portal == "10.0.0.1:3260" && (p.Health != "down" || p.Inflight != 0) {
				t.Errorf("path %+v", p)
			}
		}
	})
}

// Rule 6(a): a command over its deadline on a session that lives is aborted, and
// goes on elsewhere at once.
func TestCommandDeadline(t *testing.T) {
	for _, op := range []backends.Op{backends.Read, backends.Write} {
		synctest.Test(t, func(t *testing.T) {
			bd, _, l := oneDisk(t, nil)
			defer bd.stop()
			d := bd.device()
			first := true
			bd.net.with(func() {
				l.swallow = func(r *backends.Request) bool {
					was := first
					first = false
					return was
				}
			})
			start := time.Now()
			c := newCall(op, 0, 4096, 1)
			do(d, c)
			mustOK(t, c)
			if e := c.at.Sub(start); e < 8*time.Second || e > 8100*time.Millisecond {
				t.Errorf("%v took %v, want a little over 8 s", op, e)
			}
			synctest.Wait() // the abort follows the request that goes elsewhere
			if bd.net.count(&bd.net.aborts) != 1 {
				t.Errorf("%v: %d ABORT TASK, want 1", op, bd.net.count(&bd.net.aborts))
			}
			if len(bd.events.of(PathSlow)) != 1 || bd.used() != 3 {
				t.Errorf("%v: the path is not marginal: %+v", op, bd.m.Paths())
			}
			// Aborted for certain: no ghost, no reset.
			mustOK(t, write(d, 0, 4096, 2))
			if bd.net.count(&bd.net.resets) != 0 {
				t.Errorf("%v: %d resets", op, bd.net.count(&bd.net.resets))
			}
		})
	}
}

// With one path the command is aborted and sent again there.
func TestCommandDeadlineOnOnePath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd := newBed(t)
		l := bd.net.server(iqn, portals(1)...).addLUN(1, newMedium(), naa(1))
		bd.start(func(c *Config) { c.Adapters = c.Adapters[:1] })
		defer bd.stop()
		first := true
		bd.net.with(func() {
			l.swallow = func(*backends.Request) bool {
				was := first
				first = false
				return was
			}
		})
		c := write(bd.device(), 0, 4096, 1)
		mustOK(t, c)
		if bd.net.count(&bd.net.aborts) != 1 {
			t.Errorf("%d ABORT TASK, want 1", bd.net.count(&bd.net.aborts))
		}
		if got, want := bd.m.Paths()[0].Reason, "no answer to a write for 8s, back in 15 s"; got != want {
			t.Errorf("reason %q, want %q", got, want)
		}
	})
}

// P16: with a path alive no request waits longer than its deadline.
func TestRequestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		bd.net.with(func() {
			l.answer = func(*backends.Request) (backends.Result, bool) {
				return backends.Result{Class: backends.Busy, Sent: backends.SentAnswered, Status: 8}, true
			}
		})
		start := time.Now()
		c := write(d, 0, 4096, 1)
		res := c.wait()
		if res.OK() || time.Since(start) < 25*time.Second || time.Since(start) > 26*time.Second {
			t.Errorf("got %v after %v, want Busy after 25 s", res.Class, time.Since(start))
		}
		if res.Class != backends.Busy {
			t.Errorf("class %v", res.Class)
		}
		bd.net.with(func() { l.answer = nil })
		mustOK(t, write(d, 0, 4096, 2))
	})
}

func TestAllPathsDown(t *testing.T) {
	cut := func(bd *bed) {
		bd.net.cut("10.0.0.1:3260")
		bd.net.cut("10.0.0.2:3260")
	}
	t.Run("queue", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			bd, _, l := oneDisk(t, nil)
			defer bd.stop()
			d := bd.device()
			var order []byte
			bd.net.with(func() {
				l.delay = func(r *backends.Request) time.Duration {
					if r.Op == backends.Write {
						order = append(order, r.Data.Bytes()[0])
					}
					return 0
				}
			})
			cut(bd)
			var calls []*call
			for i := range 32 {
				calls = append(calls, write(d, uint64(i)*4096, 4096, byte(i)))
			}
			time.Sleep(10 * time.Minute)
			for _, c := range calls {
				if c.ended() {
					t.Fatalf("ended with %v", c.res.Class)
				}
			}
			if i := d.Info(); !i.Available || len(i.Degraded) != 1 || len(i.Cut) != 1 || i.Cut[0].Length != i.Size {
				t.Errorf("info %+v", i)
			}
			bd.net.mend("10.0.0.1:3260")
			bd.net.mend("10.0.0.2:3260")
			mustOK(t, calls...)
			if i := d.Info(); len(i.Cut) != 0 {
				t.Errorf("cut with a path: %+v", i)
			}
			// A path that comes back takes what waits, in order.
			for i, v := range order {
				if int(v) != i {
					t.Fatalf("order %v", order)
				}
			}
		})
	})
	t.Run("for", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			bd, _, _ := oneDisk(t, func(c *Config) {
				c.Rule = func(...string) Rule { return Rule{AllPathsDown: AllPathsDown{For: time.Minute}} }
			})
			defer bd.stop()
			cut(bd)
			start := time.Now()
			c := write(bd.device(), 0, 4096, 1)
			if res := c.wait(); res.Class != backends.NoPath || time.Since(start) != time.Minute {
				t.Errorf("got %v after %v", res.Class, time.Since(start))
			}
			start = time.Now()
			if res := read(bd.device(), 0, 4096).wait(); res.Class != backends.NoPath || time.Since(start) != 0 {
				t.Errorf("the next one: got %v after %v", res.Class, time.Since(start))
			}
			bd.net.mend("10.0.0.1:3260")
			time.Sleep(time.Second)
			mustOK(t, write(bd.device(), 0, 4096, 2))
		})
	})
	t.Run("fail", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			bd, _, _ := oneDisk(t, func(c *Config) {
				c.Rule = func(...string) Rule { return Rule{AllPathsDown: AllPathsDown{Fail: true}} }
			})
			defer bd.stop()
			cut(bd)
			synctest.Wait()
			start := time.Now()
			if res := write(bd.device(), 0, 4096, 1).wait(); res.Class != backends.NoPath || time.Since(start) != 0 {
				t.Errorf("got %v after %v", res.Class, time.Since(start))
			}
		})
	})
}

// A path whose session lives and whose I/O fails is down, and comes back only
// when a read works.
func TestErrorStreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd := newBed(t)
		m := newMedium()
		good := bd.net.server("iqn.2026-11.test:a", "10.0.0.1:3260").addLUN(1, m, naa(1))
		bad := bd.net.server("iqn.2026-11.test:b", "10.0.0.2:3260").addLUN(1, m, naa(1))
		bd.start(func(c *Config) { c.Adapters = c.Adapters[:1] })
		defer bd.stop()
		bd.net.with(func() {
			bad.answer = func(*backends.Request) (backends.Result, bool) { return sense(4, 0x44, 0), true }
		})
		for i := range 20 {
			mustOK(t, write(bd.device(), uint64(i)*512, 512, 1))
		}
		if bd.net.count(&good.writes) != 20 {
			t.Errorf("%d writes on the good path", bd.net.count(&good.writes))
		}
		if ev := bd.events.of(PathDown); len(ev) != 1 || bd.used() != 1 {
			t.Errorf("events %+v", ev)
		}
	})
}

// Permanent loss is told from all paths down.
func TestLUNGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, s, l := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		bd.net.with(func() { delete(s.luns, 1) })
		start := time.Now()
		res := write(d, 0, 4096, 1).wait()
		if res.Class != backends.NoPath || time.Since(start) > time.Second {
			t.Errorf("got %v after %v", res.Class, time.Since(start))
		}
		if d.Info().Available || len(bd.events.of(DeviceGone)) != 1 {
			t.Error("the device is still there")
		}
		bd.net.with(func() { s.luns[1] = l })
		time.Sleep(3 * time.Minute)
		if !d.Info().Available {
			t.Error("the device did not come back")
		}
		mustOK(t, write(d, 0, 4096, 1))
	})
}
