// SPDX-License-Identifier: Apache-2.0

package share

import (
	"fmt"
	"math"
	"time"
)

// accDepthCases are the rows on the window, 22 and 23.
func accDepthCases() []accCase {
	var all []accCase
	for _, c := range []struct {
		name    string
		within  int
		disturb func(*simModel)
	}{
		{"half the capacity, unannounced", 4, func(m *simModel) { m.dev.setRate(m.now, accArray/2) }},
		{"half the capacity, a path event", 0, func(m *simModel) { m.paths(500000, accArray, time.Millisecond) }},
		{"an outside host takes 30 slots", 5, func(m *simModel) {
			for range 30 {
				m.dev.add(m.now, simOp{cost: 1})
			}
		}},
	} {
		for _, w := range [][]uint32{{1000, 1000, 2000, 2000}, {2000, 2000, 1000, 1000, 1000}} {
			all = append(all, accCase{
				row: 22, name: fmt.Sprintf("%s, %d VMs", c.name, len(w)), source: "PARDA figure 11",
				input: fmt.Sprintf("depth auto, C=3360, Lt=25 ms, w %v, qd 128", w),
				run:   func(s *accSheet, v accVariant) { accRow22(s, v, w, c.within, c.disturb) },
			})
		}
	}
	for _, c := range []struct {
		depth Unit
		iops  float64
	}{{65536, 154}, {20, 500}, {8, 1250}, {4, 2500}} {
		all = append(all, accCase{
			row: 23, name: fmt.Sprintf("D %d", c.depth), source: "depth rule 2.10; model",
			input: "equal shares, qd 1 against qd 64, C=10000",
			run:   func(s *accSheet, v accVariant) { accRow23(s, v, c.depth, c.iops) },
		})
	}
	return all
}

// accArray is the capacity in row 22, CU/s.
const accArray = 3360

// accRow22 disturbs the device and expects the latency at its target again after
// at most so many epochs.
func accRow22(s *accSheet, v accVariant, weights []uint32, epochs int, disturb func(*simModel)) {
	const target, epoch = 25 * time.Millisecond, 400 * time.Millisecond // 16 * target
	m := accModel(v, accArray, 0, func(s *Settings) { s.LatencyTarget = target })
	sum := 0.0
	for _, w := range weights {
		m.closed(m.share(w), 128, simWork{})
		sum += float64(w)
	}
	m.run(20 * epoch)
	before := m.now
	s.atMost("mean latency before, ms", 1.05*25, m.meanLatency(before-Instant(4*epoch), before))
	disturb(m)
	m.run(30 * epoch)
	worst := make([]float64, len(weights))
	for _, t := range windowStarts(m.at(2*time.Second), m.now, time.Second, 250*time.Millisecond) {
		u := m.units(t, t+Instant(time.Second))
		for i, w := range weights {
			worst[i] = max(worst[i], math.Abs(u[i]/sumOf(u)/(float64(w)/sum)-1))
		}
	}
	for i := range weights {
		s.within(fmt.Sprintf("VM%d, worst error of its part in any 1 s", i+1), 0, worst[i], 0.03)
	}
	// Epochs are those of the core, which began with the model.
	late := 0
	for n := 0; n < 30; n++ {
		from := before + Instant(n)*Instant(epoch)
		if m.meanLatency(from, from+Instant(epoch)) > 1.05*25 {
			late = n + 1
		}
	}
	s.atMost("epochs until the mean latency is <= 1.05*Lt for good", float64(epochs), float64(late))
	s.atLeast("mean latency in the end, ms: the window is used", 0.9*25,
		m.meanLatency(m.now-Instant(10*epoch), m.now-Instant(epoch)))
}

// meanLatency is that of the device, in ms, over what was dispatched from an
// instant on, before another.
func (m *simModel) meanLatency(from, to Instant) float64 {
	sum, n := 0.0, 0.0
	log := m.between(from, to)
	for i := range log {
		io := &log[i]
		if io.done != 0 {
			sum, n = sum+deviceLatency(io), n+1
		}
	}
	return sum / n
}

func accRow23(s *accSheet, v accVariant, depth Unit, iops float64) {
	m := accModel(v, 10000, depth, nil)
	one := m.share(1000)
	m.closed(one, 1, simWork{})
	m.closed(m.share(1000), 64, simWork{})
	m.run(6 * time.Second)
	from := m.at(time.Second)
	r := m.rates(from, m.now)
	s.near("VM1, qd 1, IOPS", iops, r[one], 0.02)
	s.atLeast("IOPS of both", 9990, sumOf(r))
	s.near("VM1, qd 1, mean latency, ms", 1000/iops, meanOf(m.times(one, totalLatency, from, m.at(5*time.Second))), 0.02)
	waits := m.times(one, gatewayWait, from, m.now)
	s.atMost("VM1, wait in the gateway, p99, ms", 2*1000.0/10000, percentileOf(waits, 0.99))
}
