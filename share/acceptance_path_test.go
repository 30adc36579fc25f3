// SPDX-License-Identifier: Apache-2.0

package share

import (
	"time"
)

// accPathCases are the rows on lost paths and priorities, 11, 12 and 26.
func accPathCases() []accCase {
	const row11 = "a: w 2000, prio 2, asks 3000/s; b: w 8000, prio 10, asks 7900/s; C 20000 -> 10000, D 40 -> 20"
	return []accCase{
		{row: 11, name: "over-entitlement", input: row11, source: "0110, 0111", run: accRow11Default},
		{row: 11, name: "over-entitlement, held", input: row11 + "; strict", source: "0110, 0111", run: accRow11Strict},
		{
			row: 11, name: "b asks for 16000", input: row11 + "; b asks 16000/s, a sequential",
			source: "0110, 0111", run: accRow11Cut,
		},
		{
			row: 11, name: "b is saturated", input: row11 + "; b asks 16000/s, priorities off",
			source: "0110", run: accRow11Saturated,
		},
		{
			row: 12, name: "priorities", source: "0112",
			input: "equal shares, a prio 10 asks 8000, b prio 2 qd 128, C 20000 -> 10000, D 40 -> 20",
			run:   func(s *accSheet, v accVariant) { accRow12(s, v, PriorityDegraded, 8000, 2000) },
		},
		{
			row: 12, name: "priorities off", source: "0112", input: "as before, priorities off",
			run: func(s *accSheet, v accVariant) { accRow12(s, v, PriorityOff, 5000, 5000) },
		},
		{
			row: 26, name: "always", source: "0109", input: "a prio 2 command while a prio 8 flow is active, D=20",
			run: func(s *accSheet, v accVariant) { accRow26(s, v, PriorityAlways, 500, 9500) },
		},
		{
			row: 26, name: "degraded, in health", source: "0109", input: "as before, priority_mode degraded",
			run: func(s *accSheet, v accVariant) { accRow26(s, v, PriorityDegraded, 5000, 5000) },
		},
	}
}

// accLoss is the model of row 11 up to the instant before a path dies.
type accLoss struct {
	*simModel
	a, b FlowID
	died Instant
}

const accNominal = 20000 // CU/s over both paths, rows 11 and 12

func newLoss(v accVariant, bRate int64, batch int, edit func(*Settings)) *accLoss {
	m := &accLoss{simModel: accModel(v, accNominal, 40, func(s *Settings) {
		s.ExplainRing = 65536
		if edit != nil {
			edit(s)
		}
	})}
	m.a = m.flow(Entitlement{Weight: 2000, Priority: 2})
	m.b = m.flow(Entitlement{Weight: 8000, Priority: 10})
	m.open(m.a, 3000, batch, simWork{sequential: batch > 1})
	m.open(m.b, bRate, 1, simWork{})
	m.run(2*time.Second + 25*time.Millisecond)
	return m
}

// die takes one of the two paths; what is in flight on it is sent again
// 300 ms later.
func (m *accLoss) die() {
	m.died = m.now
	m.paths(500000, accNominal, 300*time.Millisecond)
	m.run(0)
}

// use is u of a, entitled e of a: parts of the capacity.
func (m *accLoss) use() (use, entitled float64, over bool) {
	st := m.status()
	f := st.Flows[m.a]
	return float64(f.Use) / float64(st.Capacity), float64(f.Entitlement) / float64(st.Capacity), f.Over
}

// event judges what is known of a when the path dies.
func (m *accLoss) event(s *accSheet, want float64) {
	use, _, over := m.use()
	s.near("u of a before", 0.15, use, 0.01)
	s.holds("a is not over before", !over)
	m.die()
	use, entitled, over := m.use()
	s.near("u of a at the event", 0.30, use, 0.01)
	s.near("e of a at the event", want, entitled, 0.01)
	s.holds("a is over at the event", over)
}

// firstOf is the first dispatch of f from the event on.
func (m *accLoss) firstOf(f FlowID) simIO {
	for _, io := range m.between(m.died, m.now+1) {
		if io.flow == f {
			return io
		}
	}
	return simIO{}
}

// after judges the rates in the loss, and after the path has come back.
func (m *accLoss) after(s *accSheet, a, b float64, quantum float64) {
	m.runUntil(m.died + Instant(4*time.Second))
	from := m.died + Instant(time.Second)
	s.rates(m.simModel, from, m.now, time.Second, []float64{a, b}, 0.01, quantum, 1)
}

func (m *accLoss) back(s *accSheet) {
	m.paths(1e6, accNominal, 0)
	m.run(time.Second + 500*time.Millisecond) // what had to wait is served first
	from := m.now
	m.run(2 * time.Second)
	s.rates(m.simModel, from, m.now, time.Second, []float64{3000, 7900}, 0.01)
}

func accRow11Default(s *accSheet, v accVariant) {
	m := newLoss(v, 7900, 1, nil)
	m.event(s, 0.21)
	depth, _ := m.core().Room()
	s.exactly("D", 20, float64(depth))
	m.run(time.Millisecond)
	first := m.firstOf(m.a)
	s.holds("a is served at once, the window is open", first.sent != 0 && first.sent == first.arrived)
	_, _, over := m.use()
	s.holds("a is over then", over)
	m.run(49 * time.Millisecond)
	queued, full := Explain{}, false
	for _, e := range m.explained(m.died) {
		if e.Flow == m.a && e.Verdict == Queued {
			queued, full = e, e.InFlight >= e.Depth
			break
		}
	}
	s.holds("a's first queued command: over-entitlement", queued.Reason == OverEntitlement && !queued.Held)
	s.holds("the window is full then", full)
	m.after(s, 2100, 7900, 1)
	s.near("b mean latency, ms", 2.05,
		meanOf(m.times(m.b, totalLatency, m.died+Instant(time.Second), m.now)), 0.05)
	m.back(s)
}

func accRow11Strict(s *accSheet, v accVariant) {
	v.strict = true
	m := newLoss(v, 7900, 1, nil)
	m.event(s, 0.21)
	m.run(time.Millisecond) // a's next command comes
	why := m.core().Why(m.a)
	s.holds("a's next command is held: over-entitlement", why.Reason == OverEntitlement && why.Held)
	s.holds("the window is open then", why.Seq != 0 && why.InFlight < why.Depth)
	m.run(200 * time.Millisecond)
	first := asMillis(m.firstOf(m.a).sent - m.died)
	s.atLeast("a's first dispatch after, ms", 10, first)
	s.atMost("a's first dispatch after, ms", 100, first)
	m.after(s, 2100, 7900, 1)
	m.back(s)
}

func accRow11Cut(s *accSheet, v accVariant) {
	m := newLoss(v, 16000, 8, nil)
	s.atLeast("a's commands in a run, before", 100, float64(m.phases(m.a, m.at(time.Second), m.now)[PhaseQuantum]))
	m.die()
	_, _, over := m.use()
	s.holds("a is over at the event", over)
	m.run(50 * time.Millisecond)
	_, _, over = m.use()
	s.holds("a is over 50 ms later", over)
	s.exactly("a's commands in a run, in 50 ms after", 0, float64(m.phases(m.a, m.died, m.now)[PhaseQuantum]))
	s.holds("a's head waits: over-entitlement", m.core().Why(m.a).Reason == OverEntitlement)
	m.after(s, 200, 9800, 8)
}

func accRow11Saturated(s *accSheet, v accVariant) {
	m := newLoss(v, 16000, 1, func(s *Settings) { s.PriorityMode = PriorityOff })
	m.event(s, 0.20)
	m.after(s, 2000, 8000, 1)
}

func accRow12(s *accSheet, v accVariant, mode PriorityMode, a, b float64) {
	const redrive = 300 * time.Millisecond
	m := accModel(v, accNominal, 40, func(s *Settings) { s.PriorityMode = mode })
	first := m.flow(Entitlement{Weight: 1000, Priority: 10})
	m.open(first, 8000, 1, simWork{})
	m.closed(m.flow(Entitlement{Weight: 1000, Priority: 2}), 128, simWork{})
	m.run(3 * time.Second)
	tol := v.tolerance(0.01)
	from := m.at(time.Second)
	s.rates(m, from, m.now, time.Second, []float64{8000, 12000}, tol)
	latency := func() float64 { return meanOf(m.times(first, totalLatency, from, m.now)) }
	s.near("a mean latency before, ms", 2.02, latency(), tol)
	died := m.now
	m.paths(500000, accNominal, redrive)
	m.run(5 * time.Second)
	settled := died + Instant(10*time.Millisecond)
	if v.strict {
		settled += Instant(100 * time.Millisecond) // a hold may leave it unused for T
	}
	s.atLeast("CU/s while what was lost is not sent again", 9900,
		sumOf(m.doneUnits(died, settled, died+Instant(redrive)))/asSeconds(died+Instant(redrive)-settled))
	from = died + Instant(time.Second)
	s.rates(m, from, m.now, time.Second, []float64{a, b}, tol)
	if mode != PriorityOff {
		s.near("a mean latency after, ms", 2.06, latency(), tol)
	}
}

func accRow26(s *accSheet, v accVariant, mode PriorityMode, low, high float64) {
	m := accModel(v, 10000, 20, func(s *Settings) { s.PriorityMode = mode })
	two := m.flow(Entitlement{Weight: 1000, Priority: 2})
	eight := m.flow(Entitlement{Weight: 1000, Priority: 8})
	m.closed(eight, 32, simWork{})
	m.run(2*time.Second + 30*time.Microsecond)
	arrived := m.now
	m.client(two, simWork{}).submit(m, 1)
	m.run(0)
	why := m.core().Why(two)
	m.run(10 * time.Millisecond)
	queue := m.between(arrived, m.now)
	if mode == PriorityAlways {
		s.holds("the command is queued: priority", why.Reason == Priority)
		s.holds("behind prio 8", why.Ahead == eight)
		s.holds("prio 8 is served first", len(queue) > 0 && queue[0].flow == eight)
	} else {
		s.holds("the command is queued: window", why.Reason == WindowFull)
		s.holds("it is next", len(queue) > 0 && queue[0].flow == two)
	}
	m.closed(two, 32, simWork{})
	m.run(5 * time.Second)
	s.rates(m, arrived+Instant(time.Second), m.now, time.Second, []float64{low, high}, 0.01)
}
