// SPDX-License-Identifier: Apache-2.0

package share

import (
	"math"
	"time"
)

// accCrowd is how many VMs row 25 has, and accFast the CU/s of its device.
const (
	accCrowd = 1000
	accFast  = 200000
)

// accManyCases are the cases of row 25.
func accManyCases() []accCase {
	const input = "1000 VMs, qd 64, C=200000; "
	return []accCase{
		{row: 25, name: "equal shares", source: "model", input: input + "D=128", run: accRow25Equal},
		{row: 25, name: "shares 100000 by rank", source: "model", input: input + "w 100000/k, D=128", run: accRow25Rank},
		{
			row: 25, name: "stalls", source: "model; seastar PR 1774", run: accRow25Stalls,
			input: input + "depth auto, Lt=5 ms, process stalls 20 ms every 200 ms",
		},
	}
}

// crowd makes the VMs of row 25, shares by rank from 1.
func (m *simModel) crowd(weight func(k int) uint32) {
	for k := 1; k <= accCrowd; k++ {
		m.closed(m.share(weight(k)), 64, simWork{})
	}
}

func equalShares(int) uint32 { return 1000 }

func accRow25Equal(s *accSheet, v accVariant) {
	m := accModel(v, accFast, 128, nil)
	m.crowd(equalShares)
	m.run(2 * time.Second)
	low, high := math.Inf(1), 0.0
	for _, t := range windowStarts(m.at(time.Second), m.now, time.Second, 250*time.Millisecond) {
		for _, u := range m.units(t, t+Instant(time.Second)) {
			low, high = min(low, u), max(high, u)
		}
	}
	s.near("the lowest of all, CU in any 1 s", accFast/accCrowd, low, 0.02)
	s.near("the highest of all, CU in any 1 s", accFast/accCrowd, high, 0.02)
	asks := make([]simAsk, accCrowd)
	for i := range asks {
		asks[i].weight = 1
	}
	s.fair(m, m.at(time.Second), m.now, accFast, asks)
}

func accRow25Rank(s *accSheet, v accVariant) {
	weight := func(k int) uint32 { return uint32(100000 / k) }
	m := accModel(v, accFast, 128, nil)
	m.crowd(weight)
	m.run(2 * time.Second)
	asks := make([]simAsk, accCrowd)
	for i := range asks {
		asks[i].weight = float64(weight(i + 1))
	}
	x := solveAsks(accFast, asks)
	from := m.at(time.Second)
	got := m.rates(from, m.now)
	var worst accFact
	gap := 0.0
	last := make([]Instant, accCrowd)
	for i := range last {
		last[i] = from
	}
	log := m.between(from, m.now)
	for i := range log {
		io := &log[i]
		gap, last[io.flow] = max(gap, asMillis(io.sent-last[io.flow])), io.sent
	}
	for i := range x {
		if x[i] >= 100 {
			f := accFact{want: x[i], got: got[i], tol: max(0.02, 2/x[i]/asSeconds(m.now-from))}
			if worst.want == 0 || f.error() > worst.error() {
				worst = f
			}
		}
		gap = max(gap, asMillis(m.now-last[i]))
	}
	worst.what = "the worst of those with >= 100/s, CU/s"
	s.add(worst)
	// P7, with T_st of 250 ms: the floor of every flow.
	s.atMost("the longest gap of all, ms (P7)", 250+2*20+1000*(accCrowd+128.0)/accFast, gap)
}

// accRow25Stalls compares the window with that of a process that never stalls.
func accRow25Stalls(s *accSheet, v accVariant) {
	run := func(stalls bool, looks int) (low, high, rate float64, m *simModel) {
		m = accModel(v, accFast, 0, nil)
		if stalls {
			m.stallEvery, m.stallFor = Instant(200*time.Millisecond), Instant(20*time.Millisecond)
		}
		m.crowd(equalShares)
		m.run(1200 * time.Millisecond) // 15 epochs
		low, high = math.Inf(1), 0
		from := m.now
		for range looks {
			m.run(10 * time.Millisecond)
			d, _ := m.core().Room()
			low, high = min(low, float64(d)), max(high, float64(d))
		}
		done := m.doneUnits(from-Instant(100*time.Millisecond), from, m.now)
		return low, high, sumOf(done) / asSeconds(m.now-from), m
	}
	calmLow, calmHigh, calmRate, _ := run(false, 20)
	low, high, rate, m := run(true, 120)
	calm := (calmLow + calmHigh) / 2
	s.near("the narrowest window, CU, against that without stalls", calm, low, 0.10)
	s.near("the widest window, CU, against that without stalls", calm, high, 0.10)
	s.atMost("how far the window varies, of its width", 0.10, (high-low)/high)
	s.atLeast("CU/s, of those without stalls", 0.90*calmRate, rate)
	from := m.now - Instant(time.Second)
	fewest, most := math.Inf(1), 0.0
	for _, u := range m.units(from, m.now) {
		fewest, most = min(fewest, u), max(most, u)
	}
	each := sumOf(m.units(from, m.now)) / accCrowd
	s.near("the lowest of all, CU in 1 s", each, fewest, 0.02)
	s.near("the highest of all, CU in 1 s", each, most, 0.02)
}
