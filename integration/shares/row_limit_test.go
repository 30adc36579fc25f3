// SPDX-License-Identifier: Apache-2.0

//go:build integration

package shares

import (
	"fmt"
	"testing"
	"time"

	"pathgate/share"
)

// limitSlop is the most that a timer may be late for a limit to be reached.
const limitSlop = 20 * time.Millisecond

// slow are settings whose limits allow for a timer that is late on a busy machine.
func slow(capacity int64, depth share.Unit) share.Settings {
	s := settings(capacity, depth)
	s.LimitSlop = limitSlop
	return s
}

// most is what a limit lets through in any time: l*t + l*tau + one command (P5), and
// late, what was dispatched before that time and answered in it.
func most(c share.Ceiling, length time.Duration, late int) float64 {
	l := float64(c.Rate.Ops)
	return l*length.Seconds()*(1+Tolerance) + l*limitSlop.Seconds() + 1 + float64(late)
}

// neverAbove fails the test if in any time of length l was answered more than most.
func neverAbove(t testing.TB, l *Load, length time.Duration, most float64) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, j := 0, 0; j < len(l.done); j++ {
		for l.done[j]-l.done[i] >= length {
			i++
		}
		if n := j - i + 1; float64(n) > most {
			t.Errorf("%s got %d commands in the %v up to %v, want at most %.0f", l.job.Export, n, length, l.done[j], most)
			return
		}
	}
}

// Row 24: a limit is one for all connections of a VM.
func TestRow24Connections(t *testing.T) {
	t.Parallel()
	c := share.Ceiling{Rate: share.Rate{Ops: 1000}}
	r := newRig(t, slow(4000, 20), of("limited", 1000).limit(c))
	l := r.load("limited", Job{Depth: 1, Connections: 100})
	r.warm()
	r.expect("row 24, 100 connections", 3*time.Second, Want{Name: "limited", Load: l, Rate: 1000})
	finish(t, l)
	neverAbove(t, l, time.Second, most(c, time.Second, 20))
}

// Row 24: a high limit is kept although timers have steps of 1 ms.
func TestRow24Timer(t *testing.T) {
	t.Parallel()
	c := share.Ceiling{Rate: share.Rate{Ops: 5000}}
	r := newRig(t, slow(20000, 256), of("limited", 1000).limit(c))
	l := r.load("limited", Job{Depth: 256})
	r.warm()
	r.expect("row 24, 5000 per second", 3*time.Second, Want{Name: "limited", Load: l, Rate: 5000})
	finish(t, l)
	neverAbove(t, l, time.Second, most(c, time.Second, 256))
}

// Row 24: a hundred VMs have a limit each.
func TestRow24ManyVMs(t *testing.T) {
	t.Parallel()
	c := share.Ceiling{Rate: share.Rate{Ops: 30}}
	var members []member
	for i := range 100 {
		members = append(members, of(fmt.Sprintf("vm%d", i), 1000).limit(c))
	}
	r := newRig(t, slow(8000, 64), members...)
	var wants []Want
	for _, m := range members {
		wants = append(wants, Want{Name: m.vm, Load: r.load(m.vm, Job{Depth: 4}), Rate: 30})
	}
	r.warm()
	r.expect("row 24, 100 VMs", 3*time.Second, wants...)
	finish(t, all(wants)...)
	for _, w := range wants {
		neverAbove(t, w.Load, time.Second, most(c, time.Second, 4))
	}
}

// peakTries is how often a peak is tried while the machine stands still.
const peakTries = 5

// peak is row 24's first: a limit with a higher one for a time, after which the lower
// one holds. What passes at the higher rate is the peak's length at that, and what the
// limit gives meanwhile: 60 s of 2000 with a limit of 100 last for 63.2 s.
func peak(t *testing.T, length time.Duration) {
	for i := 1; ; i++ {
		v := peakOnce(t, length)
		t.Logf("measured: row 24, peak: %v", &v)
		if len(v.Wrong) == 0 {
			return
		}
		if i == peakTries || v.Halted.Seconds() <= haltedMost*(v.To-v.From).Seconds() {
			t.Errorf("row 24, peak of %v: %q", length, v.Wrong)
			return
		}
	}
}

// peakOnce judges the rate until all is used up, and fails the test if the rate after
// that is not the limit's.
func peakOnce(t *testing.T, length time.Duration) Verdict {
	const limit, high = 100, 2000
	c := share.Ceiling{Rate: share.Rate{Ops: limit}, Peak: share.Rate{Ops: high}, PeakLength: length}
	r := newRig(t, slow(8000, 64), of("limited", 1000).limit(c))
	begin := r.clock.Now()
	l := r.load("limited", Job{Depth: 256})
	end, ok := r.clock.Until(3*length, func() bool {
		now := r.clock.Now()
		all := high*length.Seconds() + limit*(now-begin).Seconds()
		return float64(l.Done(0, now)) > all-20 // these are on their way
	})
	if !ok {
		t.Fatalf("only %d commands in %v", l.Done(0, end), end-begin)
	}
	v := judge(r.clock, begin, end, []Want{{Name: "limited", Load: l, Rate: high}})
	r.clock.Sleep(end + within)
	r.expect("row 24, after the peak", 3*time.Second, Want{Name: "limited", Load: l, Rate: limit})
	finish(t, l)
	return v
}

func TestRow24Peak(t *testing.T) {
	t.Parallel()
	peak(t, 3*time.Second)
}
