// SPDX-License-Identifier: Apache-2.0

//go:build integration

package shares

import (
	"testing"
	"time"

	"pathgate/share"
)

// modes are those in which the values of the table are the same.
var modes = map[string]share.Mode{"work-conserving": share.WorkConserving, "strict": share.Strict}

// Rows 1 to 3 (par. 0087, 0088): 40/40/20; 67/33 within 100 ms of the end of the
// first; 20/53.3/26.7 while it asks for 20 % only. A tenth of the table's rates.
func TestRows1To3(t *testing.T) {
	t.Parallel()
	for name, mode := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := settings(1000, 20)
			s.Mode = mode
			r := newRig(t, s, of("vm1", 2000), of("vm2", 2000), of("vm3", 1000))
			one := r.load("vm1", Job{Depth: 32})
			two, three := r.load("vm2", Job{Depth: 32}), r.load("vm3", Job{Depth: 32})
			r.warm()
			r.expect("row 1", 3*time.Second, Want{Name: "vm1", Load: one, Rate: 400},
				Want{Name: "vm2", Load: two, Rate: 400}, Want{Name: "vm3", Load: three, Rate: 200})
			finish(t, one)
			r.clock.Sleep(one.Last() + within)
			r.expect("row 2, the first second", time.Second, Want{Name: "vm2", Load: two, Rate: 1000. * 2 / 3},
				Want{Name: "vm3", Load: three, Rate: 1000. / 3})
			r.expect("row 2", 2*time.Second, Want{Name: "vm2", Load: two, Rate: 1000. * 2 / 3},
				Want{Name: "vm3", Load: three, Rate: 1000. / 3})
			asks := r.load("vm1", Job{Rate: 200})
			r.warm()
			r.expect("row 3", 3*time.Second, Want{Name: "vm1", Load: asks, Rate: 200},
				Want{Name: "vm2", Load: two, Rate: 800. * 2 / 3}, Want{Name: "vm3", Load: three, Rate: 800. / 3})
			finish(t, asks, two, three)
			if n := asks.Skipped(); n > 0 {
				t.Errorf("vm1 did not get %d of what it asked for", n)
			}
		})
	}
}

// The control of the rig: without a scheduler the same loads share alike, whatever
// their shares are.
func TestWithoutScheduler(t *testing.T) {
	t.Parallel()
	r := newRigPlan(t, settings(1000, 20), false, of("vm1", 2000), of("vm2", 2000), of("vm3", 1000))
	var wants []Want
	for _, vm := range []string{"vm1", "vm2", "vm3"} {
		wants = append(wants, Want{Name: vm, Load: r.load(vm, Job{Depth: 32}), Rate: 1000. / 3})
	}
	r.warm()
	r.expect("no scheduler", 3*time.Second, wants...)
	finish(t, all(wants)...)
}

// Row 23: equal shares, one command at a time against 64: as much as a command's way
// through the window lets it have. The table's values are those of a client whose next
// command is there in the moment of its answer; over a socket it comes when the place
// that its answer left in the window has been taken, and goes with the next: so it
// waits for D+1 services and not D. The capacity is low enough that the client's
// round trip is always less than one service, and counts in no other way.
func TestRow23(t *testing.T) {
	t.Parallel()
	const capacity, deep = 100, 64
	for name, tt := range map[string]struct {
		depth share.Unit
		cycle float64 // services from command to command
	}{
		"window 4": {4, 5}, "window 8": {8, 9}, "window 20": {20, 21},
		"no window": {4096, deep + 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := settings(capacity, tt.depth)
			s.FloorInterval = 0 // of 250 ms, it is more than the cycles are
			r := newRig(t, s, of("one", 1000), of("many", 1000))
			many := r.load("many", Job{Depth: deep})
			one := r.load("one", Job{Depth: 1})
			r.warm()
			rate := capacity / tt.cycle
			r.expect("row 23, "+name, 10*time.Second, Want{Name: "one", Load: one, Rate: rate, Steady: true},
				Want{Name: "many", Load: many, Rate: capacity - rate})
			finish(t, one, many)
		})
	}
}

// A VM gets no more for opening many connections than for opening one.
func TestManyConnections(t *testing.T) {
	t.Parallel()
	r := newRig(t, settings(1000, 20), of("one", 1000), of("many", 1000))
	many := r.load("many", Job{Depth: 1, Connections: 1000})
	one := r.load("one", Job{Depth: 64})
	r.warm()
	r.expect("1000 connections against one", 3*time.Second,
		Want{Name: "one", Load: one, Rate: 500}, Want{Name: "many", Load: many, Rate: 500})
	finish(t, one, many)
}
