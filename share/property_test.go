// SPDX-License-Identifier: Apache-2.0

package share

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// The properties of SCHEDULER, section 4 that are bounds over intervals, and
// those that hold at any moment once more on steady loads (differ checks them
// on traces too). Each test makes random cases from seeds.

// fairCase is flows that always want more, of random weights, sizes and kinds.
type fairCase struct {
	l       *loop
	weights []uint32
	quanta  []Unit // Q_i
	depth   Unit
}

func newFairCase(t *testing.T, seed uint64) fairCase {
	r := rand.New(rand.NewPCG(seed, 1))
	c := fairCase{depth: Unit(1 + r.IntN(64))}
	s := DefaultSettings()
	c.l = newLoop(t, 20000, c.depth, func(set *Settings) {
		set.Quantum = 1 + r.IntN(12)
		set.QuantumBytes = 64 << (10 + r.IntN(4))
		s = *set
	})
	startAt(c.l.c, nil, -uint64(r.IntN(256))<<32)
	for i := range FlowID(2 + r.IntN(6)) {
		e := Entitlement{Weight: uint32(1 + r.IntN(MaxShares)), Priority: uint8(r.IntN(11))}
		if seed%2 == 0 {
			e.Weight = 1 << r.IntN(17)
		}
		load := loopLoad{bytes: 4096 << r.IntN(6), vary: r.IntN(3) == 0, sequential: r.IntN(2) == 0, depth: int(c.depth) + 8}
		f := c.l.add(i, e, load)
		q := f.cost
		if load.sequential {
			q = max(f.cost, min(Unit(s.Quantum)*f.cost, Unit(s.QuantumBytes/s.UnitBytes)))
		}
		c.weights, c.quanta = append(c.weights, e.Weight), append(c.quanta, q)
	}
	return c
}

// rounding is how far S_i/w_i may be off because a flow is charged
// floor(2^32/w) for a CU.
func (c fairCase) rounding(i int, s Unit) float64 {
	exact := float64(uint64(1)<<32) / float64(c.weights[i])
	return float64(s) * (exact - float64(uint64(1)<<32/uint64(c.weights[i]))) / (1 << 32)
}

// TestP2Shares: over any interval S_i/w_i and S_j/w_j differ by at most
// Q_i/w_i + Q_j/w_j.
func TestP2Shares(t *testing.T) {
	for seed := range uint64(24) {
		c := newFairCase(t, seed)
		c.l.run(Instant(time.Second))
		n := len(c.weights)
		for i := range n {
			for j := range i {
				wi, wj := float64(c.weights[i]), float64(c.weights[j])
				bound := float64(c.quanta[i])/wi + float64(c.quanta[j])/wj
				lowest, highest, d, si, sj := 0.0, 0.0, 0.0, Unit(0), Unit(0)
				for _, s := range c.l.log {
					switch int(s.flow) {
					case i:
						d += float64(s.cost) / wi
						si += s.cost
					case j:
						d -= float64(s.cost) / wj
						sj += s.cost
					}
					lowest, highest = min(lowest, d), max(highest, d)
				}
				slack := c.rounding(i, si) + c.rounding(j, sj) + bound*1e-9
				if highest-lowest > bound+slack {
					t.Errorf("seed %d, flows %d and %d: S/w differ by %g over some interval, at most %g", seed, i, j, highest-lowest, bound)
				}
			}
		}
	}
}

// TestP2Siblings: in a group the bound holds among its members.
func TestP2Siblings(t *testing.T) {
	l := newLoop(t, 20000, 16, nil)
	l.step(Event{Kind: ConfigureGroup, Group: 1, GroupEntitlement: &GroupEntitlement{Weight: 500}})
	weights := []uint32{1000, 2000, 4000, 1000}
	for i, w := range weights {
		e := Entitlement{Weight: w, Group: 1}
		if i == 3 {
			e.Group = 0
		}
		l.add(FlowID(i), e, loopLoad{bytes: 8192, depth: 32})
	}
	l.run(Instant(2 * time.Second))
	for i := range 3 {
		for j := range i {
			wi, wj := float64(weights[i]), float64(weights[j])
			lowest, highest, d := 0.0, 0.0, 0.0
			for _, s := range l.log {
				switch int(s.flow) {
				case i:
					d += float64(s.cost) / wi
				case j:
					d -= float64(s.cost) / wj
				}
				lowest, highest = min(lowest, d), max(highest, d)
			}
			if bound := (2/wi + 2/wj) * (1 + 1e-4); highest-lowest > bound {
				t.Errorf("siblings %d and %d: S/w differ by %g, at most %g", i, j, highest-lowest, bound)
			}
		}
	}
}

// TestP3Lag: S_i >= e_i*S - (1-e_i)*Q_i - e_i*sum Q_j over any interval.
func TestP3Lag(t *testing.T) {
	for seed := range uint64(24) {
		c := newFairCase(t, seed+100)
		c.l.run(Instant(time.Second))
		total, quanta := 0.0, 0.0
		for i, w := range c.weights {
			total += float64(w)
			quanta += float64(c.quanta[i])
		}
		for i, w := range c.weights {
			e, q := float64(w)/total, float64(c.quanta[i])
			bound := (1-e)*q + e*(quanta-q)
			ahead, most, lag := 0.0, 0.0, 0.0
			slack := float64(c.l.seen) * 3e-5 // floor(2^32/w)
			for _, s := range c.l.log {
				ahead -= e * float64(s.cost)
				if int(s.flow) == i {
					ahead += float64(s.cost)
				}
				most = max(most, ahead)
				lag = max(lag, most-ahead)
			}
			if lag > bound+slack {
				t.Errorf("seed %d, flow %d: lags %g CU behind its share, at most %g", seed, i, lag, bound)
			}
		}
	}
}

// TestP4Reservation: while backlogged for t,
// S_i >= r_i*t - max(r_i*H, c_i) - c_max - r_i*(D + n*c_max)/C.
func TestP4Reservation(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 2))
		rate := int64(5000)
		depth := Unit(r.IntN(16)) + 1 + 16
		l := newLoop(t, rate, depth, nil)
		n := 2 + r.IntN(5)
		left, costs := rate*9/10, Unit(0)
		reserved := make([]float64, n) // CU/s
		for i := range n {
			bytes := uint32(4096 << r.IntN(5))
			cost := int64(bytes / 4096)
			e := Entitlement{Weight: uint32(1 + r.IntN(10000))}
			if ops := r.Int64N(max(1, left/cost)); i > 0 && ops > 0 {
				e.Reservation.Ops = ops
				reserved[i] = float64(ops * cost)
				left -= ops * cost
			}
			f := l.add(FlowID(i), e, loopLoad{bytes: bytes, depth: int(depth) + 4})
			costs = max(costs, f.cost)
		}
		l.run(Instant(3 * time.Second))
		ahead := float64(l.c.set.ReserveAhead) / 1e9
		for i, ri := range reserved {
			if ri == 0 {
				continue
			}
			ci := float64(l.flows[i].cost)
			bound := max(ri*ahead, ci) + float64(costs) + ri*(float64(depth)+float64(n)*float64(costs))/float64(rate)
			served, most, short := 0.0, 0.0, 0.0
			for _, s := range l.log {
				if int(s.flow) != i {
					continue
				}
				due := ri * float64(s.at) / 1e9
				short = max(short, most-(served-due))
				served += float64(s.cost)
				most = max(most, served-due)
			}
			if short > bound {
				t.Errorf("seed %d, flow %d: %g CU short of a reservation of %g/s, at most %g", seed, i, short, ri, bound)
			}
		}
	}
}

// TestP5Limit: S_i <= l_i*t + l_i*tau_i + c_i for any t, in operations and in
// bytes, of a flow and of a group.
func TestP5Limit(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 3))
		l := newLoop(t, 20000, 32, nil)
		limit := func() (c Ceiling) {
			if c.Rate.Ops = 10 + r.Int64N(3000); r.IntN(2) == 0 {
				c.Burst.Ops = 1 + r.Int64N(100)
			}
			if c.Rate.Bytes = 4096 + r.Int64N(20_000_000); r.IntN(2) == 0 {
				c.Burst.Bytes = 1<<20 + r.Int64N(1<<20)
			}
			return c
		}
		ceilings := []Ceiling{limit(), limit(), {}}
		group := limit()
		l.step(Event{Kind: ConfigureGroup, Group: 1, GroupEntitlement: &GroupEntitlement{Limits: Limits{Total: group}}})
		bytes := uint32(4096 << r.IntN(5))
		for i, c := range ceilings {
			e := Entitlement{Weight: 1000, Limits: Limits{Total: c}}
			if i > 0 {
				e.Group = 1
			}
			if i == 0 { // A limit beats a reservation.
				e.Reservation.Ops = c.Rate.Ops
			}
			l.add(FlowID(i), e, loopLoad{bytes: bytes, depth: 40})
		}
		l.run(Instant(3 * time.Second))
		for i, c := range ceilings {
			l.limited(t, fmt.Sprintf("seed %d, flow %d", seed, i), c, func(f FlowID) bool { return int(f) == i })
		}
		l.limited(t, fmt.Sprintf("seed %d, group", seed), group, func(f FlowID) bool { return f > 0 })
	}
}

// limited checks P5 for the flows that of names.
func (l *loop) limited(t *testing.T, who string, c Ceiling, of func(FlowID) bool) {
	t.Helper()
	check := func(unit string, rate, burst, none int64, amount func(loopServed) float64) {
		if rate == 0 {
			return
		}
		if burst == 0 {
			burst = none
		}
		lr := float64(rate) / 1e9
		tau := max(float64(burst)/lr, float64(l.c.set.LimitSlop))
		served, least, most, one := 0.0, 0.0, 0.0, 0.0
		for _, s := range l.log {
			if !of(s.flow) {
				continue
			}
			least = min(least, served-lr*float64(s.at))
			served += amount(s)
			one = max(one, amount(s))
			most = max(most, served-lr*float64(s.at)-least)
		}
		if bound := lr*tau + one + lr; most > bound { // A clock is compared in whole ns.
			t.Errorf("%s: %g %s above a limit of %d/s, at most %g", who, most, unit, rate, bound)
		}
	}
	check("operations", c.Rate.Ops, c.Burst.Ops, 1, func(loopServed) float64 { return 1 })
	check("bytes", c.Rate.Bytes, c.Burst.Bytes, 0, func(s loopServed) float64 { return float64(s.cost) * 4096 })
}

// TestP8IdleCredit: after waking S_i <= e_i*S + sigma*(1-e_i) + (1-e_i)*Q_i +
// e_i*sum Q_j; the longest gap of others grows by at most (sigma + Q_i)/C.
func TestP8IdleCredit(t *testing.T) {
	wake := Instant(time.Second)
	run := func(seed uint64, sigma Unit) (l *loop, weights []uint32) {
		r := rand.New(rand.NewPCG(seed, 4))
		l = newLoop(t, 10000, Unit(8+r.IntN(32)), nil) // enough to keep the device busy
		for i := range FlowID(2 + r.IntN(3)) {
			e := Entitlement{Weight: 1 << r.IntN(8)}
			load := loopLoad{bytes: 4096 << r.IntN(3), depth: 800}
			if i == 0 {
				e.IdleCredit, load.from = sigma, wake
			}
			l.add(i, e, load)
			weights = append(weights, e.Weight)
		}
		l.run(wake + Instant(2*time.Second)) // several rounds of the smallest share
		return l, weights
	}
	for seed := range uint64(10) {
		sigma := Unit(1 + 37*seed%500)
		l, weights := run(seed, sigma)
		plain, _ := run(seed, 0)
		total, others := 0.0, 0.0
		for i, w := range weights {
			total += float64(w)
			if i > 0 {
				others += float64(l.flows[i].cost)
			}
		}
		e, q := float64(weights[0])/total, float64(l.flows[0].cost)
		bound := float64(sigma)*(1-e) + (1-e)*q + e*others
		ahead := 0.0
		for _, s := range l.log {
			if s.at < wake {
				continue
			}
			if ahead -= e * float64(s.cost); s.flow == 0 {
				ahead += float64(s.cost)
			}
			if ahead > bound+1e-6 {
				t.Errorf("seed %d: %g CU ahead of its share after waking, at most %g", seed, ahead, bound)
				break
			}
		}
		for i := 1; i < len(weights); i++ {
			grown := l.longestGap(FlowID(i), wake) - plain.longestGap(FlowID(i), wake)
			most := Instant((float64(sigma)+q)/10000*1e9) + Instant(l.flows[i].cost+l.flows[0].cost)*100_000
			if grown > most {
				t.Errorf("seed %d, flow %d: its longest gap grew by %v, at most %v", seed, i, time.Duration(grown), time.Duration(most))
			}
		}
	}
}

// longestGap is the longest time between two dispatches of a flow, the later
// one after from.
func (l *loop) longestGap(f FlowID, from Instant) (gap Instant) {
	last := Instant(-1)
	for _, s := range l.log {
		if s.flow == f {
			if last >= 0 && s.at >= from {
				gap = max(gap, s.at-last)
			}
			last = s.at
		}
	}
	return max(gap, l.now-last)
}
