// SPDX-License-Identifier: Apache-2.0

package share

import "time"

// clearFor is how long a cause of DEGRADED must be gone before it ends.
const clearFor = Instant(5 * time.Second)

// degrade finds out whether priorities are in force, and grants by them
// (the patent, par. 0111-0112).
func (c *Core) degrade() {
	p := &c.plan
	p.degraded = 0
	if uint64(p.kappa)*100 < uint64(c.set.DegradedBelow)*fullKappa {
		p.degraded |= DegradedPaths
	}
	p.cause[0] = p.ceff > 0 && int64(p.reserved) > mulDiv(int64(p.ceff), 95, 100)
	p.cause[1] = c.depth.slowFor >= slowLatency
	for i, d := range [...]Degradation{DegradedReservation, DegradedLatency} {
		if p.cause[i] {
			p.clearAt[i] = c.now + clearFor
		}
		if c.now < p.clearAt[i] {
			p.degraded |= d
		}
	}
	p.inForce = c.prioritiesApply()
	if p.inForce {
		c.entitle(p.cnom, true)
		c.grant()
	}
}

// prioritiesApply tells whether priorities decide who gets what.
func (c *Core) prioritiesApply() bool {
	p := &c.plan
	return p.ceff > 0 && p.differ() &&
		(c.set.PriorityMode == PriorityAlways || c.set.PriorityMode == PriorityDegraded && p.degraded != 0)
}

// differ tells whether two active flows have different priorities.
func (p *planner) differ() bool {
	kinds := 0
	for _, n := range p.activeBy {
		if n > 0 {
			kinds++
		}
	}
	return kinds > 1
}

// grant gives each tier what it is entitled to in health, from the highest down,
// and leaves those below a part of what they would have now.
func (c *Core) grant() {
	p := &c.plan
	rest := int64(p.ceff)
	var keep [MaxPriority + 1]int64
	for _, f := range c.flows {
		if f == nil || !f.active {
			continue
		}
		if c.set.PriorityMode == PriorityAlways {
			f.h = f.demand
			if f.limit > 0 {
				f.h = min(f.h, f.limit)
			}
		}
		f.grant = min(f.demand, f.reserved)
		rest -= int64(f.grant)
		f.keep = max(0, min(f.demand, Speed(mulDiv(int64(f.x), int64(c.set.TierKeep), 100)))-f.grant)
		keep[f.conf.Priority] += int64(f.keep)
	}
	rest = max(rest, 0)
	below := int64(0)
	for _, k := range keep {
		below += k
	}
	for tier := MaxPriority; tier >= 0; tier-- {
		below -= keep[tier]
		rest -= c.grantTier(uint8(tier), max(0, rest-below))
	}
	c.grantRest(rest)
	for _, f := range c.flows {
		if f != nil && f.active {
			f.cutShort = f.grant < min(f.demand, f.h) && p.higherActive(f)
			f.x = f.grant
		}
	}
	for _, g := range c.groups {
		if g != nil {
			g.x = 0
			for _, f := range g.members {
				if f.active {
					g.x += f.x
				}
			}
		}
	}
}

// grantTier gives the flows of one priority what they want of room, in
// proportion to their entitlements; it tells how much it gave.
func (c *Core) grantTier(tier uint8, room int64) (given int64) {
	parts := c.plan.parts[:0]
	for _, f := range c.flows {
		if f != nil && f.active && f.conf.Priority == tier {
			want := max(0, min(int64(f.demand), int64(f.h), int64(c.plan.ceff))-int64(f.grant))
			parts = append(parts, part{w: int64(f.x), hi: want})
		}
	}
	if len(parts) == 0 {
		return 0
	}
	fill(parts, room)
	i := 0
	for _, f := range c.flows {
		if f != nil && f.active && f.conf.Priority == tier {
			f.grant += Speed(parts[i].x)
			given += parts[i].x
			i++
		}
	}
	return given
}

// grantRest divides what is left among the saturated flows by their shares.
func (c *Core) grantRest(rest int64) {
	weights := int64(0)
	for _, f := range c.flows {
		if f != nil && f.demand == unbounded {
			weights += int64(f.conf.Weight)
		}
	}
	if weights == 0 || rest <= 0 {
		return
	}
	for _, f := range c.flows {
		if f != nil && f.demand == unbounded {
			f.grant += Speed(mulDiv(rest, int64(f.conf.Weight), weights))
		}
	}
}

// weigh sets the weights in force.
func (c *Core) weigh() {
	largest := Speed(0)
	if c.plan.inForce {
		for _, f := range c.flows {
			if f != nil && f.active {
				largest = max(largest, c.worth(f))
			}
		}
	}
	for _, f := range c.flows {
		if f == nil {
			continue
		}
		w := f.conf.Weight
		if c.plan.inForce && w > 0 {
			w = 1
			if f.active && largest > 0 {
				w = uint32(max(1, mulDiv(int64(c.worth(f)), 65536, int64(largest))))
			}
		}
		c.reweigh(f, w)
	}
	for _, g := range c.groups {
		if g == nil {
			continue
		}
		w := c.groupWeight(g)
		if c.plan.inForce {
			w = 0
			for _, f := range g.members {
				w += int64(f.weight)
			}
		}
		g.setWeight(uint32(min(w, 1<<31)))
		if c.root.ready.has(&g.entity) {
			c.root.ready.put(&g.entity, uint64(g.vt))
		}
	}
}

// worth is what f is weighed by: its grant, and the margin more when that is all
// that it asks for. Weighed by the last command it would be short of one now and
// then, wait, and count as saturated.
func (c *Core) worth(f *flow) Speed {
	if f.grant >= f.demand {
		return c.margin(f.grant)
	}
	return f.grant
}

// reweigh gives f another weight, and the place that goes with it.
func (c *Core) reweigh(f *flow, w uint32) {
	if w == f.weight {
		return
	}
	ready := f.inZero || f.level.ready.has(&f.entity)
	moves := ready && (w == 0) != (f.weight == 0)
	if moves {
		c.unready(f)
	}
	f.setWeight(w)
	switch {
	case moves:
		c.ready(f)
	case ready && w > 0:
		f.level.ready.put(&f.entity, uint64(f.vt))
	}
}
