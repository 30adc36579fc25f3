// SPDX-License-Identifier: Apache-2.0

package share

import (
	"cmp"
	"math/big"
	"slices"
)

const refUnbounded = int64(1<<63 - 1)

// configureCapacity takes over a change of Capacity; old is nil at the start.
func (c *refCore) configureCapacity(old *Settings) {
	if c.set.CapacityModel == CapacityShared && c.kappa > 0 {
		c.kappa, c.lastKappa = refFull, refFull
	}
	switch {
	case c.set.Capacity > 0:
		c.nominal = c.set.Capacity * 1000
		c.capacity = refMulDiv(c.nominal, int64(c.lastKappa), refFull)
	case old != nil && old.Capacity > 0:
		c.capacity, c.nominal, c.whole = 0, 0, false
	}
}

func (c *refCore) paths(kappa uint32) {
	kappa = min(kappa, refFull)
	if c.set.CapacityModel == CapacityShared && kappa > 0 {
		kappa = refFull
	}
	c.planAt, c.awake, c.kappa = c.now, true, kappa
	old := c.lastKappa
	if kappa == 0 || kappa == old {
		return
	}
	c.dropped, c.lastKappa = kappa < old, kappa
	if c.set.Capacity > 0 {
		c.capacity = refMulDiv(c.set.Capacity*1000, int64(kappa), refFull)
	} else {
		c.capacity = refMulDiv(c.capacity, int64(kappa), int64(old))
		if kappa == refFull {
			c.nominal = c.capacity
		}
	}
	c.depth.scale(c, kappa, old)
}

func (c *refCore) plan() {
	c.plans++
	c.lastPlan, c.planAt = c.now, c.now+Instant(c.set.PlanPeriod)
	c.measure()
	c.scaleReservations()
	for _, f := range c.flows {
		if f != nil {
			f.x, f.h, f.cutShort = 0, 0, false
		}
	}
	if c.capacity > 0 {
		c.entitle(c.capacity, func(f *refFlow, x int64) { f.x = x }, func(g *refGroup, x int64) { g.x = x })
	}
	c.priorities()
	c.setWeights()
	if c.dropped && c.capacity > 0 {
		c.countAgain()
	}
	c.dropped = false
	for _, f := range c.flows {
		if f == nil {
			continue
		}
		f.mayPass = f.limits == refLimits{} && f.conf.Reservation == Rate{} && f.group == nil && f.conf.Weight > 0 &&
			!(c.over(f) && c.otherActive(f)) && c.set.Mode != Strict && c.set.CostModel == CostPatent
		if f.backlogged() {
			if f.wait != refLimited && f.wait != refGroupLimited {
				c.enqueueDue(f)
			}
		} else if !refBehind(f.level.v, f.vt) {
			f.fresh = true
		}
	}
}

// cost is the mean cost times 256; before the first command that of the head.
func (f *refFlow) cost() int64 {
	if f.cb == 0 && f.backlogged() {
		return int64(f.head().cost) << 8
	}
	return f.cb
}

func (c *refCore) measure() {
	costs := int64(0)
	c.awake = false
	for _, f := range c.flows {
		if f == nil {
			continue
		}
		f.planned, f.demand = c.active(f), 0
		f.wasActive = f.planned
		if f.planned {
			c.awake = true
			queued := int64(0)
			for _, r := range f.queue {
				queued += int64(r.cost)
			}
			f.demand = f.meter.rate(c.now) + refMulDiv(queued, 1000*refSecond, int64(c.set.Window))
			if f.meter.saturated(c.now) {
				f.demand = refUnbounded
			}
		}
		if f.backlogged() {
			costs += f.cost()
		}
		f.reserveConf = c.inUnits(f, f.conf.Reservation, func(a, b int64) int64 { return max(a, b) })
		f.limit = c.inUnits(f, f.conf.Limits.Total.Rate, func(a, b int64) int64 { return min(a, b) })
	}
	c.floor = int64(c.set.FloorInterval)
	if c.floor > 0 && c.capacity > 0 {
		c.floor = max(c.floor, refMulDiv(20*costs, 1000*refSecond, 256*c.capacity))
	}
}

// inUnits gives a rate in mCU/s; both picks when it is one of operations and of
// bytes.
func (c *refCore) inUnits(f *refFlow, r Rate, both func(ops, bytes int64) int64) int64 {
	ops, bytes := r.Ops*1000, r.Bytes*1000/c.set.UnitBytes
	if f.cb > 0 {
		ops = refMulDiv(r.Ops*1000, f.cb, f.ob)
	}
	if f.bb > 0 {
		bytes = refMulDiv(r.Bytes*1000, f.cb, f.bb)
	}
	switch {
	case r.Ops == 0:
		return bytes
	case r.Bytes == 0:
		return ops
	}
	return both(ops, bytes)
}

// scaleReservations puts reservations in force, less than configured when they
// do not fit.
func (c *refCore) scaleReservations() {
	sum, avail := int64(0), c.capacity
	for _, f := range c.flows {
		if f == nil || !f.planned {
			continue
		}
		sum += f.reserveConf
		if f.reserveConf == 0 && c.floor > 0 {
			avail -= refMulDiv(f.cost()*1000, refSecond, 256*c.floor)
		}
	}
	avail = max(avail, 0)
	fits := c.capacity == 0 || sum <= avail
	for _, f := range c.flows {
		if f != nil {
			f.reserveIn = f.reserveConf
		}
	}
	for tier := MaxPriority; tier >= 0 && !fits; tier-- {
		want := int64(0)
		for _, f := range c.flows {
			if f != nil && f.planned && int(f.conf.Priority) == tier {
				want += f.reserveConf
			}
		}
		room := min(want, avail)
		avail -= room
		for _, f := range c.flows {
			if f != nil && f.planned && int(f.conf.Priority) == tier && room < want {
				f.reserveIn = refMulDiv(f.reserveConf, room, want)
			}
		}
	}
	for _, f := range c.flows {
		if f == nil {
			continue
		}
		for i, r := range []int64{f.conf.Reservation.Ops, f.conf.Reservation.Bytes} {
			if f.reserveIn < f.reserveConf {
				r = refMulDiv(r, f.reserveIn, f.reserveConf)
			}
			if f.reserve[i].rate == 0 {
				f.reserve[i].raise(c.now)
			}
			f.reserve[i].set(r)
		}
	}
}

// refClaim is what someone asks of a capacity: Fill's entity.
type refClaim struct{ w, lo, hi int64 }

func (c *refCore) claim(f *refFlow, capacity int64) refClaim {
	hi := min(f.demand, capacity)
	if f.limit > 0 {
		hi = min(hi, f.limit)
	}
	return refClaim{int64(f.conf.Weight), min(hi, f.reserveIn), hi}
}

// members gives the active flows of g; of nil: the ungrouped ones.
func (c *refCore) members(g *refGroup) (fs []*refFlow) {
	for _, f := range c.flows {
		if f != nil && f.group == g && f.planned {
			fs = append(fs, f)
		}
	}
	return fs
}

// entitle fills capacity: ungrouped flows and groups, then members.
func (c *refCore) entitle(capacity int64, setFlow func(*refFlow, int64), setGroup func(*refGroup, int64)) {
	var claims []refClaim
	flows := c.members(nil)
	for _, f := range flows {
		claims = append(claims, c.claim(f, capacity))
	}
	for _, g := range c.groups {
		if g != nil {
			claims = append(claims, c.groupClaim(g, capacity))
		}
	}
	x := refFill(claims, capacity)
	for i, f := range flows {
		setFlow(f, x[i])
	}
	i := len(flows)
	for _, g := range c.groups {
		if g == nil {
			continue
		}
		setGroup(g, x[i])
		members := c.members(g)
		claims = claims[:0]
		for _, f := range members {
			claims = append(claims, c.claim(f, capacity))
		}
		for j, v := range refFill(claims, x[i]) {
			setFlow(members[j], v)
		}
		i++
	}
}

func (c *refCore) groupClaim(g *refGroup, capacity int64) (k refClaim) {
	cb, ob, bb := int64(0), int64(0), int64(0)
	for _, f := range c.members(g) {
		m := c.claim(f, capacity)
		k.lo, k.hi = k.lo+m.lo, k.hi+m.hi
		cb, ob, bb = cb+f.cb, ob+f.ob, bb+f.bb
	}
	r := g.conf.Limits.Total.Rate
	if r.Ops > 0 && ob > 0 {
		k.hi = min(k.hi, refMulDiv(r.Ops*1000, cb, ob))
	}
	if r.Bytes > 0 && bb > 0 {
		k.hi = min(k.hi, refMulDiv(r.Bytes*1000, cb, bb))
	}
	k.hi = min(k.hi, capacity)
	k.lo = min(k.lo, k.hi)
	k.w = c.groupWeight(g)
	return k
}

func (c *refCore) groupWeight(g *refGroup) (w int64) {
	if g.conf.Weight > 0 {
		return int64(g.conf.Weight)
	}
	for _, f := range c.flows {
		if f != nil && f.group == g {
			w += int64(f.conf.Weight)
		}
	}
	return w
}

// refFill is Fill, in exact fractions: lambda is found by walking the points at
// which an entity stops being at lo, or comes to hi.
func refFill(claims []refClaim, capacity int64) []int64 {
	x := make([]int64, len(claims))
	sumLo, sumHi, zeroLo, weightedHi := int64(0), int64(0), int64(0), int64(0)
	for _, k := range claims {
		sumLo, sumHi = sumLo+k.lo, sumHi+k.hi
		if k.w == 0 {
			zeroLo += k.lo
		} else {
			weightedHi += k.hi
		}
	}
	switch {
	case sumHi <= capacity:
		for i, k := range claims {
			x[i] = k.hi
		}
		return x
	case sumLo >= capacity:
		for i, k := range claims {
			x[i] = refMulDiv(k.lo, capacity, max(1, sumLo))
		}
		return x
	case zeroLo+weightedHi <= capacity:
		// All with weight have their fill; the others share the rest alike.
		var equal []refClaim
		for i, k := range claims {
			x[i] = k.hi
			if k.w == 0 {
				equal = append(equal, refClaim{1, k.lo, k.hi})
			}
		}
		shared := refLambda(equal, capacity-weightedHi)
		for i, k := range claims {
			if k.w == 0 {
				x[i], shared = shared[0], shared[1:]
			}
		}
		return x
	}
	var weighted []refClaim
	for i, k := range claims {
		x[i] = k.lo
		if k.w > 0 {
			weighted = append(weighted, k)
		}
	}
	shared := refLambda(weighted, capacity-zeroLo)
	for i, k := range claims {
		if k.w > 0 {
			x[i], shared = shared[0], shared[1:]
		}
	}
	return x
}

// refLambda gives clamp(lambda*w, lo, hi), rounded down, with the sum capacity,
// which is between those of lo and of hi.
func refLambda(claims []refClaim, capacity int64) []int64 {
	var points []*big.Rat
	for _, k := range claims {
		points = append(points, big.NewRat(k.lo, k.w), big.NewRat(k.hi, k.w))
	}
	slices.SortFunc(points, func(a, b *big.Rat) int { return a.Cmp(b) })
	at := func(k refClaim, lambda *big.Rat) *big.Rat {
		v := new(big.Rat).Mul(lambda, big.NewRat(k.w, 1))
		if lo := big.NewRat(k.lo, 1); v.Cmp(lo) < 0 {
			return lo
		}
		if hi := big.NewRat(k.hi, 1); v.Cmp(hi) > 0 {
			return hi
		}
		return v
	}
	sum := func(lambda *big.Rat) *big.Rat {
		s := new(big.Rat)
		for _, k := range claims {
			s.Add(s, at(k, lambda))
		}
		return s
	}
	want := big.NewRat(capacity, 1)
	lambda := new(big.Rat)
	i, _ := slices.BinarySearchFunc(points, want, func(p, want *big.Rat) int { return sum(p).Cmp(want) })
	if i == 0 {
		lambda = points[0]
	} else {
		// Between two points the sum is a straight line.
		a, b := points[i-1], points[min(i, len(points)-1)]
		sa, sb := sum(a), sum(b)
		if lambda.Set(a); cmp.Compare(sb.Cmp(sa), 0) > 0 {
			part := new(big.Rat).Quo(new(big.Rat).Sub(want, sa), new(big.Rat).Sub(sb, sa))
			lambda.Add(a, part.Mul(part, new(big.Rat).Sub(b, a)))
		}
	}
	x := make([]int64, len(claims))
	for i, k := range claims {
		v := at(k, lambda)
		x[i] = refInt(new(big.Int).Quo(v.Num(), v.Denom()))
	}
	return x
}
