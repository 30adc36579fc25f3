// SPDX-License-Identifier: Apache-2.0

package share

import (
	"math"
	"math/big"
	"slices"
	"testing"
)

// simAsk is what a flow, or a group, has a claim to, in CU/s: the input of the
// solver. A demand or limit of 0 is none; members make it a group.
type simAsk struct {
	weight, demand, reserve, limit float64
	members                        []simAsk
}

func (a simAsk) bounds() (lo, hi float64) {
	hi = math.Inf(1)
	if len(a.members) > 0 {
		hi = 0
		for _, m := range a.members {
			l, h := m.bounds()
			lo, hi = lo+l, hi+h
		}
	}
	if a.demand > 0 {
		hi = min(hi, a.demand)
	}
	if a.limit > 0 {
		hi = min(hi, a.limit)
	}
	return min(hi, max(lo, a.reserve)), hi
}

// solveAsks divides capacity (SCHEDULER.md 2.8): every claim gets
// min(demand, limit, max(reservation, lambda*weight)), with the lambda for which
// all of the capacity is used. Lambda is found by bisection, in rational
// numbers' place in floating point of 200 bits: another way than Core's.
func solveAsks(capacity float64, asks []simAsk) []float64 {
	given := func(a simAsk, lambda *big.Float) float64 {
		lo, hi := a.bounds()
		v, _ := new(big.Float).Mul(lambda, big.NewFloat(a.weight)).Float64()
		return min(hi, max(lo, v))
	}
	sum := func(lambda *big.Float) (s float64) {
		for _, a := range asks {
			s += given(a, lambda)
		}
		return s
	}
	low, high := new(big.Float).SetPrec(200), new(big.Float).SetPrec(200).SetFloat64(1e12)
	for range 200 {
		mid := new(big.Float).SetPrec(200).Add(low, high)
		if mid.Quo(mid, big.NewFloat(2)); sum(mid) < capacity {
			low = mid
		} else {
			high = mid
		}
	}
	var x []float64
	for _, a := range asks {
		got := given(a, high)
		if len(a.members) > 0 {
			x = append(x, solveAsks(got, a.members)...)
		} else {
			x = append(x, got)
		}
	}
	return x
}

// TestSolver: the solver gives the published figures of the acceptance table.
func TestSolver(t *testing.T) {
	vm3, vm4 := simAsk{weight: 500, demand: 10}, simAsk{weight: 1000, limit: 2000}
	vm1, vm2 := simAsk{weight: 1000}, simAsk{weight: 2500}
	for _, c := range []struct {
		name     string
		capacity float64
		asks     []simAsk
		want     []float64
	}{
		{"par. 0087", 10000, []simAsk{{weight: 2}, {weight: 2}, {weight: 1}}, []float64{4000, 4000, 2000}},
		{
			"par. 0088", 10000,
			[]simAsk{{weight: 2, demand: 2000}, {weight: 2}, {weight: 1}},
			[]float64{2000, 5333, 2667},
		},
		{
			"mClock, 1200", 1200,
			[]simAsk{{weight: 1, reserve: 250}, {weight: 2, reserve: 250}, {weight: 3, limit: 1000}},
			[]float64{250, 380, 570},
		},
		{
			"mClock, 2500", 2500,
			[]simAsk{{weight: 1, reserve: 250}, {weight: 2, reserve: 250}, {weight: 3, limit: 1000}},
			[]float64{500, 1000, 1000},
		},
		{"flat", 8000, []simAsk{vm1, vm2, vm3, vm4}, []float64{1776, 4439, 10, 1776}},
		{"grouped", 8000, []simAsk{
			{weight: 3500, members: []simAsk{vm1, vm2}},
			{weight: 1500, members: []simAsk{vm3, vm4}},
		}, []float64{1711, 4279, 10, 2000}},
	} {
		got := solveAsks(c.capacity, c.asks)
		for i := range got {
			got[i] = math.Round(got[i])
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}
