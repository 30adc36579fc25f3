// SPDX-License-Identifier: Apache-2.0

package share

// refDegraded is until when the causes hold that end 5 s after they are gone.
type refDegraded struct {
	now                  bool
	reservation, latency Instant
}

const refClear = 5_000_000_000

// priorities finds out whether they are in force, and grants by them.
func (c *refCore) priorities() {
	sum := int64(0)
	for _, f := range c.flows {
		if f != nil && f.planned {
			sum += f.reserveConf
		}
	}
	if c.capacity > 0 && sum > refMulDiv(c.capacity, 95, 100) {
		c.degraded.reservation = c.now + refClear
	}
	if c.depth.slowFor >= refSecond {
		c.degraded.latency = c.now + refClear
	}
	c.degraded.now = uint64(c.kappa)*100 < uint64(c.set.DegradedBelow)*refFull ||
		c.now < c.degraded.reservation || c.now < c.degraded.latency
	c.inForce = c.wouldBeInForce()
	if !c.inForce {
		return
	}
	c.entitle(c.nominal, func(f *refFlow, x int64) { f.h = x }, func(g *refGroup, x int64) { g.h = x })
	if c.set.PriorityMode == PriorityAlways {
		for _, f := range c.flows {
			if f != nil {
				f.h = f.demand
				if f.limit > 0 {
					f.h = min(f.h, f.limit)
				}
			}
		}
	}
	c.grants()
}

// wouldBeInForce: with the flows that are active now, and DEGRADED of the last
// plan.
func (c *refCore) wouldBeInForce() bool {
	kinds := map[uint8]bool{}
	for _, f := range c.flows {
		if f != nil && f.wasActive {
			kinds[f.conf.Priority] = true
		}
	}
	always := c.set.PriorityMode == PriorityAlways
	return c.capacity > 0 && len(kinds) > 1 && (always || c.degraded.now && c.set.PriorityMode == PriorityDegraded)
}

// grants is the table of "Priorities in force".
func (c *refCore) grants() {
	var active []*refFlow
	for _, f := range c.flows {
		if f != nil && f.planned {
			active = append(active, f)
		}
	}
	rest := c.capacity
	keep := map[*refFlow]int64{}
	for _, f := range active {
		f.grant = min(f.demand, f.reserveIn)
		rest -= f.grant
		keep[f] = max(0, min(f.demand, refMulDiv(f.x, int64(c.set.TierKeep), 100))-f.grant)
	}
	rest = max(rest, 0)
	for tier := MaxPriority; tier >= 0; tier-- {
		room := rest
		var flows []*refFlow
		var wants []refClaim
		for _, f := range active {
			switch {
			case int(f.conf.Priority) < tier:
				room -= keep[f]
			case int(f.conf.Priority) == tier:
				flows = append(flows, f)
				want := max(0, min(f.demand, f.h, c.capacity)-f.grant)
				wants = append(wants, refClaim{w: f.x, hi: want})
			}
		}
		for i, x := range refFill(wants, max(0, room)) {
			flows[i].grant += x
			rest -= x
		}
	}
	weights := int64(0)
	for _, f := range active {
		if f.demand == refUnbounded {
			weights += int64(f.conf.Weight)
		}
	}
	for _, f := range active {
		if f.demand == refUnbounded && weights > 0 && rest > 0 {
			f.grant += refMulDiv(rest, int64(f.conf.Weight), weights)
		}
	}
	for _, g := range c.groups {
		if g != nil {
			g.x = 0
		}
	}
	for _, f := range active {
		f.x = f.grant
		if f.group != nil {
			f.group.x += f.grant
		}
		if f.grant >= min(f.demand, f.h) {
			continue
		}
		for _, o := range active {
			f.cutShort = f.cutShort || o.conf.Priority > f.conf.Priority
		}
	}
}

// setWeights puts w_eff in force.
func (c *refCore) setWeights() {
	largest := int64(0)
	for _, f := range c.flows {
		if f != nil && c.inForce && f.planned {
			largest = max(largest, c.worth(f))
		}
	}
	for _, f := range c.flows {
		if f == nil {
			continue
		}
		w := f.conf.Weight
		if c.inForce && w > 0 {
			w = 1
			if f.planned && largest > 0 {
				w = uint32(max(1, refMulDiv(c.worth(f), 65536, largest)))
			}
		}
		moves := f.ready && (w == 0) != (f.weight == 0)
		if moves {
			c.unready(f)
		}
		f.reweigh(w)
		if moves {
			c.makeReady(f)
		}
	}
	for _, g := range c.groups {
		if g == nil {
			continue
		}
		w := c.groupWeight(g)
		if c.inForce {
			w = 0
			for _, f := range c.flows {
				if f != nil && f.group == g {
					w += int64(f.weight)
				}
			}
		}
		g.reweigh(uint32(w))
	}
}

// worth is what a flow is weighed by: with the margin more when it gets all that
// it asks for.
func (c *refCore) worth(f *refFlow) int64 {
	if f.grant >= f.demand {
		return refMulDiv(f.grant, int64(100+c.set.OverMargin), 100)
	}
	return f.grant
}

// reweigh changes a weight and keeps the lead in CU.
func (e *refEntity) reweigh(w uint32) {
	lead, v := int64(e.vt-e.level.v), e.level.v
	switch {
	case w == e.weight:
		return
	case w == 0 || e.weight == 0:
		e.vt = v
	case lead < 0:
		e.vt = v - uint64(refMulDiv(-lead, int64(e.weight), int64(w)))
	default:
		e.vt = v + uint64(refMulDiv(lead, int64(e.weight), int64(w)))
	}
	e.weight = w
}

// countAgain is what follows a drop of Kappa: past use in the smaller capacity.
func (c *refCore) countAgain() {
	var flows []*refFlow
	ratio := func(f *refFlow) int64 { return refMulDiv(f.meter.rate(c.now), 1<<20, f.x) }
	least := refUnbounded
	for _, f := range c.flows {
		if f != nil && f.planned && f.x > 0 {
			flows = append(flows, f)
			least = min(least, ratio(f))
		}
	}
	for _, f := range flows {
		if f.weight > 0 {
			q := min(1<<20, ratio(f)-least)
			lead := refMulDiv(refMulDiv(f.x, int64(c.set.Window), 1000*refSecond), q, 1<<20)
			f.vt = refLater(f.vt, f.level.v+uint64(lead)*f.inv())
		}
	}
}
