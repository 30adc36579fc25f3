// SPDX-License-Identifier: Apache-2.0

package share

import (
	"math/rand/v2"
	"testing"
	"time"
)

// forecastCore is a core with random flows, groups and demand, right after a plan.
func forecastCore(t *testing.T, r *rand.Rand) *Core {
	t.Helper()
	s := DefaultSettings()
	s.Capacity, s.Depth = int64(1000+r.IntN(20000)), 32
	s.PriorityMode = []PriorityMode{PriorityOff, PriorityDegraded, PriorityAlways}[r.IntN(3)]
	c, err := NewCore(s, 0)
	if err != nil {
		t.Fatal(err)
	}
	var in []Event
	for g := range 2 {
		e := GroupEntitlement{Weight: uint32(r.IntN(3) * 500)}
		in = append(in, Event{Kind: ConfigureGroup, Group: GroupID(g + 1), GroupEntitlement: &e})
	}
	flows := 2 + r.IntN(5)
	for i := range flows {
		e := Entitlement{Weight: uint32(100 + r.IntN(2000)), Priority: uint8(r.IntN(MaxPriority + 1)), Group: GroupID(r.IntN(3))}
		if r.IntN(2) == 0 {
			e.Reservation.Ops = int64(100 + r.IntN(6000))
		}
		in = append(in, Event{Kind: AddFlow, Flow: FlowID(i), Entitlement: &e})
	}
	c.Step(1, in, nil)
	now, out := Instant(1), make([]Dispatch, 0, 64)
	var left []*Cmd
	for range 40 {
		in = in[:0]
		for _, cmd := range left {
			in = append(in, Event{Kind: Complete, Cmd: cmd})
		}
		left = left[:0]
		for i := range flows {
			if i == 0 {
				continue // idle
			}
			for range r.IntN(12) {
				in = append(in, Event{Kind: Submit, Flow: FlowID(i), Cmd: &Cmd{LBA: r.Uint64N(1 << 30), Bytes: uint32(4096 << r.IntN(4)), Class: ClassRead}})
			}
		}
		now += Instant(5 * time.Millisecond)
		out, _ = c.Step(now, in, out[:0])
		for _, d := range out {
			left = append(left, d.Cmd)
		}
	}
	c.makePlan()
	return c
}

// TestForecastIsTheNextPlan: what a forecast says of a capacity is what the plan
// gives when it comes to that, and asking changes nothing.
func TestForecastIsTheNextPlan(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		c := forecastCore(t, r)
		kappa := []uint32{1, 100_000, 250_000, 500_000, 750_000, 1_000_000}[r.IntN(6)]
		var before, after Snapshot
		c.Snapshot(&before)
		var got Forecast
		c.Forecast(&got, kappa)
		c.Snapshot(&after)
		for i := range before.Flows {
			if before.Flows[i] != after.Flows[i] {
				t.Fatalf("seed %d: asking has changed flow %d:\n%+v\n%+v", seed, i, before.Flows[i], after.Flows[i])
			}
		}
		c.paths(kappa)
		c.makePlan()
		c.Snapshot(&after)
		if got.Capacity != after.Capacity || len(got.Flows) != len(after.Flows) {
			t.Fatalf("seed %d: forecast of %d flows at %d; there are %d at %d", seed, len(got.Flows), got.Capacity, len(after.Flows), after.Capacity)
		}
		for i := range after.Flows {
			g, w := &got.Flows[i], &after.Flows[i]
			if g.Entitlement != w.Entitlement || g.Reservation != w.Reservation || (g.Reservation == g.Wanted) != w.Met || g.Active != w.Active || g.Claimed > g.Reservation {
				t.Fatalf("seed %d, kappa %d, flow %d: told %+v; there is %+v", seed, kappa, i, *g, *w)
			}
		}
	}
}

// TestForecastOfIdleReservations: what all could claim together counts also while
// nobody does.
func TestForecastOfIdleReservations(t *testing.T) {
	s := DefaultSettings()
	s.Capacity, s.FloorInterval = 1000, 0
	c, err := NewCore(s, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, ops := range []int64{400, 400, 0} {
		e := DefaultEntitlement()
		e.Reservation.Ops = ops
		c.Step(1, []Event{{Kind: AddFlow, Flow: FlowID(i), Entitlement: &e}}, nil)
	}
	var f Forecast
	c.Forecast(&f, 500_000)
	for i, want := range []FlowForecast{
		{Flow: 0, Wanted: 400_000, Reservation: 400_000, Claimed: 250_000},
		{Flow: 1, Wanted: 400_000, Reservation: 400_000, Claimed: 250_000},
		{Flow: 2},
	} {
		if f.Flows[i] != want {
			t.Errorf("got %+v, want %+v", f.Flows[i], want)
		}
	}
	if c.Forecast(&f, 0); f.Capacity != 0 || f.Flows[0].Reservation != 0 || f.Flows[0].Claimed != 0 || f.Flows[0].Wanted != 400_000 {
		t.Errorf("without a path: %+v", f)
	}
}
