// SPDX-License-Identifier: Apache-2.0

package share

// Why tells why the head of f waits now; Seq is 0 when nothing waits.
func (c *Core) Why(f FlowID) Explain {
	fl := c.flow(f)
	if fl == nil || !fl.backlogged() && fl.parked == 0 {
		return Explain{Flow: f, Ahead: NoFlow}
	}
	return c.explainNow(fl)
}

// explainNow is the decision about the head of f as it stands.
func (c *Core) explainNow(f *flow) Explain {
	var r rawExplain
	why := c.why(f)
	if why.reason == 0 {
		return Explain{Flow: f.id, Ahead: NoFlow}
	}
	r.fill(c, f)
	r.wait(f, &why)
	r.Seq = c.seq
	return r.explain()
}

// cause is a Reason with what belongs to it.
type cause struct {
	reason           Reason
	bucket           Bucket
	held, groupLimit bool
	ahead            FlowID
	until            Instant
}

// why gives the first reason that applies to the head of f; none when it goes in
// the next Step.
func (c *Core) why(f *flow) cause {
	w := cause{ahead: NoFlow}
	switch {
	case c.plan.kappa == 0:
		w.reason = NoPath
	case !f.backlogged():
		w.reason = f.parkedBy
	case f.waits == overLimit || f.waits == overGroupLimit:
		w.reason, w.bucket, w.groupLimit = Limit, f.bucket, f.waits == overGroupLimit
		w.until = Instant(c.timer.keyOf(&f.entity))
	case f.grp != nil && f.grp.waits != notWaiting && f.weight > 0:
		w.reason, w.bucket, w.groupLimit = Limit, f.grp.bucket, true
		w.until = Instant(c.timer.keyOf(&f.grp.entity))
	case f.waits == held:
		w.reason, w.held, w.until = OverEntitlement, true, Instant(c.timer.keyOf(&f.entity))
	case c.over(f):
		w.reason = OverEntitlement
	case c.plan.inForce && (f.cutShort && c.plan.higherActive(f) || !f.planned && c.higherBacklogged(f)):
		w.reason, w.ahead = Priority, c.mostImportant()
	default:
		switch n := c.next(); {
		case n != f:
			w.reason = Share
			if n != nil {
				w.ahead = n.id
			}
		case !c.open():
			w.reason = WindowFull
		}
	}
	return w
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
		if f, at, _ := c.firstDue(); at <= c.now {
			if b, _ := c.groupBlocked(f); b == NoBucket {
				return f
			}
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
	if f := c.zero.first; f != nil {
		if b, _ := c.groupBlocked(f); b == NoBucket {
			return f
		}
	}
	return nil
}

// fill sets the numbers of a decision about f, as they are at hand; explain works
// the rest out when somebody reads it.
func (r *rawExplain) fill(c *Core, f *flow) {
	r.Explain = Explain{Time: c.now, Flow: f.id, Ahead: NoFlow, Version: c.version}
	r.InFlight, r.Depth, r.ceff = c.inflight, c.depth.room, c.plan.ceff
	r.lead, r.weight = ahead(f.vt, f.level.v), f.weight
	f.m.roll(c.now)
	r.used, r.covered, r.x = f.m.units(), f.m.covered(c.now), f.x
}

// wait makes r a decision to keep f waiting.
func (r *rawExplain) wait(f *flow, w *cause) {
	r.Verdict, r.Reason, r.Held, r.GroupLimit = Queued, w.reason, w.held, w.groupLimit
	r.Bucket, r.Until, r.Ahead = w.bucket, w.until, w.ahead
	if f.first != nil {
		r.Tag = f.first.Tag
	}
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

// record gives the place of the next record, filled with the numbers of f; nil
// without a ring.
func (c *Core) record(f *flow) *rawExplain {
	c.seq++
	if len(c.ring) == 0 {
		return nil
	}
	r := &c.ring[c.ringAt]
	if c.ringAt++; c.ringAt == len(c.ring) {
		c.ringAt = 0
	}
	r.fill(c, f)
	r.Seq = c.seq
	return r
}

func (c *Core) explainDispatch(f *flow, cmd *Cmd, phase Phase) {
	c.tellWaited(f)
	if r := c.record(f); r != nil {
		r.Verdict, r.Phase, r.Tag = Dispatched, phase, cmd.Tag
	}
}

// explainWaits looks at those who still wait after a Step: all of them, when a
// plan was made, else those that were sent something.
func (c *Core) explainWaits() {
	list := c.touched
	if c.plan.explain {
		list = c.flows
	}
	for _, f := range list {
		if f != nil && f.backlogged() {
			c.explainWait(f)
		}
	}
	for _, f := range c.touched {
		f.touched = false
	}
	c.touched, c.plan.explain = c.touched[:0], false
}

// explainWait records why the head of f waits, if that is new.
func (c *Core) explainWait(f *flow) {
	w := c.why(f)
	if w.reason == 0 {
		return
	}
	c.tellWaited(f)
	if f.told == w.reason && f.toldTag == f.first.Tag && f.toldHeld == w.held {
		return
	}
	f.told, f.toldTag, f.toldHeld = w.reason, f.first.Tag, w.held
	if r := c.record(f); r != nil {
		r.wait(f, &w)
	}
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
	for i := range c.ring {
		r := &c.ring[(c.ringAt+i)%len(c.ring)]
		if r.Seq > since {
			dst = append(dst, r.explain())
		}
	}
	return dst
}

// Snapshot fills dst with the state as of the last Step.
func (c *Core) Snapshot(dst *Snapshot) {
	p, w := &c.plan, &c.depth
	flows, groups := dst.Flows[:0], dst.Groups[:0]
	*dst = Snapshot{
		Time: c.now, Version: c.version, Mode: c.set.Mode, Kappa: p.kappa, Capacity: p.ceff, Nominal: p.cnom, Measured: p.fixed > 0 || p.full,
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
		s.Why = c.explainNow(f)
	}
	if f.told != 0 {
		s.Waited[f.told] += duration(c.now - f.toldAt)
	}
	s.LimitBlocked = s.Waited[Limit]
	return s
}
