// SPDX-License-Identifier: Apache-2.0

package share

import (
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

// accVariant is how a row is run: as it is, or with something that the row must
// survive (strict mode) or must not (the negative controls).
type accVariant struct {
	strict   bool
	bytes    bool // rates are set in bytes
	ablation ablation
	noSlop   bool   // the limits' clocks may not be ahead
	sum      bool   // a command costs 1 and its bytes
	cores    int    // 0: one
	seed     uint64 // of the arrivals
}

// tolerance is the row's, but 2 % in strict mode.
func (v accVariant) tolerance(tol float64) float64 {
	if v.strict {
		return 0.02
	}
	return tol
}

// accFact is one expectation and what came out. Values are in the unit that what
// ends with.
type accFact struct {
	what           string
	want, got, tol float64 // tol is relative, or for absolute the difference
	relation       accRelation
}

// accRelation is how got has to be to want.
type accRelation uint8

const (
	accNear     accRelation = iota // within tol of want, relative
	accWithin                      // within tol of want, absolute
	accAtMost                      // not above
	accAtLeast                     // not below
	accExactly                     // the same
	accDecision                    // exactly, and got is a truth: 1 or 0
)

// ok tells whether the expectation is met. A value that is not a number never
// meets one.
func (f accFact) ok() bool {
	switch f.relation {
	case accNear:
		return f.error() <= f.tol
	case accWithin:
		return math.Abs(f.got-f.want) <= f.tol
	case accAtMost:
		return f.got <= f.want
	case accAtLeast:
		return f.got >= f.want
	case accExactly, accDecision:
		return f.got == f.want
	}
	return false
}

// error is how far got is from want, relative.
func (f accFact) error() float64 {
	if f.got == f.want {
		return 0
	}
	return math.Abs(f.got-f.want) / math.Abs(f.want)
}

// accHead names the columns of accFact.String.
const accHead = "row/case, expectation                                          expected        got   error  tolerance  ok"

func (f accFact) String() string {
	want, got := fmt.Sprintf("%.5g", f.want), fmt.Sprintf("%.5g", f.got)
	off, tol := "-", ""
	switch f.relation {
	case accNear:
		off, tol = fmt.Sprintf("%.2f%%", 100*f.error()), fmt.Sprintf("%.2f%%", 100*f.tol)
	case accWithin:
		tol = fmt.Sprintf("+-%.4g", f.tol)
	case accAtMost:
		tol = "at most"
	case accAtLeast:
		tol = "at least"
	case accExactly:
		tol = "exact"
	case accDecision:
		want, tol = "yes", "exact"
		if got = "yes"; f.got == 0 {
			got = "no"
		}
	}
	ok := "ok"
	if !f.ok() {
		ok = "FAILED"
	}
	return fmt.Sprintf("%-58s %10s %10s %7s %10s  %s", f.what, want, got, off, tol, ok)
}

// accSheet collects what a row's case has shown.
type accSheet struct {
	facts  []accFact
	spread []accSpread // for the fairness report
}

func (s *accSheet) add(f accFact) { s.facts = append(s.facts, f) }

func (s *accSheet) near(what string, want, got, tol float64) {
	s.add(accFact{what: what, want: want, got: got, tol: tol})
}

func (s *accSheet) within(what string, want, got, tol float64) {
	s.add(accFact{what: what, want: want, got: got, tol: tol, relation: accWithin})
}

func (s *accSheet) atMost(what string, want, got float64) {
	s.add(accFact{what: what, want: want, got: got, relation: accAtMost})
}

func (s *accSheet) atLeast(what string, want, got float64) {
	s.add(accFact{what: what, want: want, got: got, relation: accAtLeast})
}

func (s *accSheet) exactly(what string, want, got float64) {
	s.add(accFact{what: what, want: want, got: got, relation: accExactly})
}

func (s *accSheet) holds(what string, got bool) {
	f := accFact{what: what, want: 1, relation: accDecision}
	if got {
		f.got = 1
	}
	s.add(f)
}

// failed are the expectations that are not met.
func (s *accSheet) failed() []accFact {
	var bad []accFact
	for _, f := range s.facts {
		if !f.ok() {
			bad = append(bad, f)
		}
	}
	return bad
}

// rates expects want CU/s of each flow in every window of length long from an
// instant on, to the larger of tol and 2*Q/want per second of the window, and
// adds the worst window of each. NaN in want: nothing is expected.
func (s *accSheet) rates(m *simModel, from, to Instant, long time.Duration, want []float64, tol float64, quanta ...float64) {
	worst := make([]accFact, len(want))
	for _, t := range windowStarts(from, to, long, long) {
		got := m.rates(t, t+Instant(long))
		for i, w := range want {
			q := 1.0
			if len(quanta) > 0 {
				q = quanta[i]
			}
			f := accFact{
				what: fmt.Sprintf("VM%d, each %v, CU/s", i+1, long),
				want: w, got: got[i], tol: max(tol, 2*q/w/long.Seconds()),
			}
			if w == 0 {
				f.tol = 0
			}
			if worst[i].what == "" || f.error() > worst[i].error() {
				worst[i] = f
			}
		}
	}
	for _, f := range worst {
		if !math.IsNaN(f.want) {
			s.add(f)
		}
	}
}

// accCase is one case of a row of the acceptance table (SCHEDULER.md section 6).
type accCase struct {
	row           int
	name          string
	input, source string
	run           func(*accSheet, accVariant)
	variant       accVariant
}

// title is the case with its variant.
func (c accCase) title() string {
	t := fmt.Sprintf("%02d/%s", c.row, c.name)
	if c.variant.strict {
		t += ", strict"
	}
	if c.variant.bytes {
		t += ", bytes"
	}
	return strings.ReplaceAll(t, " ", "_")
}

// accCases is the table: rows 1-18 and 22-26 of SCHEDULER.md section 6. Rows
// 19-21, and the part of 22 over several gateways, need their exchange.
func accCases() []accCase {
	var all []accCase
	for _, part := range [][]accCase{
		accShareCases(), accQuantumCases(), accFloorCases(), accPathCases(),
		accReserveCases(), accGroupCases(), accDepthCases(), accLimitCases(), accManyCases(),
	} {
		for _, c := range part {
			all = append(all, c)
			if !c.variant.strict && !c.variant.bytes {
				switch c.row {
				case 1, 2, 3, 5, 6, 12:
					c.variant.strict = true
					all = append(all, c)
				case 13, 15:
					c.variant.bytes = true
					all = append(all, c)
				}
			}
		}
	}
	return all
}

// TestAcceptance is the acceptance table in virtual time. With -v, or by
// scripts/share-report, it prints row and case, what is expected, what came
// out, the error, the tolerance, and whether it holds.
func TestAcceptance(t *testing.T) {
	var facts, bad int
	var worst accSpread
	fmt.Fprintf(t.Output(), "| %s\n", accHead)
	for _, c := range accCases() {
		t.Run(c.title(), func(t *testing.T) {
			var s accSheet
			c.run(&s, c.variant)
			printSheet(t.Output(), c, &s)
			if len(s.facts) == 0 {
				t.Error("nothing was judged")
			}
			for _, f := range s.failed() {
				t.Errorf("%s: got %g, want %g", f.what, f.got, f.want)
			}
			facts, bad = facts+len(s.facts), bad+len(s.failed())
			for _, f := range s.spread {
				worst = worst.worse(f)
			}
		})
	}
	if worst != (accSpread{}) {
		fmt.Fprintf(t.Output(), "| worst of all: %v\n", worst)
	}
	fmt.Fprintf(t.Output(), "| %d expectations, %d not met\n", facts, bad)
}

// TestAcceptanceSeeds: the rows on the edge of what is asked for do not hold by
// the choice of the instants at which commands arrive.
func TestAcceptanceSeeds(t *testing.T) {
	for _, c := range accCases() {
		switch c.row {
		case 11, 12:
			for seed := range uint64(2) {
				var s accSheet
				c.variant.seed = seed + 1
				c.run(&s, c.variant)
				for _, f := range s.failed() {
					t.Errorf("%s, seed %d: %v", c.title(), seed+1, f)
				}
			}
		}
	}
}

// printSheet writes the case as lines that begin with a bar.
func printSheet(w io.Writer, c accCase, s *accSheet) {
	fmt.Fprintf(w, "| %s: %s [%s]\n", c.title(), c.input, c.source)
	for _, f := range s.facts {
		fmt.Fprintf(w, "|   %v\n", f)
	}
	for _, f := range s.spread {
		fmt.Fprintf(w, "|   %v\n", f)
	}
}

// accModel makes the model of a row: a LUN of capacity CU/s with window depth (0: by
// latency). edit changes more settings.
func accModel(v accVariant, capacity int64, depth Unit, edit func(*Settings)) *simModel {
	return accOn(v, simFIFO(capacity), capacity, depth, edit)
}

func accOn(v accVariant, dev simDevice, capacity int64, depth Unit, edit func(*Settings)) *simModel {
	s := DefaultSettings()
	s.Capacity, s.Depth = capacity, depth
	if v.strict {
		s.Mode = Strict
	}
	if edit != nil {
		edit(&s)
	}
	m := newSim(s, dev, max(1, v.cores))
	m.seed = v.seed
	for _, h := range m.hosts {
		h.core.ablation = v.ablation
		if v.noSlop {
			h.core.set.LimitSlop = 0 // not a valid setting
		}
	}
	return m
}

// share is a flow with weight w.
func (m *simModel) share(w uint32) FlowID {
	return m.flow(Entitlement{Weight: w, Priority: DefaultPriority})
}
