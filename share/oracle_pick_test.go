// SPDX-License-Identifier: Apache-2.0

package share

import "slices"

// wakeUp is enter from idle.
func (c *refCore) wakeUp(f *refFlow) {
	f.meter.begin(c.now)
	f.since = c.now
	for i := range f.reserve {
		f.reserve[i].raise(c.now)
	}
	if f.fresh {
		f.vt = c.credit(f)
	} else {
		f.vt = refLater(f.vt, c.credit(f))
	}
	f.fresh = false
	was := f.wasActive
	if f.wasActive = true; !was {
		c.awake = true
		c.inForce = c.inForce || c.wouldBeInForce()
	}
	if c.inForce {
		for _, o := range c.flows {
			if o != nil && o.backlogged() && o.conf.Priority > f.conf.Priority {
				f.vt = refLater(f.vt, f.level.v+uint64(f.head().cost)*f.inv())
				break
			}
		}
		if !was {
			c.planAt = min(c.planAt, max(c.now, c.lastPlan+10_000_000))
		}
	}
	c.place(f)
}

func (c *refCore) credit(f *refFlow) uint64 {
	return f.level.v - uint64(min(f.conf.IdleCredit, c.set.IdleCreditMax))*f.inv()
}

// afterLimit is enter from the timer after a limit.
func (c *refCore) afterLimit(f *refFlow) {
	f.since = c.now
	f.vt = refLater(f.vt, c.credit(f))
	c.place(f)
}

// place puts a backlogged flow in ready and due, or in the timer.
func (c *refCore) place(f *refFlow) {
	if b, until := c.blocked(&f.limits, f.head().cmd); b != NoBucket {
		c.toTimer(f, refLimited, b, until)
		return
	}
	c.makeReady(f)
	c.enqueueDue(f)
}

func (c *refCore) makeReady(f *refFlow) {
	f.ready = true
	if f.weight == 0 {
		c.ring = append(c.ring, f)
		return
	}
	if f.group != nil && f.group.wait == refNoWait && !f.group.inRoot {
		c.enterGroup(f.group)
	}
}

// top gives the ready member of g with the lowest virtual time; skip are not
// looked at.
func (c *refCore) top(g *refGroup, skip []*refFlow) (best *refFlow) {
	for _, f := range c.flows {
		if f == nil || f.group != g || !f.ready || f.weight == 0 || slices.Contains(skip, f) {
			continue
		}
		if best == nil || refBehind(f.vt, best.vt) || f.vt == best.vt && f.before(best) {
			best = f
		}
	}
	return best
}

// enterGroup puts g in the root's ready set if it has a ready member.
func (c *refCore) enterGroup(g *refGroup) {
	if c.top(g, nil) != nil {
		g.vt = refLater(g.vt, c.root.v)
		g.inRoot = true
	}
}

func (c *refCore) unready(f *refFlow) {
	f.ready = false
	c.ring = slices.DeleteFunc(c.ring, func(o *refFlow) bool { return o == f })
	if g := f.group; g != nil && c.top(g, nil) == nil {
		g.inRoot, g.wait = false, refNoWait
	}
}

func (c *refCore) toTimer(f *refFlow, why refWait, b Bucket, until Instant) {
	c.unready(f)
	if why != refHeld {
		f.hasDue = false
	}
	f.wait, f.bucket, f.until = why, b, until
}

// enqueueDue works out when f must have a command.
func (c *refCore) enqueueDue(f *refFlow) {
	f.hasDue = false
	set := func(at Instant, phase Phase) {
		if !f.hasDue || at < f.due {
			f.hasDue, f.due, f.duePhase = true, at, phase
		}
	}
	for i := range f.reserve {
		if f.reserve[i].rate > 0 {
			set(f.reserve[i].floor(), PhaseReserve)
		}
	}
	if c.floor > 0 {
		from := f.since
		if f.served {
			from = max(from, f.last)
		}
		set(from+Instant(c.floor), PhaseFloor)
	}
}

// leave is for a flow whose queue is empty.
func (c *refCore) leave(f *refFlow) {
	c.unready(f)
	f.hasDue, f.wait = false, refNoWait
	f.meter.end(c.now)
	f.told.cmd = nil
}

func (c *refCore) headChanged(f *refFlow) {
	if !f.backlogged() {
		if f.meter.open {
			c.leave(f)
		}
		return
	}
	if b, until := c.blocked(&f.limits, f.head().cmd); b != NoBucket {
		c.toTimer(f, refLimited, b, until)
	} else if f.wait == refLimited || f.wait == refGroupLimited {
		c.release(f)
	}
}

// release takes f out of the timer.
func (c *refCore) release(f *refFlow) {
	was := f.wait
	f.wait = refNoWait
	if was == refHeld {
		f.vt = refLater(f.vt, c.credit(f))
		c.makeReady(f)
		return
	}
	c.afterLimit(f)
}

func (c *refCore) freeHeld() {
	for _, f := range c.flows {
		if f != nil && f.wait == refHeld && (c.set.Mode != Strict || !c.toHold(f)) {
			c.release(f)
		}
	}
}

// expireTimers lets go whose time has come, by time, then priority, then id.
func (c *refCore) expireTimers() {
	for {
		var first *refFlow
		for _, f := range c.flows {
			if f == nil || f.wait == refNoWait || f.until > c.now {
				continue
			}
			if first == nil || f.until < first.until || f.until == first.until && f.before(first) {
				first = f
			}
		}
		var group *refGroup
		for _, g := range c.groups {
			if g != nil && g.wait != refNoWait && g.until <= c.now && (group == nil || g.until < group.until) {
				group = g
			}
		}
		switch {
		case first == nil && group == nil:
			return
		case first == nil || group != nil && group.until < first.until:
			group.wait = refNoWait
			c.enterGroup(group)
		default:
			c.release(first)
		}
	}
}

// refMove is a flow or group that choose found must wait in the timer.
type refMove struct {
	flow   *refFlow
	group  *refGroup
	why    refWait
	bucket Bucket
	until  Instant
}

// refPick is who goes next, and who has to wait instead.
type refPick struct {
	flow  *refFlow
	phase Phase
	moved []refMove
}

func (p *refPick) skipped() (flows []*refFlow) {
	for _, m := range p.moved {
		if m.flow != nil {
			flows = append(flows, m.flow)
		}
	}
	return flows
}

func (p *refPick) skipsGroup(g *refGroup) bool {
	return slices.ContainsFunc(p.moved, func(m refMove) bool { return m.group == g && g != nil })
}

// choose is Pick. It changes nothing.
func (c *refCore) choose() (p refPick) {
	for f := c.firstDue(nil); f != nil; f = c.firstDue(p.skipped()) {
		b, until := c.groupBlocked(f)
		if b == NoBucket {
			p.flow, p.phase = f, f.duePhase
			return p
		}
		p.moved = append(p.moved, refMove{flow: f, why: refGroupLimited, bucket: b, until: until})
	}
	if f := c.run.flow; f != nil && f.wait == refNoWait && c.continues(f) {
		if b, _ := c.groupBlocked(f); b == NoBucket {
			p.flow, p.phase = f, PhaseQuantum
			return p
		}
	}
	if f := c.chooseShare(&p); f != nil {
		p.flow, p.phase = f, PhaseShare
		return p
	}
	for _, f := range c.ring {
		if slices.Contains(p.skipped(), f) {
			continue
		}
		b, until := c.groupBlocked(f)
		if b == NoBucket {
			p.flow, p.phase = f, PhaseZero
			return p
		}
		p.moved = append(p.moved, refMove{flow: f, why: refGroupLimited, bucket: b, until: until})
	}
	return p
}

// firstDue gives the flow that is due first, by (time, priority, id).
func (c *refCore) firstDue(skip []*refFlow) (best *refFlow) {
	for _, f := range c.flows {
		if f == nil || !f.hasDue || f.due > c.now || slices.Contains(skip, f) {
			continue
		}
		if best == nil || f.due < best.due || f.due == best.due && f.before(best) {
			best = f
		}
	}
	return best
}

// chooseShare is the third line of Pick.
func (c *refCore) chooseShare(p *refPick) *refFlow {
	for {
		f, g := c.rootTop(p)
		if g != nil {
			f = c.top(g, p.skipped())
			if b, until := c.blocked(&g.limits, f.head().cmd); b != NoBucket {
				p.moved = append(p.moved, refMove{group: g, why: refLimited, bucket: b, until: until})
				continue
			}
		}
		if f == nil {
			return nil
		}
		if c.set.Mode == Strict && c.toHold(f) {
			p.moved = append(p.moved, refMove{flow: f, why: refHeld, until: c.holdUntil(f)})
			continue
		}
		return f
	}
}

// rootTop gives the flow or group of the root's ready set with the lowest
// virtual time.
func (c *refCore) rootTop(p *refPick) (f *refFlow, g *refGroup) {
	f = c.top(nil, p.skipped())
	for _, o := range c.groups {
		if o == nil || !o.inRoot || p.skipsGroup(o) || c.top(o, p.skipped()) == nil {
			continue
		}
		if g == nil || refBehind(o.vt, g.vt) {
			g = o
		}
	}
	if f != nil && (g == nil || !refBehind(g.vt, f.vt)) {
		return f, nil
	}
	return nil, g
}

func (c *refCore) moveToTimer(moved []refMove) {
	for _, m := range moved {
		if m.flow != nil {
			c.toTimer(m.flow, m.why, m.bucket, m.until)
		} else if m.group.inRoot {
			m.group.inRoot = false
			m.group.wait, m.group.bucket, m.group.until = m.why, m.bucket, m.until
		}
	}
}

func (c *refCore) groupBlocked(f *refFlow) (Bucket, Instant) {
	if f.group == nil {
		return NoBucket, 0
	}
	return c.blocked(&f.group.limits, f.head().cmd)
}

// continues: the head of f goes on with the sequential run.
func (c *refCore) continues(f *refFlow) bool {
	if c.run.flow != f || !f.backlogged() || c.run.n >= c.set.Quantum {
		return false
	}
	cost := f.head().cost
	return c.run.cu+cost <= max(cost, Unit(c.set.QuantumBytes/c.set.UnitBytes)) &&
		c.follows(f.end, f.head().cmd) && !c.cut(f)
}

func (c *refCore) cut(f *refFlow) bool {
	if c.kappa >= refFull || !c.over(f) {
		return false
	}
	for _, o := range c.flows {
		if o != nil && o != f && o.wasActive && (o.conf.Priority > f.conf.Priority || o.conf.Reservation != Rate{}) {
			return true
		}
	}
	return false
}

func (c *refCore) toHold(f *refFlow) bool {
	return c.over(f) && c.otherActive(f) && !c.continues(f)
}

func (c *refCore) holdUntil(f *refFlow) Instant {
	half := int64(c.set.Window) / 2
	slot := f.meter.slot(c.now)
	until := slot + Instant(half)
	if limit := refMulDiv(f.x, int64(100+c.set.OverMargin), 100); limit > 0 {
		used := int64(f.meter.used(c.now))
		up := refMulDiv(used, 1000*refSecond, limit)
		if refMulDiv(up, limit, 1) < used*1000*refSecond {
			up++
		}
		until = min(until, max(slot-Instant(half), f.meter.added)+Instant(up))
	}
	return max(min(until, c.now+Instant(c.set.Window)), c.now+50_000)
}

// charge dispatches the head of the flow that was chosen.
func (c *refCore) charge(p refPick) Dispatch {
	f := p.flow
	r := f.head()
	if p.phase == PhaseShare {
		f.level.v = refLater(f.level.v, f.vt)
		if f.group != nil {
			c.root.v = refLater(c.root.v, f.group.vt)
		}
	}
	f.queue = f.queue[1:]
	c.advance(&f.refEntity, r.cost, f.x, p.phase)
	if f.group != nil {
		c.advance(&f.group.refEntity, r.cost, f.group.x, p.phase)
	}
	ops := c.ops(r.cmd)
	if f.reserve[0].rate > 0 {
		f.reserve[0].pay(c.now, ops, int64(c.set.ReserveAhead))
	}
	if f.reserve[1].rate > 0 {
		f.reserve[1].pay(c.now, int64(r.cmd.Bytes), int64(c.set.ReserveAhead))
	}
	c.chargeLimits(&f.limits, r.cmd)
	if f.group != nil {
		c.chargeLimits(&f.group.limits, r.cmd)
	}
	refMean(&f.cb, int64(r.cost))
	refMean(&f.ob, ops)
	refMean(&f.bb, int64(r.cmd.Bytes))
	refMean(&c.depth.cb, int64(r.cost))
	switch {
	case p.phase == PhaseShare || p.phase == PhaseZero:
		c.run.flow, c.run.n, c.run.cu = f, 1, r.cost
	case c.run.flow == f:
		c.run.n++
		c.run.cu += r.cost
	}
	f.meter.uses = append(f.meter.uses, refUse{c.now, r.cost})
	f.last, f.served, f.end = c.now, true, refEnd(r.cmd)
	f.inflight++
	c.inflight += r.cost
	c.commands++
	r.state, r.dispatched = refInFlight, c.now
	c.tellDispatch(f, r, p.phase)
	c.newPlaces(f)
	return Dispatch{Cmd: r.cmd, Flow: f.id, Phase: p.phase, Cost: r.cost}
}

// newPlaces is the end of a charge.
func (c *refCore) newPlaces(f *refFlow) {
	if !f.backlogged() {
		c.leave(f)
		return
	}
	if b, until := c.blocked(&f.limits, f.head().cmd); b != NoBucket {
		c.toTimer(f, refLimited, b, until)
		return
	}
	if i := slices.Index(c.ring, f); i >= 0 {
		c.ring = append(slices.Delete(c.ring, i, i+1), f)
	}
	c.enqueueDue(f)
}

func (c *refCore) advance(e *refEntity, cost Unit, x int64, phase Phase) {
	before := e.vt
	e.vt += uint64(cost) * e.inv()
	if phase == PhaseReserve || phase == PhaseFloor {
		most := refLater(before, e.level.v+uint64(c.clampUnits(x, cost))*e.inv())
		if refBehind(most, e.vt) {
			e.vt = most
		}
	}
}

// clampUnits is U.
func (c *refCore) clampUnits(x int64, cost Unit) Unit {
	return max(cost, Unit(refMulDiv(x, int64(c.set.Window), 1000*refSecond)))
}

func refMean(m *int64, sample int64) {
	if *m == 0 {
		*m = sample << 8
	} else {
		*m += (sample<<8 - *m) >> 4
	}
}
