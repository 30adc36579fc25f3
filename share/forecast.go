// SPDX-License-Identifier: Apache-2.0

package share

import "slices"

// Forecast is what the flows of a LUN would be entitled to at another capacity, by
// the same plan that they run by. Core.Forecast fills it and re-uses its slice.
type Forecast struct {
	// Capacity is C_eff then; 0: nothing is known, or no path is left.
	Capacity Speed
	Flows    []FlowForecast
}

// FlowForecast is one flow of a Forecast.
type FlowForecast struct {
	Flow   FlowID
	Active bool
	// Wanted is the reservation as configured, in CU/s, Reservation what of it would be
	// in force, Claimed likewise if every flow with a reservation claimed all of it.
	// All are 0 without a reservation.
	Wanted, Reservation, Claimed Speed
	// Demand is what it asks for (-1: all it can get), Use what it has, Entitlement what
	// it would be entitled to: 0 while it is not active.
	Demand, Use, Entitlement Speed
}

// Forecast tells what the next plan would make of kappa, in millionths of the nominal
// capacity, if everybody went on as now. Nothing changes.
func (c *Core) Forecast(dst *Forecast, kappa uint32) {
	now, all := c.sketch(), c.sketch()
	for _, f := range all.flows {
		if f == nil || f.wanted == 0 {
			continue
		}
		f.demand = max(f.demand, f.wanted)
		if !f.active {
			f.active = true
			all.plan.countActive(f)
		}
	}
	now.paths(kappa)
	all.paths(kappa)
	left := kappa > 0
	if left {
		now.divide()
		all.divide()
	}
	*dst = Forecast{Flows: dst.Flows[:0]}
	if left {
		dst.Capacity = now.plan.ceff
	}
	for i, f := range now.flows {
		if f == nil {
			continue
		}
		s := FlowForecast{Flow: f.id, Active: f.active, Wanted: f.wanted, Demand: f.demand, Use: f.m.rate(c.now)}
		if f.demand == unbounded {
			s.Demand = -1
		}
		if left {
			s.Entitlement, s.Reservation, s.Claimed = f.x, f.reserved, all.flows[i].reserved
		}
		dst.Flows = append(dst.Flows, s)
	}
}

// divide is the part of makePlan that divides the capacity.
func (c *Core) divide() {
	c.setFloor()
	c.reservations()
	for _, f := range c.flows {
		if f != nil {
			f.x, f.h = 0, 0
		}
	}
	if c.plan.ceff > 0 {
		c.entitle(c.plan.ceff, false)
	}
	c.degrade()
}

// sketch is a copy of c to plan with: its flows and groups are its own, what waits in
// them is not, and no command can be taken from it.
func (c *Core) sketch() *Core {
	s := &Core{ablation: c.ablation, set: c.set, now: c.now, plan: c.plan, depth: c.depth}
	s.plan.parts = make([]part, 0, cap(c.plan.parts))
	s.flows = make([]*flow, len(c.flows))
	for i, f := range c.flows {
		if f != nil {
			g := *f
			g.m.roll(c.now)
			g.wanted = c.inUnits(f, f.conf.Reservation, true)
			s.flows[i] = &g
		}
	}
	s.groups = make([]*group, len(c.groups))
	for i, g := range c.groups {
		if g == nil {
			continue
		}
		h := *g
		h.members = slices.Clone(g.members)
		for j, f := range h.members {
			h.members[j] = s.flows[f.id]
			h.members[j].grp = &h
		}
		s.groups[i] = &h
	}
	return s
}

// Forecast fills dst with what the next plan would make of kappa. It re-uses dst's
// slice, and changes nothing.
func (d *Disk) Forecast(dst *Forecast, kappa uint32) {
	d.mu.Lock()
	defer d.release()
	d.turn(0)
	for _, f := range d.flows {
		if f != nil {
			d.inform(f)
		}
	}
	d.core.Forecast(dst, kappa)
}
