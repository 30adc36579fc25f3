// SPDX-License-Identifier: Apache-2.0

package share

import "time"

// shortestHold is the least that strict mode holds a flow.
const shortestHold = Instant(50 * time.Microsecond)

// wakeUp is for a flow that gets the first command in its queue.
func (c *Core) wakeUp(f *flow) {
	f.since = c.now
	for i := range f.reserve {
		f.reserve[i].raise(c.now)
	}
	if c.ablation&noEnterClamp == 0 {
		credit := c.credit(f)
		if !f.fresh {
			credit = maxVT(f.vt, credit)
		}
		f.vt = credit
	}
	f.fresh = false
	was := f.active
	if !was {
		f.active = true
		c.plan.countActive(f)
		c.plan.inForce = c.plan.inForce || c.prioritiesApply()
	}
	if c.plan.inForce {
		if c.higherBacklogged(f) {
			f.vt = maxVT(f.vt, f.level.v+VirtualTime(uint64(f.first.cost)*f.inv))
		}
		if !was {
			c.plan.at = min(c.plan.at, max(c.now, c.plan.last+earlyPlan))
		}
	}
	c.place(f)
}

// credit is the lowest virtual time that f may have: V less its idle credit.
func (c *Core) credit(f *flow) VirtualTime {
	sigma := min(f.conf.IdleCredit, c.set.IdleCreditMax)
	return f.level.v - VirtualTime(uint64(sigma)*f.inv)
}

func (c *Core) higherBacklogged(f *flow) bool {
	for _, n := range c.backlog[f.conf.Priority+1:] {
		if n > 0 {
			return true
		}
	}
	return false
}

// enter puts a flow that is backlogged and in no set into its sets, after a limit
// if it was over one.
func (c *Core) enter(f *flow, limited bool) {
	if limited {
		f.since = c.now
		if c.ablation&noEnterClamp == 0 {
			f.vt = maxVT(f.vt, c.credit(f))
		}
	}
	c.place(f)
}

// place puts f into ready and due, or into the timer when it is over a limit.
func (c *Core) place(f *flow) {
	if b, until := f.lim.blocked(f.first, c.now); b != NoBucket {
		c.toTimer(f, overLimit, b, until)
		return
	}
	c.ready(f)
	c.enqueueDue(f)
}

// ready puts f in share order, or in the ring of those without shares.
func (c *Core) ready(f *flow) {
	if f.weight == 0 {
		c.zero.push(f)
		return
	}
	f.level.ready.put(&f.entity, uint64(f.vt))
	if g := f.grp; g != nil && g.waits == notWaiting && !c.root.ready.has(&g.entity) {
		c.enterGroup(g)
	}
}

func (c *Core) enterGroup(g *group) {
	g.vt = maxVT(g.vt, c.root.v)
	c.root.ready.put(&g.entity, uint64(g.vt))
}

// unready takes f out of ready, and its group with the last member.
func (c *Core) unready(f *flow) {
	f.level.ready.remove(&f.entity)
	c.zero.remove(f)
	if g := f.grp; g != nil && g.inside.ready.len() == 0 {
		c.root.ready.remove(&g.entity)
		c.timer.remove(&g.entity)
		g.waits = notWaiting
	}
}

func (c *Core) enqueueDue(f *flow) {
	if at, _, ok := f.dueAt(c.plan.floor, c.ablation); ok {
		c.due.put(&f.entity, uint64(at))
	} else {
		c.due.remove(&f.entity)
	}
}

// toTimer takes f out of ready until a time. A held flow stays in due.
func (c *Core) toTimer(f *flow, why waiting, b Bucket, until Instant) {
	c.unready(f)
	if why != held {
		c.due.remove(&f.entity)
	}
	f.waits, f.bucket = why, b
	c.timer.put(&f.entity, uint64(until))
}

// expire is for the first of the timer, whose time has come.
func (c *Core) expire(e *entity) {
	c.timer.remove(e)
	if g := e.group; g != nil {
		g.waits = notWaiting
		if g.inside.ready.len() > 0 {
			c.enterGroup(g)
		}
		return
	}
	c.release(e.flow)
}

// release lets f go on, which has been taken out of the timer.
func (c *Core) release(f *flow) {
	if f.waits != held {
		f.waits = notWaiting
		c.enter(f, true)
		return
	}
	f.waits = notWaiting
	if c.ablation&noEnterClamp == 0 {
		f.vt = maxVT(f.vt, c.credit(f))
	}
	c.ready(f)
}

// leave takes f, whose queue is empty, out of all sets.
func (c *Core) leave(f *flow) {
	c.unready(f)
	c.due.remove(&f.entity)
	c.timer.remove(&f.entity)
	f.waits = notWaiting
	f.m.end(c.now)
	c.backlog[f.conf.Priority]--
	c.tellEnd(f)
}

// headChanged looks again at f after its head went or another came before it.
func (c *Core) headChanged(f *flow) {
	if f.n == 0 {
		if f.m.backlogged {
			c.leave(f)
		}
		return
	}
	b, until := f.lim.blocked(f.first, c.now)
	switch {
	case b != NoBucket:
		c.toTimer(f, overLimit, b, until)
	case f.waits == overLimit || f.waits == overGroupLimit:
		c.timer.remove(&f.entity)
		c.release(f)
	}
}

// freeHeld releases the flows that no longer are to be held.
func (c *Core) freeHeld() {
	for _, f := range c.flows {
		if f != nil && f.waits == held && (c.set.Mode != Strict || !c.toHold(f)) {
			c.timer.remove(&f.entity)
			c.release(f)
		}
	}
}

// firstDue gives the first of due and the rule of its time; nil when due is empty.
// A floor moves away with every dispatch, and its place in the heap is only put
// right when it gets to the top.
func (c *Core) firstDue() (f *flow, at Instant, phase Phase) {
	for c.due.len() > 0 {
		f = c.due.top().flow
		at, phase, _ = f.dueAt(c.plan.floor, c.ablation)
		if at == c.due.first() {
			return f, at, phase
		}
		c.due.put(&f.entity, uint64(at))
	}
	return nil, 0, 0
}

// pick gives the flow that goes next and by which rule; nil: none can.
func (c *Core) pick() (*flow, Phase) {
	for c.due.due(c.now) {
		f, at, phase := c.firstDue()
		if at > c.now {
			break
		}
		if b, until := c.groupBlocked(f); b != NoBucket {
			c.toTimer(f, overGroupLimit, b, until)
			continue
		}
		return f, phase
	}
	if f := c.run.flow; f != nil && f.waits == notWaiting && c.continues(f) {
		if b, _ := c.groupBlocked(f); b == NoBucket {
			return f, PhaseQuantum
		}
	}
	for e := c.root.ready.top(); e != nil; e = c.root.ready.top() {
		f := e.flow
		if g := e.group; g != nil {
			f = g.inside.ready.top().flow
			if b, until := g.lim.blocked(f.first, c.now); b != NoBucket {
				c.root.ready.remove(e)
				g.waits, g.bucket = overLimit, b
				c.timer.put(e, uint64(until))
				continue
			}
		}
		if c.set.Mode == Strict && c.toHold(f) {
			c.toTimer(f, held, NoBucket, c.holdUntil(f))
			continue
		}
		if g := e.group; g != nil {
			g.inside.v = maxVT(g.inside.v, f.vt)
		}
		c.root.v = maxVT(c.root.v, e.vt)
		return f, PhaseShare
	}
	for c.zero.first != nil {
		f := c.zero.first
		if b, until := c.groupBlocked(f); b != NoBucket {
			c.toTimer(f, overGroupLimit, b, until)
			continue
		}
		return f, PhaseZero
	}
	return nil, 0
}

func (c *Core) groupBlocked(f *flow) (Bucket, Instant) {
	if f.grp == nil {
		return NoBucket, 0
	}
	return f.grp.lim.blocked(f.first, c.now)
}

// continues tells whether the head of f goes on with the sequential run (par.
// 0090) and may. It need not be in turn.
func (c *Core) continues(f *flow) bool {
	if c.run.flow != f || f.n == 0 || c.run.n >= c.set.Quantum || f.first.LBA-f.end > c.set.SequentialGap {
		return false
	}
	cost := f.first.cost
	return c.run.cu+cost <= max(cost, Unit(c.set.QuantumBytes/c.set.UnitBytes)) && !c.cut(f)
}

// cut tells whether f loses its quantum (par. 0111).
func (c *Core) cut(f *flow) bool {
	return c.plan.kappa < fullKappa && c.plan.contested(f) && c.over(f)
}

// over tells whether f used more than its entitlement allows, against the
// capacity now.
func (c *Core) over(f *flow) bool {
	if c.plan.ceff == 0 || !f.planned {
		return false
	}
	f.m.roll(c.now)
	covered := f.m.covered(c.now)
	if u := f.m.units(); !product(covered, int64(f.x)).less(product(int64(u), 1000*second)) {
		return false // not even above x: without a division
	}
	return f.m.rate(c.now) > c.margin(f.x)
}

// toHold tells whether strict mode keeps f waiting (par. 0110).
func (c *Core) toHold(f *flow) bool {
	return c.plan.othersActive(f) && !c.continues(f) && c.over(f)
}

// holdUntil gives when f's use has fallen to its entitlement by time alone, or
// the next edge of a slot, whichever is first.
func (c *Core) holdUntil(f *flow) Instant {
	half := Instant(c.half())
	edge := f.m.slot + half
	until := edge
	if limit := int64(c.margin(f.x)); limit > 0 {
		need := Instant(min(mulDivUp(int64(f.m.units()), 1000*second, limit), 1<<60))
		until = max(f.m.slot-half, f.m.added) + need
	}
	return max(min(until, edge, c.now+2*half), c.now+shortestHold)
}
