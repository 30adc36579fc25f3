// SPDX-License-Identifier: Apache-2.0

package share

// Why tells why the head of f waits now; Seq is 0 when nothing waits.
func (c *Core) Why(f FlowID) Explain {
	fl := c.flow(f)
	if fl == nil || !fl.backlogged() && fl.parked == 0 {
		return Explain{Flow: f, Ahead: NoFlow}
	}
	r := c.why(fl)
	r.Seq = c.seq
	return r.explain()
}

// why gives the first reason that applies to the head of f.
func (c *Core) why(f *flow) rawExplain {
	e := c.facts(f)
	e.Verdict = Queued
	if f.first != nil {
		e.Tag = f.first.Tag
	}
	switch {
	case c.plan.kappa == 0:
		e.Reason = NoPath
	case !f.backlogged():
		e.Reason = f.parkedBy
	case f.waits == overLimit:
		e.Reason, e.Bucket, e.Until = Limit, f.bucket, Instant(c.timer.keyOf(&f.entity))
	case f.waits == overGroupLimit:
		e.Reason, e.Bucket, e.Until, e.GroupLimit = Limit, f.bucket, Instant(c.timer.keyOf(&f.entity)), true
	case f.grp != nil && f.grp.waits != notWaiting && f.weight > 0:
		e.Reason, e.Bucket, e.GroupLimit = Limit, f.grp.bucket, true
		e.Until = Instant(c.timer.keyOf(&f.grp.entity))
	case f.waits == held:
		e.Reason, e.Held, e.Until = OverEntitlement, true, Instant(c.timer.keyOf(&f.entity))
	case c.over(f):
		e.Reason = OverEntitlement
	case c.plan.inForce && (f.cutShort || !f.planned) && c.plan.higherActive(f):
		e.Reason, e.Ahead = Priority, c.mostImportant()
	default:
		e.Reason = Share
		if n := c.next(); n == f {
			e.Reason = WindowFull
		} else if n != nil {
			e.Ahead = n.id
		}
	}
	return e
}

// mostImportant is the active flow of the highest priority, the lowest number of
// these.
func (c *Core) mostImportant() FlowID {
	best := NoFlow
	p := -1
	for _, f := range c.flows {
		if f != nil && f.active && int(f.conf.Priority) > p {
			best, p = f.id, int(f.conf.Priority)
		}
	}
	return best
}

// next is who would be picked if the window had room, as far as the first of
// each set tells.
func (c *Core) next() *flow {
	if c.due.due(c.now) {
		f := c.due.top().flow
		if b, _ := c.groupBlocked(f); b == NoBucket {
			return f
		}
	}
	if f := c.run.flow; f != nil && f.waits == notWaiting && c.continues(f) {
		if b, _ := c.groupBlocked(f); b == NoBucket {
			return f
		}
	}
	if e := c.root.ready.top(); e != nil {
		f := e.flow
		if e.group != nil {
			f = e.group.inside.ready.top().flow
		}
		if b, _ := c.groupBlocked(f); b == NoBucket {
			return f
		}
	}
	return c.zero.first
}

// facts are the numbers of a decision about f, as they are at hand; explain works
// the rest out when somebody reads it.
func (c *Core) facts(f *flow) rawExplain {
	r := rawExplain{
		Explain: Explain{
			Time: c.now, Flow: f.id, InFlight: c.inflight, Depth: c.depth.room, Ahead: NoFlow, Version: c.version,
		},
		lead: ahead(f.vt, f.level.v), weight: f.weight, ceff: c.plan.ceff,
	}
	f.m.roll(c.now)
	r.used, r.covered, r.x = f.m.units(), f.m.covered(c.now), f.x
	return r
}

// rawExplain is an Explain whose numbers are not worked out yet.
type rawExplain struct {
	Explain
	lead    int64 // in virtual time
	weight  uint32
	used    Unit
	covered int64
	x, ceff Speed
}

func (r *rawExplain) explain() Explain {
	e := r.Explain
	e.Lead = leadUnits(r.lead, r.weight)
	if r.ceff > 0 {
		e.Capacity = int64(r.ceff) / 1000
		e.Use = millionths(speed(r.used, r.covered), r.ceff)
		e.Entitlement = millionths(r.x, r.ceff)
	}
	return e
}

func millionths(a, b Speed) uint32 { return uint32(min(mulDiv(int64(a), fullKappa, int64(b)), 1<<31)) }

// record keeps e in the ring.
func (c *Core) record(e *rawExplain) {
	c.seq++
	if len(c.ring) == 0 {
		return
	}
	e.Seq = c.seq
	c.ring[(c.seq-1)%uint64(len(c.ring))] = *e
}

func (c *Core) explainDispatch(f *flow, cmd *Cmd, phase Phase) {
	c.tellWaited(f)
	if len(c.ring) == 0 {
		c.seq++
		return
	}
	e := c.facts(f)
	e.Verdict, e.Phase, e.Tag = Dispatched, phase, cmd.Tag
	c.record(&e)
}

// explainWait records why the head of f waits, if that is new.
func (c *Core) explainWait(f *flow) {
	e := c.why(f)
	c.tellWaited(f)
	if f.told == e.Reason && f.toldTag == e.Tag && f.toldHeld == e.Held {
		return
	}
	f.told, f.toldTag, f.toldHeld = e.Reason, e.Tag, e.Held
	c.record(&e)
}

// tellWaited counts the time since the last look as waited for that reason.
func (c *Core) tellWaited(f *flow) {
	if f.told != 0 {
		f.total.Waited[f.told] += duration(c.now - f.toldAt)
	}
	f.toldAt = c.now
}

// tellEnd is for a flow that no longer waits.
func (c *Core) tellEnd(f *flow) {
	c.tellWaited(f)
	f.told = 0
}

// Explained appends the records after number since to dst, oldest first, as far
// as the ring still has them.
func (c *Core) Explained(dst []Explain, since uint64) []Explain {
	n := uint64(len(c.ring))
	if n == 0 {
		return dst
	}
	if c.seq > n {
		since = max(since, c.seq-n)
	}
	for s := since; s < c.seq; s++ {
		dst = append(dst, c.ring[s%n].explain())
	}
	return dst
}

// Snapshot fills dst with the state as of the last Step.
func (c *Core) Snapshot(dst *Snapshot) {
	p, w := &c.plan, &c.depth
	flows, groups := dst.Flows[:0], dst.Groups[:0]
	*dst = Snapshot{
		Time: c.now, Version: c.version, Mode: c.set.Mode, Kappa: p.kappa, Capacity: p.ceff, Nominal: p.cnom,
		Depth: w.room, InFlight: c.inflight, Commands: c.commands, CommandLimit: c.cap, DepthMove: w.moved,
		Latency: duration(Instant(w.latency)), Target: duration(Instant(w.target)),
		Degraded: p.degraded, PrioritiesInForce: p.inForce, Floor: duration(Instant(p.floor)),
		Reserved: p.reserved, Stalls: w.stalls, Faults: c.faults,
	}
	for _, f := range c.flows {
		if f != nil {
			flows = append(flows, c.flowStatus(f))
		}
	}
	for _, g := range c.groups {
		if g == nil {
			continue
		}
		s := GroupStatus{
			Group: g.id, Configured: g.conf, Weight: g.weight, Demand: g.demand, Entitlement: g.x, Flows: len(g.members),
		}
		for _, f := range g.members {
			s.Use += f.m.rate(c.now)
		}
		groups = append(groups, s)
	}
	dst.Flows, dst.Groups = flows, groups
}

func (c *Core) flowStatus(f *flow) FlowStatus {
	f.m.roll(c.now)
	s := f.total
	s.Flow, s.Active, s.Configured, s.Weight = f.id, f.active, *f.conf, f.weight
	s.Reservation, s.Limit, s.Met = f.reserved, f.limit, !f.lowered
	s.Demand, s.Entitlement, s.Use = f.demand, f.x, f.m.rate(c.now)
	if f.demand == unbounded {
		s.Demand = -1
	}
	s.Over, s.Lead = c.over(f), f.lead()
	s.Queued, s.QueuedUnits, s.InFlight, s.Parked = f.n, f.units, f.inflight+f.fast, f.parked
	s.Why = Explain{Flow: f.id, Ahead: NoFlow}
	if f.backlogged() {
		s.HeadAge = duration(c.now - f.first.arrived)
		r := c.why(f)
		s.Why = r.explain()
		s.Why.Seq = c.seq
	}
	if f.told != 0 {
		s.Waited[f.told] += duration(c.now - f.toldAt)
	}
	s.LimitBlocked = s.Waited[Limit]
	return s
}
