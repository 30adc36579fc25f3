// SPDX-License-Identifier: Apache-2.0

package share

import (
	"fmt"
	"time"
)

// accGroupCases are the rows on bursts and groups, 17 and 18.
func accGroupCases() []accCase {
	var all []accCase
	for _, c := range []accBurst{
		{1, 70.7, 133, 32},
		{64, 47.6, 102, 61},
		{128, 40.0, 71, 80},
	} {
		all = append(all, accCase{
			row: 17, name: fmt.Sprintf("bursts, idle credit %d", c.sigma), source: "mClock burst experiment",
			input: "VM1 sends 128 every 400 ms, VM2 backlogged, equal shares, C=2000, D=16",
			run:   func(s *accSheet, v accVariant) { accRow17(s, v, c) },
		})
	}
	for _, grouped := range []bool{false, true} {
		c := accCase{
			row: 18, name: "flat", source: "published Storage I/O Control example",
			input: "C=8000, D=32, w 1000/2500/500/1000, VM3 asks 10, VM4 limit 2000, qd 64",
			run:   func(s *accSheet, v accVariant) { accRow18(s, v, grouped) },
		}
		if grouped {
			c.name, c.input = "grouped", c.input+", groups {1,2}, {3,4}"
		}
		all = append(all, c)
	}
	return all
}

// accBurst is a case of row 17, times in ms.
type accBurst struct {
	sigma          Unit
	mean, p99, two float64
}

func accRow17(s *accSheet, v accVariant, c accBurst) {
	m := accModel(v, 2000, 16, nil)
	one := m.flow(Entitlement{Weight: 1000, Priority: DefaultPriority, IdleCredit: c.sigma})
	two := m.share(1000)
	m.bursts(one, 128, 400*time.Millisecond)
	m.closed(two, 32, simWork{})
	m.run(41 * time.Second)
	from, to := m.at(time.Second), m.at(40*time.Second)
	t1, t2 := m.times(one, totalLatency, from, to), m.times(two, totalLatency, from, to)
	s.near("VM1 mean latency, ms", c.mean, meanOf(t1), 0.03)
	s.near("VM1 p99 latency, ms", c.p99, percentileOf(t1, 0.99), 0.03)
	s.near("VM2 p99 latency, ms", c.two, percentileOf(t2, 0.99), 0.03)
	s.near("VM2, CU/s", 1683, m.rates(from, to)[two], 0.03)
}

func accRow18(s *accSheet, v accVariant, grouped bool) {
	m := accModel(v, 8000, 32, nil)
	want := []float64{1776, 4439, 10, 1776}
	asks := []simAsk{{weight: 1000}, {weight: 2500}, {weight: 500, demand: 10}, {weight: 1000, limit: 2000}}
	groups := make([]GroupID, 4)
	if grouped {
		m.group(1, GroupEntitlement{})
		m.group(2, GroupEntitlement{})
		groups = []GroupID{1, 1, 2, 2}
		want = []float64{1711, 4279, 10, 2000}
		asks = []simAsk{{weight: 3500, members: asks[:2]}, {weight: 1500, members: asks[2:]}}
	}
	for i, w := range []uint32{1000, 2500, 500, 1000} {
		e := Entitlement{Weight: w, Priority: DefaultPriority, Group: groups[i]}
		if i == 3 {
			e.Limits.Total.Rate.Ops = 2000
		}
		if f := m.flow(e); i == 2 {
			m.open(f, 10, 1, simWork{})
		} else {
			m.closed(f, 64, simWork{})
		}
	}
	m.run(11 * time.Second)
	from := m.at(time.Second)
	s.rates(m, from, m.now, time.Second, want, 0.01)
	s.rates(m, from, m.now, 10*time.Second, want, 0.01)
	s.fair(m, from, m.now, 8000, asks)
}
