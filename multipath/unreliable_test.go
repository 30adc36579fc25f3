// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// everyNth fails each nth request of l that reads or writes.
func (bd *bed) everyNth(n int, res backends.Result, luns ...*fakeLUN) {
	bd.net.with(func() {
		for _, l := range luns {
			seen := 0
			l.answer = func(*backends.Request) (backends.Result, bool) { seen++; return res, seen%n == 0 }
		}
	})
}

// trickle writes 16 times a second for a time.
func (bd *bed) trickle(t *testing.T, d time.Duration) {
	t.Helper()
	for i := range int(d / time.Second * 16) {
		mustOK(t, write(bd.device(), uint64(i%8)*4096, 4096, 1))
		time.Sleep(time.Second / 16)
	}
	synctest.Wait()
}

// PA-4: a path on which requests fail now and then, never three in a row, is used only
// while no other one is, until its test reads have gone well for a minute; a recheck with
// errors begins again. What failed before is forgotten then.
func TestPA4Unreliable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, a, _ := twoProcesses(t, func(c *Config) { c.Timers.Failback = time.Second })
		defer bd.stop()
		l := a.luns[1]
		path := func() PathInfo { return bd.m.Paths()[0] }
		bd.everyNth(4, sense(0xb, 0x4b, 0), l)
		bd.trickle(t, 5*time.Second)
		if p := path(); p.Health != "up" || p.Errors == 0 || p.Errors >= 20 {
			t.Errorf("after 5 s: %s, %d errors", p.Health, p.Errors)
		}
		bd.trickle(t, 10*time.Second)
		p := path()
		if p.Health != "marginal" || p.Used || !strings.HasPrefix(p.Reason, "unreliable: 20 requests failed in 2m0s, back in ") {
			t.Errorf("after 15 s: %s, used %v, %d errors: %s", p.Health, p.Used, p.Errors, p.Reason)
		}
		if ev := bd.events.of(PathUnreliable); len(ev) != 1 || ev[0].Path != p.Name || ev[0].Reason != "unreliable: 20 requests failed in 2m0s" {
			t.Errorf("told %+v", ev)
		}
		bd.trickle(t, 10*time.Second)
		if now := path(); now.Errors != p.Errors || now.Writes != p.Writes {
			t.Errorf("requests go there: %+v", now)
		}
		n := 0
		bd.net.with(func() {
			l.unread = func(uint64) (backends.Result, bool) { n++; return sense(0xb, 0, 0), n%5 == 0 }
		})
		bd.idle(2 * time.Minute)
		if p := path(); p.Health != "marginal" || !strings.Contains(p.Reason, "test reads failed") {
			t.Errorf("with errors of the test reads: %s: %s", p.Health, p.Reason)
		}
		bd.net.with(func() { l.unread, l.answer = nil, nil })
		bd.idle(2*time.Minute + time.Second)
		if p := path(); p.Health != "up" || !p.Used || p.Reason != "" {
			t.Errorf("after a good recheck: %s, used %v: %s", p.Health, p.Used, p.Reason)
		}
		bd.everyNth(4, sense(0xb, 0x4b, 0), l)
		bd.trickle(t, 5*time.Second)
		if p := path(); p.Health != "up" {
			t.Errorf("what was before counts: %s: %s", p.Health, p.Reason)
		}
		if ev := bd.events.of(PathDown); len(ev) != 0 {
			t.Errorf("it was down: %+v", ev)
		}
	})
}

// What is no unreliable path: few errors in a window, as many on another path, what may
// be the medium's, the last path, and where it is switched off.
func TestPA4NotUnreliable(t *testing.T) {
	const each = 4
	aborted, hardware := sense(0xb, 0x4b, 0), sense(4, 0x44, 0)
	for name, c := range map[string]struct {
		rule MarginalRule
		both bool
		last bool
		res  backends.Result
		n    int
	}{
		"switched off":        {rule: MarginalRule{Faults: -1}, res: aborted, n: each},
		"few in a window":     {rule: MarginalRule{Window: 5 * time.Second}, res: aborted, n: each},
		"on both paths":       {both: true, res: aborted, n: each},
		"the medium, perhaps": {res: hardware, n: each},
		"the last path":       {last: true, res: aborted, n: each},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bd, a, o := twoProcesses(t, func(cfg *Config) {
					cfg.Rule = func(...string) Rule { return Rule{Marginal: c.rule} }
				})
				defer bd.stop()
				luns := []*fakeLUN{a.luns[1]}
				if c.both {
					luns = append(luns, o.luns[1])
				}
				if c.last {
					bd.net.cut("10.0.0.2:3260")
					synctest.Wait()
				}
				bd.everyNth(c.n, c.res, luns...)
				bd.trickle(t, 20*time.Second)
				p := bd.m.Paths()[0]
				if ev := bd.events.of(PathUnreliable); len(ev) > 0 || p.Health != "up" || p.Errors < 20 {
					t.Errorf("told %+v; the path is %s after %d errors", ev, p.Health, p.Errors)
				}
			})
		})
	}
}

// TestFaults is the rule by numbers.
func TestFaults(t *testing.T) {
	begin := time.Unix(1000, 0)
	var f faults
	for i := range 3 * MaxFaults {
		now := begin.Add(time.Duration(i) * time.Second)
		f.add(now)
		for _, w := range []int{0, 1, 9, MaxFaults - 2, MaxFaults - 1, 5 * MaxFaults} {
			if got, want := f.within(time.Duration(w)*time.Second, now), min(w+1, i+1, MaxFaults); got != want {
				t.Fatalf("%d s after the begin: %d within %d s, want %d", i, got, w, want)
			}
		}
	}
	if got := f.within(time.Minute, begin.Add(time.Hour)); got != 0 {
		t.Errorf("long after: %d", got)
	}
	for _, c := range []struct {
		limit, n, other int
		want            bool
	}{
		{20, 19, 0, false},
		{20, 20, 0, true},
		{20, 20, 4, true},
		{20, 20, 5, false},
		{20, 24, 6, false},
		{20, 25, 6, true},
		{-1, 100, 0, false},
		{1, 1, 0, true},
		{MaxFaults + 1, MaxFaults, 0, true},
	} {
		m := MarginalRule{Faults: c.limit}
		if got := m.unreliable(c.n, c.other); got != c.want {
			t.Errorf("limit %d: %d beside %d: %v", c.limit, c.n, c.other, got)
		}
	}
	if n := testing.AllocsPerRun(100, func() { f.add(begin) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
