// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// idle waits until d has passed in steps, so that a fault would show at its time.
func (bd *bed) idle(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// PA-2: an idle path is asked by TEST UNIT READY after 5 s, and after 10 and 20 s
// when it goes on being idle; one that carries requests is not asked at all.
func TestCheckerBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		count := func() int { synctest.Wait(); return bd.net.count(&l.turs) }
		for _, c := range []struct {
			after time.Duration
			want  int // on four paths
		}{
			{4 * time.Second, 0},
			{2 * time.Second, 4},  // 6 s
			{8 * time.Second, 4},  // 14 s
			{2 * time.Second, 8},  // 16 s
			{18 * time.Second, 8}, // 34 s
			{2 * time.Second, 12}, // 36 s: from now on every 20 s
			{200 * time.Second, 12 + 4*10},
		} {
			time.Sleep(c.after)
			if got := count(); got != c.want {
				t.Errorf("after %v more: %d checks, want %d", c.after, got, c.want)
			}
		}
		before := count()
		for range 200 {
			for i := range 8 { // round the paths
				mustOK(t, write(bd.device(), uint64(i)*4096, 4096, 1))
			}
			time.Sleep(250 * time.Millisecond)
		}
		busy := 0
		for _, p := range bd.m.Paths() {
			if p.Writes > 100 {
				busy++
			}
		}
		if got := count() - before; got > 3*(4-busy)+4 {
			t.Errorf("%d checks within 50 s of load on %d paths", got, busy)
		}
	})
}

// PA-2: what a check finds takes the path down, with the reason; a path that is idle
// is found to be dead before a request is.
func TestCheckerFindsFaults(t *testing.T) {
	notReady, busy := sense(2, 4, 3), backends.Result{Class: backends.Busy, Sent: backends.SentAnswered, Status: 8}
	hardware, gone := sense(4, 0x44, 0), sense(5, 0x25, 0)
	for _, c := range []struct {
		name   string
		answer backends.Result
		health string
		reason string
	}{
		{"not ready", notReady, "down", "TEST UNIT READY: "},
		{"hardware error", hardware, "down", "TEST UNIT READY: 3 failures in a row"},
		{"no such unit", gone, "quarantined", ""},
		{"busy", busy, "up", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bd, a, _ := twoProcesses(t, nil)
				defer bd.stop()
				l := a.luns[1]
				bd.net.with(func() {
					l.unready = &c.answer
					l.unread = func(uint64) (backends.Result, bool) { return c.answer, true }
				})
				bd.idle(12 * time.Second)
				p := bd.m.Paths()[0]
				if p.Health != c.health || c.reason != "" && c.health == "down" && len(bd.events.of(PathDown)) == 0 {
					t.Errorf("got %s (%s), want %s", p.Health, p.Reason, c.health)
				}
				for _, e := range bd.events.of(PathDown) {
					if !strings.HasPrefix(e.Reason, c.reason) {
						t.Errorf("told: %+v", e)
					}
				}
				if o := bd.m.Paths()[1]; o.Health != "up" {
					t.Errorf("the other path: %+v", o)
				}
			})
		})
	}
}

// PA-3, opensvc/multipath-tools#54: a path that answers TEST UNIT READY and fails
// I/O is down once and stays so until a test read succeeds where the requests
// failed; it does not flip up and down.
func TestPA3StreakOverrulesTheChecker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, a, _ := twoProcesses(t, nil)
		defer bd.stop()
		d, l := bd.device(), a.luns[1]
		bad := sense(4, 0x44, 0)
		const from = 64 << 10 // the first blocks are well
		bd.net.with(func() {
			l.answer = func(r *backends.Request) (backends.Result, bool) { return bad, r.Offset >= from }
			l.unread = func(off uint64) (backends.Result, bool) { return bad, off >= from }
		})
		for range 600 {
			for i := range uint64(4) {
				mustOK(t, write(d, from+i*4096, 4096, 1))
			}
			time.Sleep(time.Second)
		}
		if down, up := bd.events.of(PathDown), bd.events.of(PathUp); len(down) != 1 || len(up) != 2 {
			t.Errorf("in ten minutes it was down %d times, and up %d times (2 at the start)", len(down), len(up))
		}
		if p := bd.m.Paths()[0]; p.Health != "down" || !strings.Contains(p.Reason, "4/44/00") {
			t.Errorf("got %s: %s", p.Health, p.Reason)
		}
		if n := bd.net.count(&l.tests); n < 100 {
			t.Errorf("%d test reads in ten minutes", n)
		}
		bd.net.with(func() { l.answer, l.unread = nil, nil })
		bd.idle(30 * time.Second)
		if n := bd.used(); n != 2 {
			t.Errorf("well again: %d paths in use: %+v", n, bd.m.Paths())
		}
	})
}

// What may be a fault of the medium does not keep the last path away.
func TestPA3LastPathStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, a, o := twoProcesses(t, nil)
		defer bd.stop()
		bad := sense(4, 0x44, 0)
		bd.net.with(func() {
			for _, l := range []*fakeLUN{a.luns[1], o.luns[1]} {
				l.answer = func(r *backends.Request) (backends.Result, bool) { return bad, r.Offset >= 4096 }
				l.unread = func(off uint64) (backends.Result, bool) { return bad, off >= 4096 }
			}
		})
		for range 100 {
			c := read(bd.device(), 8192, 4096)
			time.Sleep(time.Second)
			if c.ended() && c.res.OK() {
				t.Fatal("a bad block was read")
			}
		}
		c := read(bd.device(), 0, 4096)
		if res := c.wait(); !res.OK() {
			t.Errorf("a good block: %v", res.Err())
		}
		c.r.Data.Release()
	})
}

// H13, PA-4: a path that is lost four times in two minutes is flapping. It is not used
// while another is up until its test reads have gone well for a minute, and begins
// again when they do not.
func TestH13Flapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, a, _ := twoProcesses(t, func(c *Config) { c.Timers.Failback = time.Second })
		defer bd.stop()
		l := a.luns[1]
		for i := range 4 {
			if p := bd.m.Paths()[0]; i > 0 && strings.Contains(p.Reason, "flapping") {
				t.Errorf("after %d losses: %s", i, p.Reason)
			}
			bd.net.reset("10.0.0.1:3260", "")
			bd.idle(5 * time.Second)
		}
		state := func() PathInfo { synctest.Wait(); return bd.m.Paths()[0] }
		if p := state(); p.Health != "marginal" || p.Used || p.Reason != "flapping: 4 losses in 2m0s, back in 56 s" {
			t.Errorf("got %s, used %v: %s", p.Health, p.Used, p.Reason)
		}
		before := bd.net.count(&l.tests)
		bd.idle(20 * time.Second)
		if n := bd.net.count(&l.tests) - before; n < 35 || n > 42 {
			t.Errorf("%d test reads in 20 s, want two a second", n)
		}
		// Each fifth test read fails: too many.
		n := 0
		bd.net.with(func() {
			l.unread = func(uint64) (backends.Result, bool) { n++; return sense(0xb, 0, 0), n%5 == 0 }
		})
		bd.idle(30 * time.Second)
		if p := state(); p.Health != "marginal" || !strings.Contains(p.Reason, "test reads failed") {
			t.Errorf("with errors: %s: %s", p.Health, p.Reason)
		}
		bd.idle(2 * time.Minute)
		if p := state(); p.Health != "marginal" {
			t.Errorf("after two rechecks with errors: %s: %s", p.Health, p.Reason)
		}
		bd.net.with(func() { l.unread = nil })
		bd.idle(2*time.Minute + time.Second)
		if p := state(); p.Health != "up" || !p.Used || p.Reason != "" {
			t.Errorf("after a good recheck: %s, used %v: %s", p.Health, p.Used, p.Reason)
		}
		// Forgotten: the next loss is the first.
		bd.net.reset("10.0.0.1:3260", "")
		bd.idle(time.Second)
		if p := state(); strings.Contains(p.Reason, "flapping") {
			t.Errorf("after one more: %s", p.Reason)
		}
	})
}

// Flapping is nothing to be had where it is switched off; what we drop ourselves is
// no loss; and a path that flaps is used when it is the last one.
func TestFlappingBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		off := func(c *Config) {
			c.Rule = func(...string) Rule { return Rule{Marginal: MarginalRule{Losses: -1}} }
		}
		bd, _, _ := twoProcesses(t, off)
		for range 8 {
			bd.net.reset("10.0.0.1:3260", "")
			bd.idle(time.Second)
		}
		if p := bd.m.Paths()[0]; p.Reason != "on probation after 8 losses, back in 15 s" {
			t.Errorf("switched off: %s", p.Reason)
		}
		bd.stop()
	})
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := twoProcesses(t, nil)
		for range 8 {
			bd.m.Devices()[0].paths[0].port.drop()
			bd.idle(time.Second)
		}
		if p := bd.m.Paths()[0]; strings.Contains(p.Reason, "flapping") {
			t.Errorf("dropped by us: %s", p.Reason)
		}
		for range 5 {
			bd.net.reset("10.0.0.1:3260", "")
			bd.idle(time.Second)
		}
		bd.net.cut("10.0.0.2:3260")
		if c := write(bd.device(), 0, 4096, 1); !c.wait().OK() {
			t.Errorf("the last path: %v", c.res.Err())
		}
		bd.stop()
	})
}

// slowBed is two paths; the first one's requests take slow, the others' fast.
type slowBed struct {
	*bed
	a, b *fakeLUN
}

func newSlowBed(t *testing.T, change func(*Config)) slowBed {
	bd, a, b := twoProcesses(t, change)
	s := slowBed{bd, a.luns[1], b.luns[1]}
	s.pace(4*time.Millisecond, 4*time.Millisecond)
	return s
}

func (s slowBed) pace(a, b time.Duration) {
	s.net.with(func() {
		s.a.delay = func(*backends.Request) time.Duration { return a }
		s.b.delay = func(*backends.Request) time.Duration { return b }
		s.a.lag, s.b.lag = a, b
	})
}

// load keeps 4 requests in flight for a time, of a size by number.
func (s slowBed) load(t *testing.T, d time.Duration, size func(i int) uint64) {
	t.Helper()
	end := time.Now().Add(d)
	done := make(chan bool)
	for w := range 4 {
		go func() {
			for i := 0; time.Now().Before(end); i++ {
				c := read(s.device(), uint64(w)*8192, size(w+i))
				if res := c.wait(); !res.OK() {
					t.Errorf("read: %v", res.Err())
				}
				c.r.Data.Release()
			}
			done <- true
		}()
	}
	for range 4 {
		<-done
	}
}

func small(int) uint64 { return 4096 }

// PA-5: a path that becomes slower than its siblings is found within 10 s of the
// step, is not used any more, and is used again when it is as fast as they are.
func TestPA5SlowPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlowBed(t, func(c *Config) { c.Timers.Failback = time.Second })
		defer s.stop()
		s.load(t, 5*time.Second, small)
		if ev := s.events.of(PathSlow); len(ev) > 0 {
			t.Fatalf("no step yet: %+v", ev)
		}
		step := time.Now()
		s.pace(80*time.Millisecond, 4*time.Millisecond)
		s.load(t, 10*time.Second, small)
		ev := s.events.of(PathSlow)
		if len(ev) != 1 || ev[0].Path != "vmhba0:0:1" || !strings.HasPrefix(ev[0].Reason, "slower than its siblings: requests take ") {
			t.Fatalf("events: %+v; paths %+v", ev, s.m.Paths())
		}
		t.Logf("found after %v: %s", ev[0].Time.Sub(step), ev[0].Reason)
		p := s.m.Paths()[0]
		if p.Health != "marginal" || p.Used || !strings.HasPrefix(p.Reason, "slower than its siblings: a test read takes 80ms, theirs 4") {
			t.Errorf("got %s, used %v: %s", p.Health, p.Used, p.Reason)
		}
		s.load(t, 8*time.Second, small)
		if p := s.m.Paths()[0]; p.Health != "marginal" {
			t.Errorf("still slow: %s", p.Health)
		}
		s.pace(4*time.Millisecond, 4*time.Millisecond)
		s.load(t, 10*time.Second, small)
		if p := s.m.Paths()[0]; p.Health != "up" || !p.Used || p.Reason != "" {
			t.Errorf("fast again: %s, used %v: %s", p.Health, p.Used, p.Reason)
		}
		if ev := s.events.of(PathSlow); len(ev) != 1 {
			t.Errorf("it flipped: %+v", ev)
		}
	})
}

// PA-5: what is no slow path: a difference below the floor, the last path, larger
// requests, a halt, or where it is switched off.
func TestPA5NotSlow(t *testing.T) {
	for name, c := range map[string]struct {
		rule MarginalRule
		pace [2]time.Duration
		also func(s slowBed)
		size func(int) uint64
	}{
		"below the floor":  {pace: [2]time.Duration{4900 * time.Microsecond, 500 * time.Microsecond}},
		"below the factor": {pace: [2]time.Duration{30 * time.Millisecond, 10 * time.Millisecond}},
		"switched off":     {rule: MarginalRule{Factor: -1}, pace: [2]time.Duration{90 * time.Millisecond, 4 * time.Millisecond}},
		"the last path":    {pace: [2]time.Duration{90 * time.Millisecond, 4 * time.Millisecond}, also: func(s slowBed) { s.net.cut("10.0.0.2:3260") }},
		"all the same":     {pace: [2]time.Duration{90 * time.Millisecond, 90 * time.Millisecond}},
		"large are slow": {pace: [2]time.Duration{4 * time.Millisecond, 4 * time.Millisecond}, size: func(i int) uint64 { return 4096 << (4 * (i % 2)) }, also: func(s slowBed) {
			by := func(r *backends.Request) time.Duration { return time.Duration(r.Length/4096) * 5 * time.Millisecond }
			s.net.with(func() { s.a.delay, s.b.delay = by, by })
		}},
		"one halt": {pace: [2]time.Duration{4 * time.Millisecond, 4 * time.Millisecond}, also: func(s slowBed) {
			halted := false
			s.net.with(func() {
				s.a.delay = func(*backends.Request) time.Duration {
					if halted {
						return 4 * time.Millisecond
					}
					halted = true
					return 3 * time.Second
				}
			})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSlowBed(t, func(cfg *Config) { cfg.Rule = func(...string) Rule { return Rule{Marginal: c.rule} } })
				defer s.stop()
				s.pace(c.pace[0], c.pace[1])
				if c.also != nil {
					c.also(s)
				}
				if c.size == nil {
					c.size = small
				}
				s.load(t, 7*time.Second, c.size)
				if ev := s.events.of(PathSlow); len(ev) > 0 {
					t.Errorf("events: %+v", ev)
				}
			})
		})
	}
}

// TestSlowPaths is the rule by numbers.
func TestSlowPaths(t *testing.T) {
	rule := MarginalRule{}
	rule.fill()
	const ms = time.Millisecond
	type load struct {
		n     int
		d     time.Duration
		depth int
		bytes uint64
	}
	for _, c := range []struct {
		name  string
		paths []load
		scale []int64
		want  string
	}{
		{"one of two", []load{{100, 50 * ms, 4, 4096}, {100, ms, 4, 4096}}, nil, "0"},
		{"two of four", []load{{100, 50 * ms, 4, 4096}, {100, ms, 4, 4096}, {100, 50 * ms, 4, 4096}, {100, ms, 4, 4096}}, nil, "0 2"},
		{"three of four", []load{{100, 50 * ms, 4, 4096}, {100, 50 * ms, 4, 4096}, {100, 50 * ms, 4, 4096}, {100, ms, 4, 4096}}, nil, ""},
		{"more to do", []load{{100, 64 * ms, 64, 4096}, {100, ms, 1, 4096}}, nil, ""},
		{"too few", []load{{3, 50 * ms, 1, 4096}, {100, ms, 1, 4096}}, nil, ""},
		{"other sizes", []load{{100, 50 * ms, 4, 1 << 20}, {100, ms, 4, 4096}}, nil, ""},
		{"less bandwidth", []load{{100, 50 * ms, 4, 4096}, {100, 10 * ms, 4, 4096}}, []int64{1000, 100}, ""},
		{"the same bandwidth", []load{{100, 50 * ms, 4, 4096}, {100, 10 * ms, 4, 4096}}, []int64{100, 100}, "0"},
	} {
		var list []*latencies
		for _, p := range c.paths {
			l := &latencies{}
			for range p.n {
				l.add(latencyClass(false, p.bytes), p.d, p.depth)
			}
			list = append(list, l)
		}
		if c.scale == nil {
			c.scale = make([]int64, len(list))
		}
		var got []string
		for i, s := range slowPaths(list, c.scale, &rule) {
			if s != nil {
				got = append(got, fmt.Sprint(i))
			}
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%s: slow are %q, want %q", c.name, g, c.want)
		}
	}
}

func TestLatencyMarks(t *testing.T) {
	for class, bytes := range map[int][]uint64{0: {0, 512, 4096}, 1: {4097, 16384}, 2: {16385, 65536}, 3: {65537, 262144}, 4: {262145, 1 << 30}} {
		for _, n := range bytes {
			if got := latencyClass(false, n); got != class {
				t.Errorf("%d bytes: class %d, want %d", n, got, class)
			}
			if got := latencyClass(true, n); got != class+latencySizes {
				t.Errorf("a write of %d bytes: class %d", n, got)
			}
		}
	}
	for d := time.Duration(1); d < 5*time.Second; d = d*5/4 + 1 {
		m := latencyMark(d)
		if d > 20*time.Microsecond && (markTime(m) < d || markTime(m) > d*3/2+1) {
			t.Errorf("%v: mark %d ends at %v", d, m, markTime(m))
		}
	}
	var l latencies
	l.add(0, time.Second, 1)
	for range 5 {
		l.age()
	}
	if l[0] != (latencyCell{}) {
		t.Errorf("not forgotten: %+v", l[0])
	}
	if n := testing.AllocsPerRun(100, func() { l.add(3, time.Millisecond, 4) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
