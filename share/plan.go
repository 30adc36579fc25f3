// SPDX-License-Identifier: Apache-2.0

package share

import "time"

const (
	// fullKappa is a capacity that is whole, in millionths.
	fullKappa = 1_000_000
	// earlyPlan is how soon after a plan one may follow because a flow woke up.
	earlyPlan = Instant(10 * time.Millisecond)
	// floorPart: floors take at most one part in so many of the capacity.
	floorPart = 20
)

// planner is what is worked out every plan period: who is entitled to what.
type planner struct {
	at, last Instant
	count    uint64
	awake    bool // something is active, or has happened since the last plan
	explain  bool // a plan was made in this Step

	kappa, lastKappa uint32 // now; the last that was not 0
	dropped          bool   // kappa fell since the last plan
	whole            bool   // something was learnt with all paths up
	fixed            Speed  // capacity as configured, 0: learn
	ceff, cnom       Speed
	full             bool  // ceff was learnt under a full window; before it is the least there is
	floor            int64 // T_st, ns; 0: none
	reserved         Speed // sum of the active flows' reservations, as configured

	active         int // flows
	activeBy       [MaxPriority + 1]int
	activeReserved int

	inForce  bool // priorities
	degraded Degradation
	clearAt  [2]Instant // when DegradedReservation and DegradedLatency end
	cause    [2]bool    // they have their cause now

	parts []part // scratch, as many as there are flows and groups
}

func (p *planner) configure(s, old *Settings) {
	if s.CapacityModel == CapacityShared && p.kappa > 0 {
		p.kappa, p.lastKappa = fullKappa, fullKappa
	}
	was := p.fixed
	p.fixed = Speed(s.Capacity * 1000)
	switch {
	case p.fixed > 0:
		p.cnom = p.fixed
		p.ceff = Speed(mulDiv(int64(p.fixed), int64(p.lastKappa), fullKappa))
	case old != nil && was > 0:
		p.ceff, p.cnom, p.whole, p.full = 0, 0, false, false
	}
}

// countActive counts f as active until the next plan.
func (p *planner) countActive(f *flow) {
	p.active++
	p.activeBy[f.conf.Priority]++
	if f.hasReservation() {
		p.activeReserved++
	}
	p.awake = true
}

// uncount is for a flow that is active no longer.
func (p *planner) uncount(f *flow) {
	if !f.active {
		return
	}
	p.active--
	p.activeBy[f.conf.Priority]--
	if f.hasReservation() {
		p.activeReserved--
	}
}

func (f *flow) hasReservation() bool { return f.conf.Reservation != Rate{} }

func (p *planner) othersActive(f *flow) bool {
	n := p.active
	if f.active {
		n--
	}
	return n > 0
}

// higherActive tells whether a flow of higher priority is active.
func (p *planner) higherActive(f *flow) bool {
	for _, n := range p.activeBy[f.conf.Priority+1:] {
		if n > 0 {
			return true
		}
	}
	return false
}

// contested tells whether another active flow has a higher priority or a
// reservation.
func (p *planner) contested(f *flow) bool {
	n := p.activeReserved
	if f.active && f.hasReservation() {
		n--
	}
	return n > 0 || p.higherActive(f)
}

// paths takes over how much of the paths is usable.
func (c *Core) paths(kappa uint32) {
	p := &c.plan
	kappa = min(kappa, fullKappa)
	if c.set.CapacityModel == CapacityShared && kappa > 0 {
		kappa = fullKappa
	}
	p.at, p.awake = c.now, true
	p.kappa = kappa
	if kappa == 0 || kappa == p.lastKappa {
		return
	}
	p.dropped = kappa < p.lastKappa
	if p.fixed > 0 {
		p.ceff = Speed(mulDiv(int64(p.fixed), int64(kappa), fullKappa))
	} else {
		p.ceff = Speed(mulDiv(int64(p.ceff), int64(kappa), int64(p.lastKappa)))
		if kappa == fullKappa {
			p.cnom = p.ceff
		}
	}
	if c.ablation&depthUnscaled == 0 {
		c.depth.scale(kappa, p.lastKappa)
	}
	p.lastKappa = kappa
	c.scaleWindow()
}

// makePlan works out entitlements, weights and who is over (design.md, "Plan").
func (c *Core) makePlan() {
	p := &c.plan
	p.count++
	p.last, p.at = c.now, c.now+Instant(c.set.PlanPeriod)
	c.measure()
	c.reservations()
	for _, f := range c.flows {
		if f != nil {
			f.x, f.h, f.cutShort = 0, 0, false
		}
	}
	if p.ceff > 0 {
		c.entitle(p.ceff, false)
	}
	c.degrade()
	c.weigh()
	if p.dropped && p.ceff > 0 {
		c.lead()
	}
	p.dropped = false
	p.explain = true
	for _, f := range c.flows {
		if f == nil {
			continue
		}
		f.wasOver = c.over(f)
		f.fastAllowed = f.lim.mask == 0 && !f.hasReservation() && f.grp == nil && f.weight > 0 &&
			!(f.wasOver && p.othersActive(f)) && c.set.Mode != Strict && c.set.CostModel == CostPatent
		if f.backlogged() {
			if f.waits != overLimit && f.waits != overGroupLimit {
				c.enqueueDue(f)
			}
		} else if ahead(f.vt, f.level.v) <= 0 {
			f.fresh = true
		}
	}
}

// measure finds out who is active, and what each asks for.
func (c *Core) measure() {
	p := &c.plan
	p.active, p.activeReserved = 0, 0
	p.activeBy = [MaxPriority + 1]int{}
	for _, f := range c.flows {
		if f == nil {
			continue
		}
		f.m.roll(c.now)
		f.active = f.backlogged() || f.inflight > 0 || f.fast > 0 || f.m.units() > 0
		f.planned = f.active
		f.demand = 0
		if f.active {
			p.countActive(f)
			f.demand = f.m.rate(c.now) + speed(f.units, int64(c.set.Window))
			if f.m.saturated(c.now) {
				f.demand = unbounded
			}
		}
		f.wanted = c.inUnits(f, f.conf.Reservation, true)
		f.limit = c.inUnits(f, f.conf.Limits.Total.Rate, false)
	}
	p.awake = p.active > 0
	c.setFloor()
}

// setFloor works out the interval of the floor for the capacity there is.
func (c *Core) setFloor() {
	p, costs := &c.plan, int64(0)
	for _, f := range c.flows {
		if f != nil && f.backlogged() {
			costs += f.cost()
		}
	}
	p.floor = int64(c.set.FloorInterval)
	if p.floor > 0 && p.ceff > 0 {
		p.floor = max(p.floor, mulDiv(floorPart*costs, 1000*second, 256*int64(p.ceff)))
	}
}

// cost is the mean cost of f's commands times 256; of its head before the first.
func (f *flow) cost() int64 {
	if f.meanCost == 0 && f.n > 0 {
		return int64(f.first.cost) << 8
	}
	return f.meanCost
}

// inUnits gives a rate in CU/s, by the mean size of the flow's commands: the
// larger of operations and bytes, or the smaller. 0: no rate.
func (c *Core) inUnits(f *flow, r Rate, larger bool) Speed {
	ops, bytes := r.Ops*1000, int64(0)
	if f.meanCost > 0 {
		ops = mulDiv(r.Ops*1000, f.meanCost, f.meanOps)
	}
	if f.meanBytes > 0 {
		bytes = mulDiv(r.Bytes*1000, f.meanCost, f.meanBytes)
	} else {
		bytes = r.Bytes * 1000 / c.set.UnitBytes
	}
	switch {
	case r.Ops == 0:
		return Speed(bytes)
	case r.Bytes == 0:
		return Speed(ops)
	case larger:
		return Speed(max(ops, bytes))
	}
	return Speed(min(ops, bytes))
}

// reservations scales what does not fit, by priority (par. 0106: "if possible").
func (c *Core) reservations() {
	p := &c.plan
	p.reserved = 0
	avail := p.ceff
	var tier [MaxPriority + 1]Speed
	for _, f := range c.flows {
		switch {
		case f == nil || !f.active:
		case f.wanted > 0:
			p.reserved += f.wanted
			tier[f.conf.Priority] += f.wanted
		case p.floor > 0:
			avail -= Speed(mulDiv(f.cost()*1000, second, 256*p.floor))
		}
	}
	avail = max(avail, 0)
	fits := p.ceff == 0 || p.reserved <= avail
	var room [MaxPriority + 1]Speed
	for i := MaxPriority; i >= 0; i-- {
		room[i] = min(tier[i], avail)
		if !fits {
			avail -= room[i]
		}
	}
	for _, f := range c.flows {
		if f == nil {
			continue
		}
		f.reserved = f.wanted
		if i := f.conf.Priority; !fits && f.active && f.wanted > 0 && room[i] < tier[i] {
			f.reserved = Speed(mulDiv(int64(f.wanted), int64(room[i]), int64(tier[i])))
		}
		f.lowered = f.reserved < f.wanted
		for i, r := range [...]int64{f.conf.Reservation.Ops, f.conf.Reservation.Bytes} {
			if f.lowered {
				r = mulDiv(r, int64(f.reserved), int64(f.wanted))
			}
			k := &f.reserve[i]
			if k.rate == 0 {
				k.raise(c.now)
			}
			k.set(r)
		}
	}
}

// entitle fills capacity, groups first, then the members of each.
func (c *Core) entitle(capacity Speed, nominal bool) {
	parts := c.plan.parts[:0]
	for _, f := range c.flows {
		if f != nil && f.grp == nil && f.active {
			parts = append(parts, f.claim(int64(capacity)))
		}
	}
	for _, g := range c.groups {
		if g != nil {
			g.sum(capacity)
			parts = append(parts, part{w: c.groupWeight(g), lo: g.lo, hi: g.hi})
		}
	}
	fill(parts, int64(capacity))
	i := 0
	for _, f := range c.flows {
		if f != nil && f.grp == nil && f.active {
			f.entitle(Speed(parts[i].x), nominal)
			i++
		}
	}
	for _, g := range c.groups {
		if g == nil {
			continue
		}
		if nominal {
			g.h = Speed(parts[i].x)
		} else {
			g.x = Speed(parts[i].x)
		}
		i++
	}
	for _, g := range c.groups {
		if g == nil {
			continue
		}
		x := g.x
		if nominal {
			x = g.h
		}
		parts := c.plan.parts[:0]
		for _, f := range g.members {
			if f.active {
				parts = append(parts, f.claim(int64(capacity)))
			}
		}
		fill(parts, int64(x))
		i := 0
		for _, f := range g.members {
			if f.active {
				f.entitle(Speed(parts[i].x), nominal)
				i++
			}
		}
	}
}

func (f *flow) entitle(x Speed, nominal bool) {
	if nominal {
		f.h = x
	} else {
		f.x = x
	}
}

// claim is what f asks of a capacity.
func (f *flow) claim(capacity int64) part {
	hi := min(int64(f.demand), capacity)
	if f.limit > 0 {
		hi = min(hi, int64(f.limit))
	}
	return part{w: int64(f.conf.Weight), lo: min(hi, int64(f.reserved)), hi: hi}
}

// sum adds up what the members of g ask for.
func (g *group) sum(capacity Speed) {
	g.lo, g.hi, g.demand, g.limit = 0, 0, 0, 0
	cost, ops, bytes := int64(0), int64(0), int64(0)
	for _, f := range g.members {
		if f.active {
			p := f.claim(int64(capacity))
			g.lo += p.lo
			g.hi += p.hi
			cost, ops, bytes = cost+f.meanCost, ops+f.meanOps, bytes+f.meanBytes
		}
	}
	g.demand = Speed(g.hi)
	r := g.conf.Limits.Total.Rate
	if r.Ops > 0 && ops > 0 {
		g.limit = Speed(mulDiv(r.Ops*1000, cost, ops))
	}
	if r.Bytes > 0 && bytes > 0 {
		if l := Speed(mulDiv(r.Bytes*1000, cost, bytes)); g.limit == 0 || l < g.limit {
			g.limit = l
		}
	}
	if g.limit > 0 {
		g.hi = min(g.hi, int64(g.limit))
	}
	g.hi = min(g.hi, int64(capacity))
	g.lo = min(g.lo, g.hi)
}

// groupWeight is g's shares: its own, or the sum of its members'.
func (c *Core) groupWeight(g *group) int64 {
	if g.conf.Weight > 0 {
		return int64(g.conf.Weight)
	}
	w := int64(0)
	for _, f := range g.members {
		w += int64(f.conf.Weight)
	}
	return w
}

// lead counts past use again in a capacity that has become smaller: who used
// more of its entitlement than others falls behind them.
func (c *Core) lead() {
	least := int64(-1)
	for _, f := range c.flows {
		if f != nil && f.active && f.x > 0 {
			if q := ratio(f.m.rate(c.now), f.x); least < 0 || q < least {
				least = q
			}
		}
	}
	for _, f := range c.flows {
		if f == nil || !f.active || f.x == 0 || f.weight == 0 {
			continue
		}
		q := min(ratio(f.m.rate(c.now), f.x)-least, 1<<20)
		t := mulDiv(int64(f.x), int64(c.set.Window), 1000*second)
		f.vt = maxVT(f.vt, f.level.v+VirtualTime(uint64(mulDiv(t, q, 1<<20))*f.inv))
		if f.level.ready.has(&f.entity) {
			f.level.ready.put(&f.entity, uint64(f.vt))
		}
	}
}

// ratio is a/b in 2^-20.
func ratio(a, b Speed) int64 { return mulDiv(int64(a), 1<<20, int64(b)) }
