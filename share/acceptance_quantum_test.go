// SPDX-License-Identifier: Apache-2.0

package share

import (
	"fmt"
	"time"
)

// accQuantumCases are the rows on sequential runs, 6 and 7.
func accQuantumCases() []accCase {
	var all []accCase
	for _, q := range []int{8, 1} {
		all = append(all, accCase{
			row: 6, name: fmt.Sprintf("quantum %d", q), source: "0090",
			input: "equal shares, A sequential, B random, C=10000, D=4",
			run:   func(s *accSheet, v accVariant) { accRow6(s, v, q) },
		})
	}
	for _, q := range []int{1, 8} {
		all = append(all, accCase{
			row: 7, name: fmt.Sprintf("disk, quantum %d", q), source: "0090; model",
			input: "two sequential VMs, switch 5 ms, 0.1 ms/CU, b=0, D=1, no floor",
			run:   func(s *accSheet, v accVariant) { accRow7(s, v, q) },
		})
	}
	return all
}

func accRow6(s *accSheet, v accVariant, quantum int) {
	m := accModel(v, 10000, 4, func(s *Settings) { s.Quantum = quantum })
	a, b := m.share(1000), m.share(1000)
	m.closed(a, 32, simWork{sequential: true})
	m.closed(b, 32, simWork{})
	m.run(5 * time.Second)
	from := m.at(time.Second)
	flows, lengths := runsOf(m.between(from, m.now))
	for _, f := range []FlowID{a, b} {
		shortest, longest := 1<<30, 0
		for i, n := range lengths {
			if flows[i] == f {
				shortest, longest = min(shortest, n), max(longest, n)
			}
		}
		s.exactly(fmt.Sprintf("VM%d, shortest run", f+1), float64(quantum), float64(shortest))
		s.exactly(fmt.Sprintf("VM%d, longest run", f+1), float64(quantum), float64(longest))
	}
	s.rates(m, from, m.now, time.Second, []float64{5000, 5000}, v.tolerance(0.002), float64(quantum), 1)
	s.fair(m, from, m.now, 10000, []simAsk{{weight: 1000}, {weight: 1000}}, float64(quantum), 1)
}

func accRow7(s *accSheet, v accVariant, quantum int) {
	total := 1000 / (5 + 0.1) // each command after a switch
	if quantum == 8 {
		total = 8 * 1000 / (5 + 8*0.1)
	}
	m := accOn(v, simDisk(5*time.Millisecond, 100*time.Microsecond), int64(total), 1, func(s *Settings) {
		s.Quantum, s.FloorInterval = quantum, 0
	})
	for range 2 {
		m.closed(m.share(1000), 32, simWork{sequential: true})
	}
	m.run(11 * time.Second)
	from := m.at(time.Second)
	done := m.doneUnits(from-Instant(time.Second), from, m.now)
	s.near("IOPS of both", total, sumOf(done)/asSeconds(m.now-from), 0.02)
	q := float64(quantum)
	s.rates(m, from, m.now, 10*time.Second, []float64{total / 2, total / 2}, 0.02, q, q)
}
