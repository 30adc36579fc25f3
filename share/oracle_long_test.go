// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package share

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// TestLongDifferential is TestDifferential with 10^5 traces.
func TestLongDifferential(t *testing.T) {
	const traces = 100_000
	n := uint64(runtime.GOMAXPROCS(0))
	for i := range n {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			differSeeds(t, 1_000_000+i*(traces/n), traces/n+1)
		})
	}
}

// TestLongP9Day runs a day in virtual time, twice: the same comes of it, and the
// core takes less than a minute of processor time for each.
func TestLongP9Day(t *testing.T) {
	run := func() (uint64, time.Duration) {
		before := processorTime(t)
		l := newLoop(t, 400, 16, func(s *Settings) { s.PriorityMode = PriorityAlways })
		for i := range FlowID(8) {
			e := DefaultEntitlement()
			e.Weight, e.Priority = 100*uint32(1+i), uint8(3+i%3)
			if i == 7 {
				e.Reservation.Ops = 20
			}
			l.add(i, e, loopLoad{bytes: 4096 << (i % 3), every: time.Duration(40+10*i) * time.Millisecond})
		}
		l.keep = false
		for hour := range 24 {
			l.run(Instant(hour+1) * Instant(time.Hour))
			kappa := uint32(refFull)
			if hour%4 == 1 {
				kappa /= 2
			}
			l.step(Event{Kind: Paths, Kappa: kappa})
		}
		return l.digest, processorTime(t) - before
	}
	want, _ := run()
	got, took := run()
	if got != want {
		t.Errorf("digest %x of the second run, want %x", got, want)
	}
	if took > time.Minute {
		t.Errorf("a day took %v of processor time", took)
	}
	t.Logf("a day took %v", took)
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
