// SPDX-License-Identifier: Apache-2.0

package share

// facts are the numbers that every explanation has.
func (c *refCore) facts(f *refFlow) Explain {
	e := Explain{
		Time: c.now, Flow: f.id, InFlight: c.inflight, Depth: c.depth.room, Ahead: NoFlow, Version: c.version,
		Capacity: c.capacity / 1000,
	}
	if lead := int64(f.vt - f.level.v); lead < 0 {
		e.Lead = -Unit(refMulDiv(-lead, int64(f.weight), 1<<32))
	} else {
		e.Lead = Unit(refMulDiv(lead, int64(f.weight), 1<<32))
	}
	if c.capacity > 0 {
		e.Use = uint32(min(refMulDiv(f.meter.rate(c.now), refFull, c.capacity), 1<<31))
		e.Entitlement = uint32(min(refMulDiv(f.x, refFull, c.capacity), 1<<31))
	}
	return e
}

// Why gives the first reason that applies to the head of a flow.
func (c *refCore) Why(id FlowID) Explain {
	f := c.flow(id)
	if f == nil || !f.backlogged() && f.parked == 0 {
		return Explain{Flow: id, Ahead: NoFlow}
	}
	e := c.facts(f)
	e.Verdict, e.Seq = Queued, c.seq
	if f.backlogged() {
		e.Tag = f.head().cmd.Tag
	}
	switch {
	case c.kappa == 0:
		e.Reason = NoPath
	case !f.backlogged():
		e.Reason = f.parkedBy
	case f.wait == refLimited || f.wait == refGroupLimited:
		e.Reason, e.Bucket, e.Until, e.GroupLimit = Limit, f.bucket, f.until, f.wait == refGroupLimited
	case f.group != nil && f.group.wait != refNoWait && f.weight > 0:
		e.Reason, e.Bucket, e.Until, e.GroupLimit = Limit, f.group.bucket, f.group.until, true
	case f.wait == refHeld:
		e.Reason, e.Held, e.Until = OverEntitlement, true, f.until
	case c.over(f):
		e.Reason = OverEntitlement
	case c.inForce && (f.cutShort || !f.planned && c.higherBacklogged(f)):
		e.Reason, e.Ahead = Priority, c.mostImportant()
	default:
		next := c.firstOfSets()
		switch next {
		case f:
			if c.open() {
				return Explain{Flow: id, Ahead: NoFlow}
			}
			e.Reason = WindowFull
		case nil:
			e.Reason = Share
		default:
			e.Reason, e.Ahead = Share, next.id
		}
	}
	return e
}

// firstOfSets is who goes next, as far as the first of each set tells; one whose
// group is over its limit counts as none.
func (c *refCore) firstOfSets() *refFlow {
	free := func(f *refFlow) bool {
		if f == nil {
			return false
		}
		b, _ := c.groupBlocked(f)
		return b == NoBucket
	}
	if f := c.firstDue(nil); free(f) {
		return f
	}
	if f := c.run.flow; f != nil && f.wait == refNoWait && c.continues(f) && free(f) {
		return f
	}
	f, g := c.rootTop(&refPick{})
	if g != nil {
		f = c.top(g, nil)
	}
	if free(f) {
		return f
	}
	if len(c.ring) > 0 && free(c.ring[0]) {
		return c.ring[0]
	}
	return nil
}

func (c *refCore) higherBacklogged(f *refFlow) bool {
	for _, o := range c.flows {
		if o != nil && o.backlogged() && o.conf.Priority > f.conf.Priority {
			return true
		}
	}
	return false
}

// mostImportant is the active flow of the highest priority, the lowest of these.
func (c *refCore) mostImportant() FlowID {
	best := NoFlow
	for _, f := range c.flows {
		if f != nil && f.wasActive && (best == NoFlow || f.conf.Priority > c.flows[best].conf.Priority) {
			best = f.id
		}
	}
	return best
}

func (c *refCore) record(e Explain) {
	c.seq++
	e.Seq = c.seq
	c.records = append(c.records, e)
}

func (c *refCore) tellDispatch(f *refFlow, r *refCmd, phase Phase) {
	e := c.facts(f)
	e.Verdict, e.Phase, e.Tag = Dispatched, phase, r.cmd.Tag
	c.record(e)
}

// tell records why the head waits, if that is not what was told last.
func (c *refCore) tell(f *refFlow) {
	if !f.backlogged() {
		return
	}
	e := c.Why(f.id)
	if e.Reason == 0 {
		return
	}
	t := &f.told
	if t.cmd == f.head().cmd && t.reason == e.Reason && t.held == e.Held {
		return
	}
	t.cmd, t.reason, t.held = f.head().cmd, e.Reason, e.Held
	c.record(e)
}
