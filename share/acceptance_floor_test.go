// SPDX-License-Identifier: Apache-2.0

package share

import (
	"fmt"
	"time"
)

// accFloorCases are the rows on waking up, the floor and zero shares, 8-10.
func accFloorCases() []accCase {
	var all []accCase
	for _, c := range []accWake{{0, 490, 0.2}, {64, 522, 6.6}, {500, 740, 50.2}} {
		all = append(all, accCase{
			row: 8, name: fmt.Sprintf("idle credit %d", c.sigma), source: "0091; mClock burst",
			input: "equal shares, C=10000, D=20, VM2 idle 3 s then 9000 queued",
			run:   func(s *accSheet, v accVariant) { accRow8(s, v, c) },
		})
	}
	return append(all,
		accCase{
			row: 9, name: "floor", source: "0091", run: accRow9,
			input: "shares 10 against 10000, 10000; small VM 64 KiB qd 4; C=10000, D=32",
		},
		accCase{
			row: 10, name: "zero shares", source: "0086, 0091", run: accRow10,
			input: "shares 0 against 1000, C=10000, D=20; then the other stops",
		})
}

// accWake is a case of row 8: CU that VM2 is served in the first 100 ms, and the
// longest gap of VM1 in ms, for an idle credit.
type accWake struct {
	sigma       Unit
	served, gap float64
}

func accRow8(s *accSheet, v accVariant, c accWake) {
	const rate, depth = 10000.0, 20.0
	m := accModel(v, rate, depth, nil)
	e := Entitlement{Weight: 1000, Priority: DefaultPriority, IdleCredit: c.sigma}
	other := m.flow(e)
	woken := m.flow(e)
	m.closed(other, 32, simWork{})
	early := m.closed(woken, 32, simWork{})
	m.run(time.Second)
	early.stop()
	m.run(3 * time.Second)
	from := m.now
	m.client(woken, simWork{}).submit(m, 9000)
	m.run(2 * time.Second)
	end := from + Instant(100*time.Millisecond)
	got := m.doneUnits(from, from, end)
	s.near("CU of both in 100 ms, less D", 980, sumOf(got), 0.001)
	// P8 lets the flow have half a command of its own and half of the other's
	// more; what is in the device when it wakes may come on top.
	s.within("VM2, CU in the first 100 ms", c.served, got[woken], 0.5+0.5+depth)
	s.within("VM1, longest gap, ms", c.gap, m.longestGap(other, from, m.now), 1000*depth/rate)
	s.atMost("VM1, longest gap, ms: (sigma + Q)/C more", 0.2+1000*(float64(c.sigma)+1)/rate,
		m.longestGap(other, from, m.now))
}

func accRow9(s *accSheet, v accVariant) {
	m := accModel(v, 10000, 32, nil)
	small := m.share(10)
	m.closed(small, 4, simWork{bytes: 64 << 10})
	m.closed(m.share(10000), 32, simWork{})
	m.closed(m.share(10000), 32, simWork{})
	m.run(11 * time.Second)
	from := m.at(time.Second)
	s.rates(m, from, m.now, 10*time.Second, []float64{64, 4968, 4968}, 0.01, 16, 1, 1)
	s.atMost("VM1, longest gap, ms", 255, m.longestGap(small, from, m.now))
}

func accRow10(s *accSheet, v accVariant) {
	m := accModel(v, 10000, 20, nil)
	zero := m.share(0)
	other := m.share(1000)
	m.closed(zero, 32, simWork{})
	c := m.closed(other, 32, simWork{})
	m.run(6 * time.Second)
	from, stop := m.at(time.Second), m.now
	n := m.phases(zero, from, stop)
	s.exactly("VM1, commands that were not due by the floor", 0, float64(sumInts(n[:])-n[PhaseFloor]))
	s.near("VM1, commands/s: 1 s / the longest gap", 4, 1000/m.longestGap(zero, from, stop), 0.01)
	s.rates(m, from, stop, time.Second, []float64{4, 9996}, 0.01)
	c.stop()
	m.run(2 * time.Second)
	// Nobody else has something queued after the other's last dispatch.
	var idle, served Instant
	for _, io := range m.between(stop, m.now) {
		switch {
		case io.flow == other:
			idle = io.sent
		case io.phase == PhaseZero && served == 0:
			served = io.sent
		}
	}
	s.atMost("VM1, ms until it is served alone", 1, asMillis(served-idle))
	s.rates(m, idle+Instant(time.Millisecond), m.now, time.Second, []float64{10000, 0}, 0.01)
}

func sumInts(v []int) (sum int) {
	for _, n := range v {
		sum += n
	}
	return sum
}
