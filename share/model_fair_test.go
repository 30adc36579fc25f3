// SPDX-License-Identifier: Apache-2.0

package share

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// accSpread is the fairness error of a case (SCHEDULER.md section 7, item 7): in
// windows of 1 s, each 250 ms after the last, over flows that always had
// something queued, err = |S/x - 1| with x from solveAsks.
type accSpread struct {
	max, p99 float64 // of err
	ratio    float64 // the lowest min(S/x)/max(S/x) of a window
	jain     float64 // the lowest Jain index of S/x of a window
	finest   float64 // no flow can be judged finer: the largest 2*Q/x per second
	// Apart: how much of a reservation was missing, and of a limit exceeded, at
	// worst; the longest gap in ms; the LUN's use against what FIFO gives.
	deficit, excess, gap, used float64
}

func (s accSpread) String() string {
	return fmt.Sprintf("fairness: max %.3f%%, p99 %.3f%%, min/max %.4f, Jain %.6f (not finer than %.3f%%); "+
		"reservations short %.2f%%, limits over %.2f%%, longest gap %.1f ms, used %.2f%%",
		100*s.max, 100*s.p99, s.ratio, s.jain, 100*s.finest, 100*s.deficit, 100*s.excess, s.gap, 100*s.used)
}

// worse takes the worse of each figure.
func (s accSpread) worse(o accSpread) accSpread {
	if s == (accSpread{}) {
		return o
	}
	return accSpread{
		max: max(s.max, o.max), p99: max(s.p99, o.p99), ratio: min(s.ratio, o.ratio), jain: min(s.jain, o.jain),
		finest: max(s.finest, o.finest), deficit: max(s.deficit, o.deficit), excess: max(s.excess, o.excess),
		gap: max(s.gap, o.gap), used: min(s.used, o.used),
	}
}

// least is the lowest ratio that is as good as 0.99, seen through finest.
func (s accSpread) least() float64 {
	return min(0.99, (1-s.finest)/(1+s.finest))
}

// fair adds the fairness error from an instant on, before another, with asks in
// the order of the flows; those with a demand of their own are not judged.
func (s *accSheet) fair(m *simModel, from, to Instant, capacity float64, asks []simAsk, quanta ...float64) {
	x := solveAsks(capacity, asks)
	var flat []simAsk
	for _, a := range asks {
		if flat = append(flat, a); len(a.members) > 0 {
			flat = append(flat[:len(flat)-1], a.members...)
		}
	}
	sp := accSpread{ratio: 1, jain: 1}
	var errs []float64
	for _, t := range windowStarts(from, to, time.Second, 250*time.Millisecond) {
		var r []float64
		for i, got := range m.rates(t, t+Instant(time.Second)) {
			a := flat[i]
			if a.reserve > 0 {
				sp.deficit = max(sp.deficit, (min(x[i], a.reserve)-got)/a.reserve)
			}
			if a.limit > 0 {
				sp.excess = max(sp.excess, (got-a.limit)/a.limit)
			}
			if a.demand > 0 {
				continue
			}
			q := 1.0
			if len(quanta) > 0 {
				q = quanta[i]
			}
			sp.finest = max(sp.finest, 2*q/x[i])
			r = append(r, got/x[i])
			errs = append(errs, math.Abs(got/x[i]-1))
		}
		sp.ratio = min(sp.ratio, slices.Min(r)/slices.Max(r))
		sp.jain = min(sp.jain, jain(r))
	}
	slices.Sort(errs)
	sp.max, sp.p99 = percentileOf(errs, 1), percentileOf(errs, 0.99)
	total := 0.0
	for i, u := range m.doneUnits(from-Instant(time.Second), from, to) {
		total += u
		if flat[i].demand == 0 && len(flat) <= 10 {
			sp.gap = max(sp.gap, m.longestGap(FlowID(i), from, to))
		}
	}
	// A FIFO would use all that is asked for, up to the capacity.
	sp.used = total / asSeconds(to-from) / sumOf(x)
	s.spread = append(s.spread, sp)
	s.atLeast("fairness: min/max of S/x in a window", sp.least(), sp.ratio)
}

// jain is the fairness index of Jain, Chiu and Hawe (1984): 1 when all are
// equal, 1/n when one has all.
func jain(v []float64) float64 {
	sum, squares := 0.0, 0.0
	for _, x := range v {
		sum += x
		squares += x * x
	}
	return sum * sum / (float64(len(v)) * squares)
}

func sumOf(v []float64) float64 { return meanOf(v) * float64(len(v)) }
