// SPDX-License-Identifier: Apache-2.0

package share

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// differ runs the trace in data on the core and on the oracle, and compares all
// that they tell after every call. The properties that hold at any moment are
// checked on the way (invariants).
func differ(data []byte) (err error) {
	var log []string
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\nlast calls:\n%s", err, strings.Join(log[max(0, len(log)-30):], "\n"))
		}
	}()
	t := newTrace(data)
	c, err := NewCore(t.set, t.now)
	if err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	r := newRefCore(t.set, t.now)
	in := newInvariants(t, c)
	v := -uint64(t.byte()) << 28
	for n := 0; n < 3 || !t.done(); n++ {
		var s traceStep
		switch n {
		case 0:
			s = t.prelude()
		case 1:
			startAt(c, r, v)
			s = t.first()
		default:
			s = t.next()
		}
		log = append(log, s.String())
		in.before(s)
		got, gotWake := c.Step(s.now, s.in, make([]Dispatch, 0, s.room))
		want, wantWake := r.Step(s.now, s.in, make([]Dispatch, 0, s.room))
		switch {
		case !slices.Equal(got, want):
			return fmt.Errorf("call %d: dispatched\n%s, want\n%s", n, dispatches(got), dispatches(want))
		case !slices.Equal(c.Returned(), r.Returned()):
			return fmt.Errorf("call %d: returned %d commands, want %d", n, len(c.Returned()), len(r.Returned()))
		case gotWake != wantWake:
			return fmt.Errorf("call %d at %d: wake %d, want %d", n, r.now, gotWake, wantWake)
		}
		if err := sameState(c, r); err != nil {
			return fmt.Errorf("call %d: %w", n, err)
		}
		if err := in.after(s, got); err != nil {
			return fmt.Errorf("call %d: %w", n, err)
		}
		t.settle(got, c.Returned(), gotWake)
	}
	return in.drained()
}

// sameState compares explanations, and what a snapshot has of the plan.
func sameState(c *Core, r *refCore) error {
	if got, want := c.Plans(), r.plans; got != want {
		return fmt.Errorf("%d plans, want %d", got, want)
	}
	got := c.Explained(nil, r.seq-uint64(len(r.records)))
	if !slices.Equal(got, r.records) {
		for i := range max(len(got), len(r.records)) {
			if i >= len(got) || i >= len(r.records) || got[i] != r.records[i] {
				return fmt.Errorf("%d records, want %d; at %d:\n%s", len(got), len(r.records), i,
					unequal(at(got, i), at(r.records, i)))
			}
		}
	}
	var s Snapshot
	c.Snapshot(&s)
	for i := range s.Flows {
		f := &s.Flows[i]
		o := r.flows[f.Flow]
		demand := o.demand
		if demand == refUnbounded {
			demand = -1
		}
		type facts struct {
			weight                             uint32
			demand, x, use, reservation, limit Speed
			lead                               Unit
			active, over                       bool
			queued, inFlight, parked           int
		}
		a := facts{
			f.Weight, f.Demand, f.Entitlement, f.Use, f.Reservation, f.Limit, f.Lead,
			f.Active, f.Over, f.Queued, f.InFlight, f.Parked,
		}
		b := facts{
			o.weight, Speed(demand), Speed(o.x), Speed(o.meter.rate(r.now)), Speed(o.reserveIn), Speed(o.limit),
			r.facts(o).Lead, o.wasActive, r.over(o), len(o.queue), o.inflight + o.fast, o.parked,
		}
		if a != b {
			return fmt.Errorf("flow %d:\n got %+v\nwant %+v", f.Flow, a, b)
		}
		if got, want := c.Fast(f.Flow), o.mayPass; got != want {
			return fmt.Errorf("fast of flow %d: %v, want %v", f.Flow, got, want)
		}
		if got, want := c.Why(f.Flow), r.Why(f.Flow); got != want {
			return fmt.Errorf("why of flow %d:\n%s", f.Flow, unequal(got, want))
		}
	}
	type lun struct {
		capacity, nominal Speed
		depth, inFlight   Unit
		commands, limit   int
		inForce           bool
		floor             int64
		kappa             uint32
		faults            uint64
	}
	a := lun{
		s.Capacity, s.Nominal, s.Depth, s.InFlight, s.Commands, s.CommandLimit, s.PrioritiesInForce,
		int64(s.Floor), s.Kappa, s.Faults,
	}
	b := lun{
		Speed(r.capacity), Speed(r.nominal), r.depth.room, r.inflight, r.commands, r.bound, r.inForce,
		r.floor, r.kappa, r.faults,
	}
	if a != b {
		return fmt.Errorf("state:\n got %+v\nwant %+v", a, b)
	}
	return nil
}

func at(records []Explain, i int) Explain {
	if i < len(records) {
		return records[i]
	}
	return Explain{}
}

// unequal names the fields that differ.
func unequal(got, want any) string {
	var b strings.Builder
	g, w := reflect.ValueOf(got), reflect.ValueOf(want)
	fmt.Fprintf(&b, "got %+v", got)
	for i := range g.NumField() {
		if !g.Field(i).Equal(w.Field(i)) {
			fmt.Fprintf(&b, "\n%s is %v, want %v", g.Type().Field(i).Name, g.Field(i), w.Field(i))
		}
	}
	return b.String()
}

func dispatches(ds []Dispatch) string {
	var b strings.Builder
	for _, d := range ds {
		fmt.Fprintf(&b, " [flow %d tag %d phase %d cost %d]", d.Flow, d.Cmd.Tag, d.Phase, d.Cost)
	}
	return b.String()
}

// String is the call for people.
func (s traceStep) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Step(%d, room %d)", s.now, s.room)
	for _, e := range s.in {
		fmt.Fprintf(&b, " {%d flow %d", e.Kind, e.Flow)
		if e.Cmd != nil {
			fmt.Fprintf(&b, " tag %d lba %d bytes %d class %d", e.Cmd.Tag, e.Cmd.LBA, e.Cmd.Bytes, e.Cmd.Class)
		}
		if e.Entitlement != nil {
			fmt.Fprintf(&b, " %+v", *e.Entitlement)
		}
		if e.GroupEntitlement != nil {
			fmt.Fprintf(&b, " group %d %+v", e.Group, *e.GroupEntitlement)
		}
		if e.Settings != nil {
			fmt.Fprintf(&b, " %+v", *e.Settings)
		}
		fmt.Fprintf(&b, " kappa %d count %d units %d until %d}", e.Kappa, e.Count, e.Units, e.Until)
	}
	return b.String()
}

// FuzzDifferential compares the core with the oracle on traces from bytes.
func FuzzDifferential(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(randomBytes(seed, 500))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4000 {
			return
		}
		if err := differ(data); err != nil {
			t.Fatal(err)
		}
	})
}

// differSeeds does so with one trace for each of n seeds.
func differSeeds(t *testing.T, from, n uint64) {
	for seed := from; seed < from+n; seed++ {
		if err := differ(randomBytes(seed, 200+int(seed%800))); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func TestDifferential(t *testing.T) {
	n := uint64(differentialTraces)
	if testing.Short() {
		n = min(n, 200)
	}
	differSeeds(t, 0, n)
}
