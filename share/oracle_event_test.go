// SPDX-License-Identifier: Apache-2.0

package share

import "slices"

// apply takes over one event; ended tells that commands have ended.
func (c *refCore) apply(ev *Event) (ended bool) {
	switch ev.Kind {
	case AddFlow:
		c.addFlow(ev)
	case RemoveFlow:
		c.removeFlow(ev.Flow)
	case Submit:
		c.submit(ev)
	case Complete:
		return c.complete(ev.Cmd)
	case Abort:
		if r := c.cmds[ev.Cmd]; r != nil && r.state == refQueued {
			head := r.flow.head() == r
			c.giveBack(r)
			if head {
				c.headChanged(r.flow)
			}
		}
	case ResetFlow:
		if f := c.flow(ev.Flow); f != nil {
			for f.backlogged() {
				c.giveBack(f.head())
			}
			c.headChanged(f)
		} else {
			c.faults++
		}
	case ConfigureFlow:
		c.configureFlow(ev)
	case ConfigureGroup:
		c.configureGroup(ev)
	case Configure:
		c.configure(ev)
	case Paths:
		c.paths(ev.Kappa)
	case PathDown, Park:
		c.leaveWindow(ev)
	case Redrive, Unpark:
		c.joinWindow(ev)
	case Commands:
		c.told, c.bound = int(ev.Count), int(ev.Count)
	case TaskSetFull:
		c.bound, c.sinceTSF = max(1, c.commands), 0
	case Fast:
		c.fast(ev)
	case Window:
		c.inflight, c.commands = ev.Units, int(ev.Count)
		c.depth.completed += ev.Completed
		c.depth.samples += int64(ev.Samples)
		c.depth.latency += ev.Latency
		c.awake = c.awake || ev.Completed > 0
		return ev.Completed > 0
	case Stall:
		c.depth.stall = max(c.depth.stall, ev.Until)
	default:
		c.faults++
	}
	return false
}

func (c *refCore) addFlow(ev *Event) {
	if c.flow(ev.Flow) != nil || ev.Entitlement.Group != 0 && c.groupOf(ev.Entitlement.Group) == nil {
		c.faults++
		return
	}
	for int(ev.Flow) >= len(c.flows) {
		c.flows = append(c.flows, nil)
	}
	f := &refFlow{id: ev.Flow, conf: *ev.Entitlement}
	f.meter.restart(c.now, c.set.Window)
	f.meter.added = c.now
	f.limits.configure(&f.conf.Limits, c.set.LimitSlop, c.now)
	c.flows[ev.Flow] = f
	c.join(f)
	f.vt, f.weight = f.level.v, f.conf.Weight
	c.planAt, c.version = c.now, max(c.version, ev.Version)
}

func (c *refCore) join(f *refFlow) {
	f.group, f.level = nil, &c.root
	if f.conf.Group != 0 {
		f.group = c.groupOf(f.conf.Group)
		f.level = &f.group.inside
	}
}

func (c *refCore) removeFlow(id FlowID) {
	f := c.flow(id)
	if f == nil || f.backlogged() {
		c.faults++
		return
	}
	if c.run.flow == f {
		c.run.flow = nil
	}
	c.flows[id] = nil
	c.planAt = c.now
}

func (c *refCore) submit(ev *Event) {
	f, r := c.flow(ev.Flow), c.cmds[ev.Cmd]
	idle := r == nil || r.state == refGone
	if f == nil || !idle {
		c.faults++
		if idle {
			c.returned = append(c.returned, ev.Cmd)
		}
		return
	}
	r = &refCmd{cmd: ev.Cmd, flow: f, state: refQueued, cost: c.cost(f, ev.Cmd)}
	c.cmds[ev.Cmd] = r
	c.awake = true
	if !slices.Contains(c.touched, f) {
		c.touched = append(c.touched, f)
	}
	switch {
	case !f.backlogged():
		f.queue = []*refCmd{r}
		c.wakeUp(f)
	case ev.Cmd.HeadOfQueue:
		f.queue = slices.Insert(f.queue, 0, r)
		c.headChanged(f)
	default:
		f.queue = append(f.queue, r)
	}
}

// cost of a command when it is submitted.
func (c *refCore) cost(f *refFlow, cmd *Cmd) Unit {
	before := f.submitEnd
	f.submitEnd = refEnd(cmd)
	bytes := int64(cmd.Bytes)
	if cmd.Class == ClassOther {
		return 1
	}
	if c.set.CostModel == CostPatent {
		return Unit(max(1, refCeil(bytes, c.set.UnitBytes)))
	}
	k, seq := &c.set.Calibration, c.follows(before, cmd)
	class := map[Class]map[bool]ClassCost{
		ClassRead:  {true: k.SequentialRead, false: k.RandomRead},
		ClassWrite: {true: k.SequentialWrite, false: k.RandomWrite},
	}[cmd.Class][seq]
	return Unit(max(1, refCeil(k.MaxIOPS, class.IOPS), refCeil(bytes, class.UnitBytes)))
}

func refEnd(cmd *Cmd) uint64 { return cmd.LBA + uint64(refCeil(int64(cmd.Bytes), 512)) }

// follows: cmd begins at end or up to the gap behind it.
func (c *refCore) follows(end uint64, cmd *Cmd) bool {
	return cmd.LBA >= end && cmd.LBA-end <= c.set.SequentialGap
}

func (c *refCore) ops(cmd *Cmd) int64 {
	if c.set.OpsBytes == 0 {
		return 1
	}
	return max(1, refCeil(int64(cmd.Bytes), c.set.OpsBytes))
}

func (c *refCore) complete(cmd *Cmd) bool {
	r := c.cmds[cmd]
	if r == nil || r.state == refQueued || r.state == refGone {
		c.faults++
		return false
	}
	switch r.state {
	case refInFlight:
		c.inflight -= r.cost
		c.commands--
		if !r.noSample && r.dispatched >= c.depth.stall {
			c.depth.samples++
			c.depth.latency += int64(c.now - r.dispatched)
		}
	case refParked:
		r.flow.parked--
	case refLost, refQueued, refGone:
	}
	r.flow.inflight--
	r.state = refGone
	c.depth.completed += r.cost
	c.awake = true
	return true
}

func (c *refCore) leaveWindow(ev *Event) {
	r := c.cmds[ev.Cmd]
	switch {
	case r != nil && r.state == refInFlight:
		r.state, r.noSample = refLost, true
		if ev.Kind == Park {
			r.state = refParked
			r.flow.parked++
			r.flow.parkedBy = ev.Reason
		}
		c.inflight -= r.cost
		c.commands--
	case r != nil && r.state == refParked && ev.Kind == Park:
		r.flow.parkedBy = ev.Reason
	default:
		c.faults++
	}
}

func (c *refCore) joinWindow(ev *Event) {
	r := c.cmds[ev.Cmd]
	switch {
	case r != nil && ev.Kind == Unpark && r.state == refParked:
		r.flow.parked--
	case r != nil && ev.Kind == Redrive && r.state == refLost:
	default:
		c.faults++
		return
	}
	r.state = refInFlight
	c.inflight += r.cost
	c.commands++
}

// giveBack takes a queued command out of its queue.
func (c *refCore) giveBack(r *refCmd) {
	f := r.flow
	f.queue = slices.DeleteFunc(f.queue, func(o *refCmd) bool { return o == r })
	r.state = refGone
	c.returned = append(c.returned, r.cmd)
}

func (c *refCore) configureFlow(ev *Event) {
	f := c.flow(ev.Flow)
	if f == nil || ev.Entitlement.Group != 0 && c.groupOf(ev.Entitlement.Group) == nil {
		c.faults++
		return
	}
	was := f.wait
	c.unready(f)
	move := ev.Entitlement.Group != f.conf.Group
	f.conf = *ev.Entitlement
	if move {
		lead := f.vt - f.level.v
		c.join(f)
		f.vt = f.level.v + lead
	}
	f.limits.configure(&f.conf.Limits, c.set.LimitSlop, c.now)
	switch {
	case !f.backlogged():
	case was == refHeld:
		c.enqueueDue(f)
	default:
		f.wait = refNoWait
		if was != refNoWait {
			c.afterLimit(f)
		} else {
			c.place(f)
		}
	}
	c.planAt, c.version = c.now, max(c.version, ev.Version)
}

func (c *refCore) configureGroup(ev *Event) {
	if ev.Group == 0 {
		c.faults++
		return
	}
	for int(ev.Group) >= len(c.groups) {
		c.groups = append(c.groups, nil)
	}
	g := c.groups[ev.Group]
	if g == nil {
		g = &refGroup{id: ev.Group}
		g.level, g.vt = &c.root, c.root.v
		c.groups[ev.Group] = g
	}
	g.conf = *ev.GroupEntitlement
	g.limits.configure(&g.conf.Limits, c.set.LimitSlop, c.now)
	if g.wait != refNoWait {
		g.wait = refNoWait
		c.enterGroup(g)
	}
	for _, f := range c.flows {
		if f != nil && f.group == g && f.wait == refGroupLimited {
			f.wait = refNoWait
			c.afterLimit(f)
		}
	}
	c.planAt, c.version = c.now, max(c.version, ev.Version)
}

func (c *refCore) configure(ev *Event) {
	old := c.set
	c.set, c.version = *ev.Settings, ev.Version
	for _, f := range c.flows {
		if f == nil {
			continue
		}
		if old.Window != c.set.Window {
			f.meter.restart(c.now, c.set.Window)
		}
	}
	for _, f := range c.flows {
		if f != nil {
			f.limits.configure(&f.conf.Limits, c.set.LimitSlop, c.now)
			c.headChanged(f)
		}
	}
	for _, g := range c.groups {
		if g != nil {
			g.limits.configure(&g.conf.Limits, c.set.LimitSlop, c.now)
		}
	}
	if c.set.Mode != Strict {
		c.freeHeld()
	}
	c.configureCapacity(&old)
	c.depth.configure(c, &old)
	c.planAt = c.now
}

// fast folds in what a flow was served past the core.
func (c *refCore) fast(ev *Event) {
	f := c.flow(ev.Flow)
	if f == nil {
		c.faults++
		return
	}
	f.fast = int(ev.Count)
	if ev.Units == 0 {
		return
	}
	f.meter.uses = append(f.meter.uses, refUse{c.now - Instant(c.set.Window)/8, ev.Units})
	f.last, f.served = c.now, true
	c.awake = true
	if f.hasDue {
		c.enqueueDue(f)
	}
	if f.weight > 0 {
		units := min(ev.Units, c.clampUnits(f.x, 1))
		f.vt = refLater(f.vt, f.level.v) + uint64(units)*f.inv()
		f.fresh = false
	}
}
