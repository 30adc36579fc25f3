// SPDX-License-Identifier: Apache-2.0

package share

// apply takes over one event.
func (c *Core) apply(ev *Event) {
	switch ev.Kind {
	case AddFlow:
		c.addFlow(ev)
	case RemoveFlow:
		c.removeFlow(ev.Flow)
	case Submit:
		c.submit(ev)
	case Complete:
		c.complete(ev.Cmd)
	case Abort:
		if f := ev.Cmd.flow; ev.Cmd.state == cmdQueued {
			head := f.first == ev.Cmd
			c.takeBack(f, ev.Cmd)
			if head {
				c.headChanged(f)
			}
		}
	case ResetFlow:
		c.reset(ev.Flow)
	case ConfigureFlow:
		c.configureFlow(ev)
	case ConfigureGroup:
		c.configureGroup(ev)
	case Configure:
		old := c.set
		c.version = ev.Version
		c.applySettings(ev.Settings, &old)
	case Paths:
		c.paths(ev.Kappa)
	case PathDown, Park:
		c.leaveWindow(ev)
	case Redrive, Unpark:
		c.joinWindow(ev)
	case Commands:
		c.most, c.cap = int(ev.Count), int(ev.Count)
	case TaskSetFull:
		c.cap, c.capSince = max(c.commands, 1), 0
	case Fast:
		c.addFast(ev)
	case Window:
		c.inflight, c.commands = ev.Units, int(ev.Count)
		c.depth.completed += ev.Completed
		c.depth.sample(int(ev.Samples), ev.Latency)
		c.ended = c.ended || ev.Completed > 0
		c.plan.awake = c.plan.awake || ev.Completed > 0
	case Stall:
		c.depth.stalled(ev.Until)
	default:
		c.faults++
	}
}

func (c *Core) addFlow(ev *Event) {
	if c.flow(ev.Flow) != nil || ev.Entitlement.Group != 0 && c.group(ev.Entitlement.Group) == nil {
		c.faults++
		return
	}
	for int(ev.Flow) >= len(c.flows) {
		c.flows = append(c.flows, nil)
	}
	f := &flow{id: ev.Flow, conf: ev.Entitlement}
	f.flow = f
	c.flows[ev.Flow] = f
	f.m.reset(c.now, c.half())
	f.m.added = c.now
	f.tie = flowTie(f.conf.Priority, f.id)
	f.lim.configure(&f.conf.Limits, c.slop(), c.now)
	c.join(f)
	f.vt = f.level.v
	f.entity.setWeight(f.conf.Weight)
	c.plan.parts = append(c.plan.parts, part{})
	c.plan.at, c.version = c.now, max(c.version, ev.Version)
}

// join puts f, which is in no set, in the level of its group.
func (c *Core) join(f *flow) {
	f.grp, f.level = c.group(f.conf.Group), &c.root
	if f.conf.Group == 0 {
		f.grp = nil
	}
	if f.grp != nil {
		f.level = &f.grp.inside
		f.grp.members = append(f.grp.members, f)
	}
}

// part takes f out of its group.
func (c *Core) part(f *flow) {
	if g := f.grp; g != nil {
		for i, m := range g.members {
			if m == f {
				g.members = append(g.members[:i], g.members[i+1:]...)
				break
			}
		}
	}
}

func (c *Core) removeFlow(id FlowID) {
	f := c.flow(id)
	if f == nil || f.backlogged() {
		c.faults++
		return
	}
	c.part(f)
	c.plan.uncount(f)
	if c.run.flow == f {
		c.run.flow = nil
	}
	c.flows[id] = nil
	c.plan.parts = c.plan.parts[:len(c.plan.parts)-1]
	c.plan.at = c.now
}

func (c *Core) submit(ev *Event) {
	f, cmd := c.flow(ev.Flow), ev.Cmd
	if f == nil || cmd.state != cmdIdle {
		c.faults++
		if cmd.state == cmdIdle {
			c.returned = append(c.returned, cmd)
		}
		return
	}
	cmd.state, cmd.flow, cmd.noSample = cmdQueued, f, false
	cmd.arrived = c.now
	cmd.cost = c.cost(f, cmd)
	c.plan.awake = true
	if !f.touched {
		f.touched = true
		c.touched = append(c.touched, f)
	}
	switch {
	case f.n == 0:
		f.pushBack(cmd)
		f.m.begin(c.now)
		c.backlog[f.conf.Priority]++
		c.wakeUp(f)
	case cmd.HeadOfQueue:
		f.pushFront(cmd)
		c.headChanged(f)
	default:
		f.pushBack(cmd)
	}
}

// cost gives what cmd costs, by the model.
func (c *Core) cost(f *flow, cmd *Cmd) Unit {
	from := f.next
	f.next = cmd.LBA + (uint64(cmd.Bytes)+511)/512
	if cmd.Class == ClassOther {
		return 1
	}
	if c.set.CostModel == CostPatent {
		return c.set.CostOf(cmd.Bytes)
	}
	k := &c.set.Calibration
	sequential := cmd.LBA-from <= c.set.SequentialGap
	class := &k.RandomRead
	switch {
	case cmd.Class == ClassWrite && sequential:
		class = &k.SequentialWrite
	case cmd.Class == ClassWrite:
		class = &k.RandomWrite
	case sequential:
		class = &k.SequentialRead
	}
	small := (k.MaxIOPS + class.IOPS - 1) / class.IOPS
	large := (int64(cmd.Bytes) + class.UnitBytes - 1) / class.UnitBytes
	return Unit(max(small, large, 1))
}

// ops gives how many operations cmd counts as.
func (c *Core) ops(cmd *Cmd) int64 {
	if c.set.OpsBytes == 0 {
		return 1
	}
	return max(1, (int64(cmd.Bytes)+c.set.OpsBytes-1)/c.set.OpsBytes)
}

func (c *Core) complete(cmd *Cmd) {
	f := cmd.flow
	switch cmd.state {
	case cmdInFlight:
		c.inflight -= cmd.cost
		c.commands--
		if !cmd.noSample && (cmd.dispatched >= c.depth.stallEnd || c.ablation&noStallGuard != 0) {
			c.depth.sample(1, int64(c.now-cmd.dispatched))
		}
	case cmdParked:
		f.parked--
	case cmdLost:
	default:
		c.faults++
		return
	}
	f.inflight--
	cmd.state = cmdIdle
	c.depth.completed += cmd.cost
	c.ended, c.plan.awake = true, true
}

// leaveWindow is for PathDown and Park.
func (c *Core) leaveWindow(ev *Event) {
	cmd := ev.Cmd
	if cmd.state != cmdInFlight {
		if cmd.state == cmdParked && ev.Kind == Park {
			cmd.parkReason, cmd.flow.parkedBy = ev.Reason, ev.Reason
			return
		}
		c.faults++
		return
	}
	cmd.noSample = true
	if ev.Kind == Park {
		cmd.state, cmd.parkReason = cmdParked, ev.Reason
		cmd.flow.parked++
		cmd.flow.parkedBy = ev.Reason
	} else {
		cmd.state = cmdLost
		if c.ablation&noPathRecount != 0 {
			return
		}
	}
	c.inflight -= cmd.cost
	c.commands--
}

// joinWindow is for Redrive and Unpark.
func (c *Core) joinWindow(ev *Event) {
	cmd := ev.Cmd
	switch {
	case ev.Kind == Unpark && cmd.state == cmdParked:
		cmd.flow.parked--
	case ev.Kind == Redrive && cmd.state == cmdLost:
		if c.ablation&noPathRecount != 0 {
			cmd.state = cmdInFlight
			return
		}
	default:
		c.faults++
		return
	}
	cmd.state = cmdInFlight
	c.inflight += cmd.cost
	c.commands++
}

// takeBack gives a queued command back to the caller.
func (c *Core) takeBack(f *flow, cmd *Cmd) {
	f.remove(cmd)
	cmd.state = cmdIdle
	c.returned = append(c.returned, cmd)
}

func (c *Core) reset(id FlowID) {
	f := c.flow(id)
	if f == nil {
		c.faults++
		return
	}
	if !f.backlogged() {
		return
	}
	for f.first != nil {
		c.takeBack(f, f.first)
	}
	c.headChanged(f)
}

func (c *Core) configureFlow(ev *Event) {
	f := c.flow(ev.Flow)
	if f == nil || ev.Entitlement.Group != 0 && c.group(ev.Entitlement.Group) == nil {
		c.faults++
		return
	}
	back := f.backlogged()
	if back {
		c.backlog[f.conf.Priority]--
	}
	was := f.conf
	c.plan.uncount(f)
	f.conf = ev.Entitlement
	if f.active {
		c.plan.countActive(f)
	}
	c.unready(f)
	if f.conf.Group != was.Group {
		lead := ahead(f.vt, f.level.v)
		c.part(f)
		c.join(f)
		f.vt = f.level.v + VirtualTime(lead)
	}
	f.tie = flowTie(f.conf.Priority, f.id)
	f.lim.configure(&f.conf.Limits, c.slop(), c.now)
	if back {
		c.backlog[f.conf.Priority]++
		// Its place depends on the tie, so it is put anew; a limit that it waits
		// for may be gone.
		c.due.remove(&f.entity)
		if f.waits == held {
			c.enqueueDue(f)
			c.timerTie(f)
		} else {
			limited := f.waits != notWaiting
			c.timer.remove(&f.entity)
			f.waits = notWaiting
			c.enter(f, limited)
		}
	}
	c.version, c.plan.at = max(c.version, ev.Version), c.now
}

// timerTie puts f, which is in the timer, in its place again.
func (c *Core) timerTie(f *flow) { c.timer.put(&f.entity, c.timer.keyOf(&f.entity)) }

func (c *Core) configureGroup(ev *Event) {
	if ev.Group == 0 {
		c.faults++
		return
	}
	for int(ev.Group) >= len(c.groups) {
		c.groups = append(c.groups, nil)
	}
	g := c.groups[ev.Group]
	if g == nil {
		g = &group{id: ev.Group}
		g.entity.group, g.level = g, &c.root
		g.tie = groupTie(g.id)
		g.inside.ready.set = inReady
		g.vt = c.root.v
		c.groups[ev.Group] = g
		c.plan.parts = append(c.plan.parts, part{})
	}
	g.conf = *ev.GroupEntitlement
	g.lim.configure(&g.conf.Limits, c.slop(), c.now)
	if g.waits != notWaiting {
		c.timer.remove(&g.entity)
		g.waits = notWaiting
		if g.inside.ready.len() > 0 {
			c.enterGroup(g)
		}
	}
	for _, f := range g.members {
		if f.waits == overGroupLimit {
			c.timer.remove(&f.entity)
			f.waits = notWaiting
			c.enter(f, true)
		}
	}
	c.version, c.plan.at = max(c.version, ev.Version), c.now
}

// addFast folds in what a flow was served past the core.
func (c *Core) addFast(ev *Event) {
	f := c.flow(ev.Flow)
	if f == nil {
		c.faults++
		return
	}
	f.fast = int(ev.Count)
	if ev.Units == 0 {
		return
	}
	// It is told a little later: what is told behind the edge of a slot passed
	// before it.
	f.m.roll(c.now)
	slot := 0
	if c.now-Instant(f.m.half/4) < f.m.slot {
		slot = 1
	}
	f.m.used[slot] += ev.Units
	f.total.Units += ev.Units
	f.served, f.last = true, c.now
	if c.due.has(&f.entity) {
		c.enqueueDue(f)
	}
	c.plan.awake = true
	if f.weight > 0 {
		u := min(ev.Units, c.clampUnits(f.x, 1))
		f.vt = maxVT(f.vt, f.level.v) + VirtualTime(uint64(u)*f.inv)
		f.fresh = false
		if f.level.ready.has(&f.entity) {
			f.level.ready.put(&f.entity, uint64(f.vt))
		}
	}
}
