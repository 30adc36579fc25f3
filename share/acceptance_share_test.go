// SPDX-License-Identifier: Apache-2.0

package share

import (
	"fmt"
	"time"
)

// accShareCases are the rows on shares, 1-5.
func accShareCases() []accCase {
	return []accCase{
		{row: 1, name: "shares", input: "2000/2000/1000, C=10000, D=20", source: "0087", run: accRow1},
		{row: 2, name: "one stops", input: "as 1, then VM1 stops", source: "0087", run: accRow2},
		{row: 3, name: "one asks for less", input: "as 1, VM1 asks for 2000/s", source: "0088", run: accRow3},
		{row: 4, name: "cost", input: "0, 512, 4096, 4097, 8192, 64 Ki, 1 Mi bytes", source: "0089", run: accRow4},
		{
			row: 5, name: "4 KiB against 64 KiB", input: "equal shares, qd 64, C=16000, D=64", source: "0089",
			run: accRow5,
		},
	}
}

func accRow1(s *accSheet, v accVariant) {
	depth := Unit(20)
	if v.cores > 1 {
		depth /= 2 // the control: each core has its part of the window
	}
	m := accModel(v, 10000, depth, nil)
	for i, w := range []uint32{2000, 2000, 1000} {
		f := m.share(w)
		if v.cores < 2 {
			m.closed(f, 32, simWork{})
			continue
		}
		// VM1 and VM2 are on one core each, VM3 on both.
		for host := range 2 {
			if i == 2 || host == i {
				m.closed(f, 32, simWork{host: host})
			}
		}
	}
	m.run(5 * time.Second)
	s.rates(m, m.at(time.Second), m.now, time.Second, []float64{4000, 4000, 2000}, v.tolerance(0.005))
	s.fair(m, m.at(time.Second), m.now, 10000, []simAsk{{weight: 2000}, {weight: 2000}, {weight: 1000}})
}

func accRow2(s *accSheet, v accVariant) {
	m := accModel(v, 10000, 20, nil)
	c := m.closed(m.share(2000), 32, simWork{})
	m.closed(m.share(2000), 32, simWork{})
	m.closed(m.share(1000), 32, simWork{})
	m.run(2 * time.Second)
	c.stop()
	m.run(4100 * time.Millisecond)
	want := []float64{0, 6666.67, 3333.33}
	from := m.at(2100 * time.Millisecond)
	s.rates(m, from, from+Instant(100*time.Millisecond), 100*time.Millisecond, want, v.tolerance(0.005))
	s.rates(m, from, m.now, time.Second, want, v.tolerance(0.005))
}

func accRow3(s *accSheet, v accVariant) {
	m := accModel(v, 10000, 20, nil)
	a := m.share(2000)
	m.open(a, 2000, 1, simWork{})
	m.closed(m.share(2000), 32, simWork{})
	m.closed(m.share(1000), 32, simWork{})
	m.run(6 * time.Second)
	from := m.at(time.Second)
	s.rates(m, from, m.now, time.Second, []float64{2000, 5333.33, 2666.67}, v.tolerance(0.005))
	latency := meanOf(m.times(a, totalLatency, from, m.now))
	s.near("VM1 mean latency, ms", 2.03, latency, 0.05)
	s.atMost("VM1 mean latency, ms: b + D/C + 1 CU", 0.2+2+0.1, latency)
	s.fair(m, from, m.now, 10000, []simAsk{{weight: 2000, demand: 2000}, {weight: 2000}, {weight: 1000}})
}

// accCosts is row 4: the cost of a command of so many bytes.
func accCosts(s *accSheet, cost func(bytes uint32) Unit) {
	for _, c := range []struct {
		bytes uint32
		want  float64
	}{{0, 1}, {512, 1}, {4096, 1}, {4097, 2}, {8192, 2}, {64 << 10, 16}, {1 << 20, 256}} {
		s.exactly(fmt.Sprintf("CU of %d bytes", c.bytes), c.want, float64(cost(c.bytes)))
	}
}

// accRow4 takes the cost from what is dispatched, so that it is also what the
// window and the virtual time count.
func accRow4(s *accSheet, v accVariant) {
	m := accModel(v, 10000, 1024, nil)
	f := m.share(1000)
	accCosts(s, func(bytes uint32) Unit {
		c := m.client(f, simWork{bytes: 4096})
		c.bytes = bytes
		if bytes == 0 {
			c.class = ClassOther
		}
		before := m.now
		c.submit(m, 1)
		m.run(time.Second)
		set := DefaultSettings()
		if done := m.units(before, m.now); done[f] != float64(set.CostOf(bytes)) {
			return -1
		}
		return m.log[len(m.log)-1].cost
	})
}

func accRow5(s *accSheet, v accVariant) {
	m := accModel(v, 16000, 64, nil)
	m.closed(m.share(1000), 64, simWork{})
	m.closed(m.share(1000), 64, simWork{bytes: 64 << 10})
	m.run(5 * time.Second)
	from := m.at(time.Second)
	s.rates(m, from, m.now, time.Second, []float64{8000, 8000}, v.tolerance(0.005), 1, 16)
	u := m.rates(from, m.now)
	s.near("VM1, 4 KiB, IOPS", 8000, u[0], v.tolerance(0.005))
	s.near("VM2, 64 KiB, IOPS", 500, u[1]/16, v.tolerance(0.005))
	s.fair(m, from, m.now, 16000, []simAsk{{weight: 1000}, {weight: 1000}}, 1, 16)
}
