// SPDX-License-Identifier: Apache-2.0

package share

import "fmt"

// invariants are the properties (SCHEDULER, section 4) that hold after every
// call, whatever the settings: P1, P6, P10. They look at the core from outside.
type invariants struct {
	t     *trace
	c     *Core
	queue map[FlowID][]*Cmd // before the call, with what it submits
}

func newInvariants(t *trace, c *Core) *invariants { return &invariants{t: t, c: c} }

// before is told what a call is given.
func (in *invariants) before(traceStep) {
	in.queue = map[FlowID][]*Cmd{}
	for id, f := range in.t.flows {
		for _, c := range f.queue {
			in.queue[id] = append(in.queue[id], c.cmd)
		}
	}
}

// after is told what came of it.
func (in *invariants) after(s traceStep, out []Dispatch) error {
	var snap Snapshot
	in.c.Snapshot(&snap)
	depth, bound := in.c.Room()
	if err := in.order(out); err != nil {
		return err
	}
	units := in.t.units
	for _, d := range out {
		units += d.Cost
	}
	if snap.InFlight != units {
		return fmt.Errorf("P10: %d CU in flight, want %d", snap.InFlight, units)
	}
	if n := len(out); n > 0 && snap.InFlight-out[n-1].Cost >= depth {
		return fmt.Errorf("P6: the last dispatch of %d CU brought %d CU in flight, with a window of %d",
			out[n-1].Cost, snap.InFlight, depth)
	}
	if len(out) == s.room || snap.InFlight >= depth || bound > 0 && snap.Commands >= bound {
		return nil
	}
	for _, f := range snap.Flows {
		e := in.c.Why(f.Flow)
		if f.Queued == 0 || e.Reason == Limit || e.Reason == OverEntitlement && e.Held {
			continue
		}
		return fmt.Errorf("P1: flow %d waits for reason %d with %d CU of %d in flight", f.Flow, e.Reason, snap.InFlight, depth)
	}
	return nil
}

// order: each command once, per flow in order.
func (in *invariants) order(out []Dispatch) error {
	back := map[*Cmd]bool{}
	for _, r := range in.c.Returned() {
		if back[r] {
			return fmt.Errorf("P10: command %d is returned twice", r.Tag)
		}
		back[r] = true
	}
	for _, d := range out {
		q := in.queue[d.Flow]
		for len(q) > 0 && back[q[0]] {
			q = q[1:]
		}
		if len(q) == 0 || q[0] != d.Cmd {
			return fmt.Errorf("P10: command %d of flow %d is dispatched out of order", d.Cmd.Tag, d.Flow)
		}
		if d.Cost != d.Cmd.Cost() || d.Cost < 1 {
			return fmt.Errorf("P10: command %d costs %d, charged %d", d.Cmd.Tag, d.Cost, d.Cmd.Cost())
		}
		in.queue[d.Flow] = q[1:]
	}
	return nil
}

// drained completes and dispatches all that is left, and looks that nothing is
// in flight then.
func (in *invariants) drained() error {
	t := in.t
	extra := t.units
	for _, c := range t.inflight {
		extra -= c.cost
	}
	set := DefaultSettings()
	set.Depth, set.Capacity = 65536, 1_000_000
	events := []Event{
		{Kind: Configure, Settings: &set}, {Kind: Paths, Kappa: refFull}, {Kind: Commands},
	}
	plain := DefaultEntitlement()
	for id := range FlowID(traceFlows) {
		if t.flows[id] != nil {
			events = append(events, Event{Kind: ConfigureFlow, Flow: id, Entitlement: &plain})
		}
	}
	for n := 0; ; n++ {
		for len(t.inflight) > 0 {
			events = append(events, t.complete(&t.inflight, 0))
		}
		for len(t.parked) > 0 {
			events = append(events, t.complete(&t.parked, 0))
		}
		for len(t.lost) > 0 {
			events = append(events, t.complete(&t.lost, 0))
		}
		if len(events) == 0 && len(t.queued) == 0 {
			break
		}
		s := traceStep{now: max(t.now, t.wake) + 1, in: events, room: 4096}
		t.now = s.now
		in.before(s)
		out, wake := in.c.Step(s.now, s.in, make([]Dispatch, 0, s.room))
		if err := in.after(s, out); err != nil {
			return fmt.Errorf("drain: %w", err)
		}
		t.settle(out, in.c.Returned(), wake)
		events = nil
		if n > 10_000 || wake == 0 && len(t.queued) > 0 && len(t.inflight) == 0 {
			return fmt.Errorf("P10: %d commands are never dispatched", len(t.queued))
		}
	}
	var snap Snapshot
	in.c.Snapshot(&snap)
	if snap.InFlight != extra {
		return fmt.Errorf("P10: %d CU in flight at the end, want %d", snap.InFlight, extra)
	}
	return nil
}
