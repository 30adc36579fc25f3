// SPDX-License-Identifier: Apache-2.0

package share

import (
	"math"
	"slices"
	"sort"
	"time"
)

// between gives the dispatches from an instant on, before another.
func (m *simModel) between(from, to Instant) []simIO {
	i := sort.Search(len(m.log), func(i int) bool { return m.log[i].sent >= from })
	j := sort.Search(len(m.log), func(i int) bool { return m.log[i].sent >= to })
	return m.log[i:j]
}

// units gives the CU dispatched for each flow from an instant on, before another.
func (m *simModel) units(from, to Instant) []float64 {
	u := make([]float64, len(m.flows))
	log := m.between(from, to)
	for i := range log { // not a copy of each
		io := &log[i]
		u[io.flow] += float64(io.cost)
	}
	return u
}

// rates is units for a second.
func (m *simModel) rates(from, to Instant) []float64 {
	u := m.units(from, to)
	for i := range u {
		u[i] /= asSeconds(to - from)
	}
	return u
}

// doneUnits gives the CU of each flow that completed from an instant on, before
// another, of what was dispatched from since on.
func (m *simModel) doneUnits(since, from, to Instant) []float64 {
	u := make([]float64, len(m.flows))
	log := m.between(since, math.MaxInt64)
	for i := range log {
		io := &log[i]
		if io.done >= from && io.done < to {
			u[io.flow] += float64(io.cost)
		}
	}
	return u
}

// simTime is what part of a command's life is looked at, in ms.
type simTime func(*simIO) float64

func gatewayWait(io *simIO) float64   { return asMillis(io.sent - io.arrived) }
func deviceLatency(io *simIO) float64 { return asMillis(io.done - io.sent) }
func totalLatency(io *simIO) float64  { return asMillis(io.done - io.arrived) }

// times gives, sorted, the part of the life of f's commands that arrived from an
// instant on, before another, and have completed. NoFlow: of all.
func (m *simModel) times(f FlowID, part simTime, from, to Instant) []float64 {
	var all []float64
	log := m.between(from, math.MaxInt64)
	for i := range log {
		io := &log[i]
		if (f == NoFlow || io.flow == f) && io.arrived >= from && io.arrived < to && io.done != 0 {
			all = append(all, part(io))
		}
	}
	slices.Sort(all)
	return all
}

// longestGap is the longest time, in ms, in which f was not dispatched.
func (m *simModel) longestGap(f FlowID, from, to Instant) float64 {
	last, gap := from, Instant(0)
	log := m.between(from, to)
	for i := range log {
		io := &log[i]
		if io.flow == f {
			gap = max(gap, io.sent-last)
			last = io.sent
		}
	}
	return asMillis(max(gap, to-last))
}

// phases counts the dispatches of f by phase.
func (m *simModel) phases(f FlowID, from, to Instant) [phases]int {
	var n [phases]int
	for _, io := range m.between(from, to) {
		if io.flow == f {
			n[io.phase]++
		}
	}
	return n
}

// runsOf gives the lengths of the uninterrupted runs of flows, in order, without the
// first and the last, which may be cut off.
func runsOf(log []simIO) (flows []FlowID, lengths []int) {
	for i, io := range log {
		if i > 0 && log[i-1].flow == io.flow {
			lengths[len(lengths)-1]++
			continue
		}
		flows, lengths = append(flows, io.flow), append(lengths, 1)
	}
	if len(flows) < 3 {
		return nil, nil
	}
	return flows[1 : len(flows)-1], lengths[1 : len(lengths)-1]
}

func asSeconds(d Instant) float64 { return float64(d) / 1e9 }
func asMillis(d Instant) float64  { return float64(d) / 1e6 }

func meanOf(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// percentileOf sorted values is the lowest that p (0-1) of them do not exceed.
func percentileOf(v []float64, p float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	return v[max(0, int(math.Ceil(p*float64(len(v))))-1)]
}

// windowStarts gives the starts of windows of length long within [from, to), each
// step after the last.
func windowStarts(from, to Instant, long, step time.Duration) []Instant {
	var at []Instant
	for t := from; t+Instant(long) <= to; t += Instant(step) {
		at = append(at, t)
	}
	return at
}
