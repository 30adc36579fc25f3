// SPDX-License-Identifier: Apache-2.0

package share

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// accReserveCases are the rows on reservations and limits, 13-16.
func accReserveCases() []accCase {
	var all []accCase
	for _, c := range []struct {
		rate int64
		want []float64
	}{
		{10000, []float64{3000, 3500, 3500}},
		{5000, []float64{3000, 1000, 1000}},
		{2000, accRow13Floors()},
	} {
		for _, nominal := range slices.Compact([]int64{c.rate, 10000}) {
			all = append(all, accCase{
				row: 13, name: fmt.Sprintf("C %d of %d", c.rate, nominal), source: "0106",
				input: "a r=3000 w 100 prio 0; b, c w 10000 prio 10; D=20",
				run:   func(s *accSheet, v accVariant) { accRow13(s, v, c.rate, nominal, c.want) },
			})
		}
	}
	all = append(all,
		accCase{
			row: 13, name: "C 2000, unannounced", source: "0106",
			input: "a r=3000 w 100 prio 0; b, c w 10000 prio 10; D=20; the capacity is said to be 10000",
			run:   accRow13Unknown,
		},
		accCase{
			row: 13, name: "10 CU a second", source: "0106", input: "r = 10 CU/s, w 1 against 10000, C=10000",
			run: func(s *accSheet, v accVariant) { accRow13Small(s, v, 10, 4096) },
		},
		accCase{
			row: 13, name: "100 CU a second in 64 KiB", source: "0106",
			input: "r = 100 CU/s with 64 KiB, w 1 against 10000, C=10000",
			run:   func(s *accSheet, v accVariant) { accRow13Small(s, v, 100, 64<<10) },
		})
	for _, c := range []struct {
		rate int64
		want []float64
	}{
		{875, []float64{250, 250, 375}},
		{1200, []float64{250, 380, 570}},
		{1800, []float64{300, 600, 900}},
		{2000, []float64{333.33, 666.67, 1000}},
		{2500, []float64{500, 1000, 1000}},
	} {
		all = append(all, accCase{
			row: 14, name: fmt.Sprintf("C %d", c.rate), source: "mClock",
			input: "RD/OLTP/DM w 1:2:3, r 250/250/0, limit -/-/1000, D=16",
			run:   func(s *accSheet, v accVariant) { accRow14(s, v, c.rate, c.want) },
		})
	}
	all = append(all, accCase{
		row: 15, name: "limit", source: "mClock limit experiment", run: accRow15,
		input: "w 2:2:1, C=2000, D=16; at 5 s VM3 gets limit 300",
	})
	for _, r := range []int64{250, 0} {
		c := accCase{
			row: 16, name: "reservations", source: "mClock reservation experiment",
			input: "w 1:1:2:2:2, r 300/250/0/0/0, C=1500, D=16",
			run:   func(s *accSheet, v accVariant) { accRow16(s, v, r) },
		}
		if r == 0 {
			c.name, c.input = "no reservations", "as before, without r"
		}
		all = append(all, c)
	}
	return all
}

// rate is so many commands of bytes in a second, in operations or in bytes.
func (v accVariant) rate(perSecond, bytes int64) Rate {
	if v.bytes {
		return Rate{Bytes: perSecond * bytes}
	}
	return Rate{Ops: perSecond}
}

// accRow13Floors is row 13 with C=2000: b and c get their floors only, which are
// judged by their gap.
func accRow13Floors() []float64 { return []float64{1992, math.NaN(), math.NaN()} }

func accRow13(s *accSheet, v accVariant, rate, nominal int64, want []float64) {
	m := accModel(v, nominal, 20, nil)
	m.reserved3000(v)
	m.run(time.Second)
	if rate != nominal {
		m.paths(uint32(rate*1e6/nominal), nominal, 10*time.Millisecond)
	}
	m.judge13(s, want)
	if rate > 3000 {
		s.fair(m, m.now-Instant(5*time.Second), m.now, float64(rate),
			[]simAsk{{weight: 100, reserve: 3000}, {weight: 10000}, {weight: 10000}})
	}
}

// accRow13Unknown: nothing tells that the reservation cannot be met, so it is
// not scaled, and is due all the time; the floors still get their turn.
func accRow13Unknown(s *accSheet, v accVariant) {
	m := accOn(v, simFIFO(2000), 10000, 20, nil)
	m.reserved3000(v)
	m.judge13(s, accRow13Floors())
}

// reserved3000 makes the VMs of row 13.
func (m *simModel) reserved3000(v accVariant) {
	m.flow(Entitlement{Weight: 100, Reservation: v.rate(3000, 4096)})
	for range 2 {
		m.flow(Entitlement{Weight: 10000, Priority: 10})
	}
	for f := range FlowID(3) {
		m.closed(f, 32, simWork{})
	}
}

// judge13 judges the next seconds by row 13.
func (m *simModel) judge13(s *accSheet, want []float64) {
	m.run(time.Second)
	from := m.now
	m.run(5 * time.Second)
	s.rates(m, from, m.now, time.Second, want, 0.01)
	for f := range FlowID(3) {
		if math.IsNaN(want[f]) {
			s.atMost(fmt.Sprintf("VM%d, longest gap, ms", f+1), 302, m.longestGap(f, from, m.now))
		}
	}
}

// accRow13Small is a reservation of r CU/s in commands of bytes.
func accRow13Small(s *accSheet, v accVariant, r, bytes int64) {
	m := accModel(v, 10000, 20, nil)
	cost := bytes / 4096
	e := Entitlement{Weight: 1, Reservation: v.rate(r/cost, bytes)}
	if r%cost != 0 {
		e.Reservation = Rate{Bytes: r * 4096}
	}
	small := m.flow(e)
	m.closed(small, 32, simWork{bytes: uint32(bytes)})
	m.closed(m.flow(Entitlement{Weight: 10000, Priority: 10}), 32, simWork{})
	m.run(21 * time.Second)
	s.rates(m, m.at(time.Second), m.now, 20*time.Second,
		[]float64{float64(r), float64(10000 - r)}, 0.01, float64(cost), 1)
}

func accRow14(s *accSheet, v accVariant, rate int64, want []float64) {
	m := accModel(v, rate, 16, nil)
	for _, e := range []Entitlement{
		{Weight: 1000, Reservation: v.rate(250, 4096)},
		{Weight: 2000, Reservation: v.rate(250, 4096)},
		{Weight: 3000, Limits: Limits{Total: Ceiling{Rate: v.rate(1000, 4096)}}},
	} {
		e.Priority = DefaultPriority
		m.closed(m.flow(e), 32, simWork{})
	}
	m.run(6 * time.Second)
	from := m.at(time.Second)
	s.rates(m, from, m.now, time.Second, want, 0.01)
	s.fair(m, from, m.now, float64(rate), []simAsk{
		{weight: 1, reserve: 250}, {weight: 2, reserve: 250}, {weight: 3, limit: 1000},
	})
}

func accRow15(s *accSheet, v accVariant) {
	m := accModel(v, 2000, 16, nil)
	for _, w := range []uint32{2000, 2000, 1000} {
		m.closed(m.share(w), 32, simWork{})
	}
	m.run(5 * time.Second)
	s.rates(m, m.at(time.Second), m.now, time.Second, []float64{800, 800, 400}, 0.01)
	m.configure(2, Entitlement{
		Weight: 1000, Priority: DefaultPriority,
		Limits: Limits{Total: Ceiling{Rate: v.rate(300, 4096)}},
	})
	m.run(5100 * time.Millisecond)
	from := m.at(5100 * time.Millisecond)
	want := []float64{850, 850, 300}
	s.rates(m, from, from+Instant(100*time.Millisecond), 100*time.Millisecond, want, 0.01)
	s.rates(m, from, m.now, time.Second, want, 0.01)
	m.ceiling(s, 2, m.at(5*time.Second), 300, 300*0.002+1)
	s.fair(m, from, m.now, 2000, []simAsk{{weight: 2}, {weight: 2}, {weight: 1, limit: 300}})
}

// ceiling expects that f gets at most rate and more in any second (P5: more is
// the rate times tau, and one command).
func (m *simModel) ceiling(s *accSheet, f FlowID, from Instant, rate, more float64) {
	most := 0.0
	for _, t := range windowStarts(from, m.now, time.Second, 10*time.Millisecond) {
		most = max(most, m.units(t, t+Instant(time.Second))[f])
	}
	s.atMost(fmt.Sprintf("VM%d, CU in any 1 s (P5)", f+1), rate+more, most)
}

func accRow16(s *accSheet, v accVariant, second int64) {
	m := accModel(v, 1500, 16, nil)
	first, want := int64(300), []float64{300, 250, 316.67, 316.67, 316.67}
	if second == 0 {
		first, want = 0, []float64{187.5, 187.5, 375, 375, 375}
	}
	asks := make([]simAsk, 5)
	for i, w := range []uint32{1000, 1000, 2000, 2000, 2000} {
		e := Entitlement{Weight: w, Priority: DefaultPriority}
		asks[i].weight = float64(w)
		if r := []int64{first, second, 0, 0, 0}[i]; r > 0 {
			e.Reservation, asks[i].reserve = v.rate(r, 4096), float64(r)
		}
		m.closed(m.flow(e), 32, simWork{})
	}
	m.run(6 * time.Second)
	s.rates(m, m.at(time.Second), m.now, time.Second, want, 0.01)
	s.fair(m, m.at(time.Second), m.now, 1500, asks)
}
