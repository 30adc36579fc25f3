// SPDX-License-Identifier: Apache-2.0

package share

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// claimant is a flow or group that wants between lo and hi, by weight.
type claimant struct{ w, lo, hi float64 }

// bisect divides capacity: clamp(lambda*w, lo, hi) with the lambda that uses it
// up, found by halving. Weight 0 comes when the others have all they want.
func bisect(all []claimant, capacity float64) []float64 {
	sum := func(x []float64) (s float64) {
		for _, v := range x {
			s += v
		}
		return s
	}
	at := func(lambda, zero float64) []float64 {
		x := make([]float64, len(all))
		for i, c := range all {
			v := lambda * c.w
			if c.w == 0 {
				v = zero
			}
			x[i] = min(max(v, c.lo), c.hi)
		}
		return x
	}
	if x := at(0, 0); sum(x) >= capacity {
		least := sum(x)
		for i := range x {
			if least > 0 {
				x[i] *= capacity / least
			}
		}
		return x
	}
	find := func(x func(float64) []float64, top float64) []float64 {
		low, high := 0.0, top
		for range 200 {
			if mid := (low + high) / 2; sum(x(mid)) < capacity {
				low = mid
			} else {
				high = mid
			}
		}
		return x(high)
	}
	const top = 1e14
	if sum(at(top, 0)) >= capacity {
		return find(func(l float64) []float64 { return at(l, 0) }, top)
	}
	return find(func(z float64) []float64 { return at(top, z) }, top)
}

// solve works out the entitlements of a snapshot: groups and ungrouped flows
// first, then the members of each group.
func solve(s *Snapshot) map[FlowID]float64 {
	x := map[FlowID]float64{}
	c := float64(s.Capacity)
	claim := func(f *FlowStatus) claimant {
		hi := float64(f.Demand)
		if f.Demand < 0 {
			hi = c
		}
		if hi = min(hi, c); f.Limit > 0 {
			hi = min(hi, float64(f.Limit))
		}
		return claimant{float64(f.Configured.Weight), min(hi, float64(f.Reservation)), hi}
	}
	members := func(g GroupID) (fs []*FlowStatus, cs []claimant, w float64) {
		for i := range s.Flows {
			if f := &s.Flows[i]; f.Configured.Group == g {
				w += float64(f.Configured.Weight)
				if f.Active {
					fs, cs = append(fs, f), append(cs, claim(f))
				}
			}
		}
		return fs, cs, w
	}
	free, claims, _ := members(0)
	for _, g := range s.Groups {
		_, cs, w := members(g.Group)
		if g.Configured.Weight > 0 {
			w = float64(g.Configured.Weight)
		}
		sum := claimant{w: w}
		for _, m := range cs {
			sum.lo, sum.hi = sum.lo+m.lo, sum.hi+m.hi
		}
		if ops := g.Configured.Limits.Total.Rate.Ops; ops > 0 {
			sum.hi = min(sum.hi, float64(ops*1000)) // all commands cost 1
		}
		sum.hi = min(sum.hi, c)
		sum.lo = min(sum.lo, sum.hi)
		claims = append(claims, sum)
	}
	parts := bisect(claims, c)
	for i, f := range free {
		x[f.Flow] = parts[i]
	}
	for i, g := range s.Groups {
		fs, cs, _ := members(g.Group)
		for j, v := range bisect(cs, parts[len(free)+i]) {
			x[fs[j].Flow] = v
		}
	}
	return x
}

// TestEntitlements compares the plan with another solver, over random flows with
// groups, reservations and limits.
func TestEntitlements(t *testing.T) {
	bounded, total := 0, 0
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 9))
		l := newLoop(t, 4000+r.Int64N(6000), 32, func(s *Settings) { s.FloorInterval = 250 * time.Millisecond })
		for g := range GroupID(3) {
			e := GroupEntitlement{Weight: uint32(r.IntN(3) * 1000)}
			if r.IntN(3) == 0 {
				e.Limits.Total.Rate.Ops = 100 + r.Int64N(2000)
			}
			l.step(Event{Kind: ConfigureGroup, Group: g + 1, GroupEntitlement: &e})
		}
		for i := range FlowID(3 + r.IntN(12)) {
			e := Entitlement{Weight: uint32(r.IntN(4000)), Group: GroupID(max(0, r.IntN(6)-2))}
			if r.IntN(8) == 0 {
				e.Weight = 0
			}
			if r.IntN(3) == 0 {
				e.Reservation.Ops = 1 + r.Int64N(1500)
			}
			if r.IntN(4) == 0 {
				e.Limits.Total.Rate.Ops = max(e.Reservation.Ops, 1+r.Int64N(1000))
			}
			load := loopLoad{bytes: 4096, depth: 32}
			if r.IntN(3) == 0 {
				load.depth, load.every = 0, time.Duration(1+r.IntN(10))*time.Millisecond
			}
			l.add(i, e, load)
		}
		for range 3 {
			l.run(l.now + Instant(300*time.Millisecond))
			var s Snapshot
			l.step(Event{Kind: Paths, Kappa: uint32(500_000 + r.IntN(500_000))}) // a plan, now
			l.c.Snapshot(&s)
			for f, want := range solve(&s) {
				total++
				for i := range s.Flows {
					st := &s.Flows[i]
					if st.Flow != f {
						continue
					}
					if st.Demand >= 0 {
						bounded++
					}
					// Rounded down, twice for a member of a group.
					if got := float64(st.Entitlement); math.Abs(got-want) > 2+want*1e-9 {
						t.Errorf("seed %d, flow %d: entitlement %g, want %g (thousandths of a CU/s)", seed, f, got, want)
					}
				}
			}
		}
	}
	if bounded == 0 || bounded == total {
		t.Errorf("%d of %d flows have a demand of their own: not mixed", bounded, total)
	}
}
