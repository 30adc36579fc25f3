// SPDX-License-Identifier: Apache-2.0

package share

import (
	"time"
)

// accLimitCases are the cases of row 24.
func accLimitCases() []accCase {
	return []accCase{
		{row: 24, name: "peak", source: "QEMU", input: "limit 100, peak 2000 for 60 s", run: accRow24Peak},
		{
			row: 24, name: "100 connections", source: "ceph PR 52808",
			input: "limit 1000 on one VM over 100 connections", run: accRow24Connections,
		},
		{
			row: 24, name: "coarse timer", source: "ceph/dmclock issue 21",
			input: "limit 5000 with 1 ms timer steps", run: accRow24Timer,
		},
		{row: 24, name: "100 VMs", source: "spdk issue 791", input: "100 VMs with limit 30 each", run: accRow24Many},
	}
}

// limited is a flow that may do so many operations in a second.
func (m *simModel) limited(ops int64) FlowID {
	return m.flow(Entitlement{
		Weight: 1000, Priority: DefaultPriority, Limits: Limits{Total: Ceiling{Rate: Rate{Ops: ops}}},
	})
}

func accRow24Peak(s *accSheet, v accVariant) {
	m := accModel(v, 10000, 32, nil)
	f := m.flow(Entitlement{Weight: 1000, Priority: DefaultPriority, Limits: Limits{Total: Ceiling{
		Rate: Rate{Ops: 100}, Peak: Rate{Ops: 2000}, PeakLength: time.Minute,
	}}})
	m.closed(f, 64, simWork{})
	m.run(80 * time.Second)
	s.rates(m, m.at(0), m.at(63*time.Second), time.Second, []float64{2000}, 0.01)
	s.rates(m, m.at(64*time.Second), m.now, time.Second, []float64{100}, 0.01)
	// The peak ends with the first gap that is nearer to 1/100 s than to 1/2000 s.
	var end Instant
	for i, io := range m.log[1:] {
		if io.sent-m.log[i].sent > Instant(5*time.Millisecond) {
			end = m.log[i].sent
			break
		}
	}
	s.near("end of the peak, s", 63.16, asSeconds(end-m.at(0)), 0.01)
	m.ceiling(s, f, m.at(0), 2000, 2000*0.002+1)
	s.atMost("all CU (P5)", 100*80+60*2000+1, m.units(m.at(0), m.now)[f])
}

func accRow24Connections(s *accSheet, v accVariant) {
	m := accModel(v, 10000, 32, nil)
	f := m.limited(1000)
	for range 100 {
		m.closed(f, 1, simWork{})
	}
	m.run(6 * time.Second)
	s.rates(m, m.at(0), m.now, time.Second, []float64{1000}, 0.01)
	m.ceiling(s, f, m.at(0), 1000, 1000*0.002+1)
}

// accRow24Timer calls the core at whole milliseconds only.
func accRow24Timer(s *accSheet, v accVariant) {
	m := accModel(v, 20000, 32, nil)
	m.grid = Instant(time.Millisecond)
	f := m.limited(5000)
	m.closed(f, 64, simWork{})
	m.run(6 * time.Second)
	s.rates(m, m.at(0), m.now, time.Second, []float64{5000}, 0.01)
	m.ceiling(s, f, m.at(0), 5000, 5000*0.002+1)
}

func accRow24Many(s *accSheet, v accVariant) {
	m := accModel(v, 10000, 32, nil)
	want := make([]float64, 100)
	for i := range want {
		want[i] = 30
		m.closed(m.limited(30), 4, simWork{})
	}
	m.run(11 * time.Second)
	var worst, most accFact
	for _, t := range windowStarts(m.at(0), m.now, time.Second, 50*time.Millisecond) {
		for _, u := range m.units(t, t+Instant(time.Second)) {
			f := accFact{want: 30, got: u}
			if worst.want == 0 || f.error() > worst.error() {
				worst = f
			}
			if most.want == 0 || u > most.got {
				most = f
			}
		}
	}
	// Two commands are as fine as a flow of 30/s can be judged in 1 s.
	s.near("the worst of all, CU in any 1 s", 30, worst.got, 2.0/30)
	s.atMost("the highest, CU in any 1 s: 30 and the burst of 1", 30+1, most.got)
	total := m.rates(m.at(time.Second), m.now)
	s.near("all together, CU/s", 3000, sumOf(total), 0.01)
}
