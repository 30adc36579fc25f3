// SPDX-License-Identifier: Apache-2.0

package share

// charge takes the head of f, accounts for it, and puts f in its new places.
func (c *Core) charge(f *flow, phase Phase) Dispatch {
	cmd := f.first
	f.remove(cmd)
	cost := cmd.cost
	c.advance(&f.entity, cost, f.x, phase)
	if f.grp != nil {
		c.advance(&f.grp.entity, cost, f.grp.x, phase)
	}
	ops := c.ops(cmd)
	c.chargeClocks(f, cmd, ops)
	mean(&f.meanCost, int64(cost))
	mean(&f.meanOps, ops)
	mean(&f.meanBytes, int64(cmd.Bytes))
	mean(&c.depth.meanCost, int64(cost))
	c.countRun(f, cost, phase)
	f.m.roll(c.now)
	f.m.used[0] += cost

	gap := c.now - f.since
	if f.served {
		gap = min(gap, c.now-f.last)
	}
	t := &f.total
	t.LongestGap = max(t.LongestGap, duration(gap))
	t.Commands++
	t.Units += cost
	t.Bytes += uint64(cmd.Bytes)
	t.ByPhase[phase]++

	f.last, f.served = c.now, true
	f.end = cmd.LBA + (uint64(cmd.Bytes)+511)/512
	f.inflight++
	c.inflight += cost
	c.commands++
	cmd.state, cmd.dispatched = cmdInFlight, c.now
	c.explainDispatch(f, cmd, phase)
	c.replace(f)
	return Dispatch{Cmd: cmd, Flow: f.id, Phase: phase, Cost: cost}
}

// advance charges e in virtual time. What it had to be given does not lock it
// out for longer than about T (par. 0091).
func (c *Core) advance(e *entity, cost Unit, x Speed, phase Phase) {
	if e.weight == 0 {
		return
	}
	before := e.vt
	e.vt += VirtualTime(uint64(cost) * e.inv)
	if phase == PhaseReserve || phase == PhaseFloor {
		most := e.level.v + VirtualTime(uint64(c.clampUnits(x, cost))*e.inv)
		e.vt = minVT(e.vt, maxVT(before, most))
	}
}

// clampUnits is U: what x gives in T, at least cost.
func (c *Core) clampUnits(x Speed, cost Unit) Unit {
	return max(cost, Unit(mulDiv(int64(x), int64(c.set.Window), 1000*second)))
}

func (c *Core) chargeClocks(f *flow, cmd *Cmd, ops int64) {
	for i, amount := range [...]int64{ops, int64(cmd.Bytes)} {
		if k := &f.reserve[i]; k.rate > 0 {
			k.pay(c.now, amount, int64(c.set.ReserveAhead), c.ablation&plainAhead != 0)
		}
	}
	if f.lim.mask != 0 {
		f.lim.charge(cmd, ops, c.now)
	}
	if f.grp != nil && f.grp.lim.mask != 0 {
		f.grp.lim.charge(cmd, ops, c.now)
	}
}

// countRun keeps the sequential run. A due dispatch of another flow leaves it
// alone.
func (c *Core) countRun(f *flow, cost Unit, phase Phase) {
	switch {
	case phase == PhaseShare || phase == PhaseZero:
		c.run.flow, c.run.n, c.run.cu = f, 1, cost
	case c.run.flow == f:
		c.run.n++
		c.run.cu += cost
	}
}

// replace puts f in its places after a dispatch.
func (c *Core) replace(f *flow) {
	if f.n == 0 {
		c.leave(f)
		if g := f.grp; g != nil && c.root.ready.has(&g.entity) {
			c.root.ready.put(&g.entity, uint64(g.vt))
		}
		return
	}
	if g := f.grp; g != nil && c.root.ready.has(&g.entity) {
		c.root.ready.put(&g.entity, uint64(g.vt))
	}
	if b, until := f.lim.blocked(f.first, c.now); b != NoBucket {
		c.toTimer(f, overLimit, b, until)
		return
	}
	if f.waits == notWaiting {
		if f.weight == 0 {
			c.zero.remove(f)
			c.zero.push(f)
		} else {
			f.level.ready.put(&f.entity, uint64(f.vt))
		}
	}
	if f.reserve[0].rate|f.reserve[1].rate != 0 || !c.due.has(&f.entity) {
		c.enqueueDue(f) // else only its floor has moved: see firstDue
	}
}
