// SPDX-License-Identifier: Apache-2.0

package share

import (
	"math"
	"slices"
	"testing"
	"time"
)

// traceChange is what may be changed of a trace without changing what comes of
// it.
type traceChange struct {
	shift Instant // in time
	idle  int     // more flows, which never ask for anything
	scale uint32  // of all shares; 0: 1
	even  bool    // shares divide 2^32
}

// traceOutcome is what came of one Step.
type traceOutcome struct {
	dispatched []loopServed
	returned   []uint64
	records    []Explain
	wake       Instant
}

// runAlone runs the trace in data, changed, on a core.
func runAlone(data []byte, change traceChange) (all []traceOutcome) {
	t := newTrace(data)
	t.even = t.even || change.even
	t.scale = max(1, change.scale)
	c, err := NewCore(t.set, t.now+change.shift)
	if err != nil {
		panic(err)
	}
	seq := uint64(0)
	for n := 0; n < 3 || !t.done(); n++ {
		var s traceStep
		switch n {
		case 0:
			s = t.prelude()
		case 1:
			s = t.first()
			for i := range change.idle {
				e := DefaultEntitlement()
				s.in = append(s.in, Event{Kind: AddFlow, Flow: FlowID(100 + i), Entitlement: &e})
			}
		default:
			s = t.next()
		}
		for i := range s.in {
			if s.in[i].Kind == Stall {
				s.in[i].Until += change.shift
			}
		}
		out, wake := c.Step(s.now+change.shift, s.in, make([]Dispatch, 0, s.room))
		o := traceOutcome{wake: wake}
		if wake > 0 {
			o.wake -= change.shift
		}
		for _, d := range out {
			o.dispatched = append(o.dispatched, loopServed{s.now, d.Flow, d.Cost, d.Phase, d.Cmd.Tag})
		}
		for _, r := range c.Returned() {
			o.returned = append(o.returned, r.Tag)
		}
		for _, e := range c.Explained(nil, seq) {
			seq = e.Seq
			e.Time -= change.shift
			if e.Until != 0 {
				e.Until -= change.shift
			}
			o.records = append(o.records, e)
		}
		all = append(all, o)
		t.settle(out, c.Returned(), o.wake)
	}
	return all
}

// sameRun compares two runs, and tells where they part.
func sameRun(t *testing.T, want, got []traceOutcome) bool {
	t.Helper()
	for i := range min(len(want), len(got)) {
		w, g := want[i], got[i]
		if !slices.Equal(w.dispatched, g.dispatched) || !slices.Equal(w.returned, g.returned) ||
			!slices.Equal(w.records, g.records) || w.wake != g.wake {
			t.Logf("call %d:\n got %+v\nwant %+v", i, g, w)
			return false
		}
	}
	return len(want) == len(got)
}

func metamorphic(t *testing.T, base, change traceChange) {
	t.Helper()
	served := 0
	for seed := range uint64(200) {
		data := randomBytes(seed+9000, 300+int(seed))
		want := runAlone(data, base)
		if !sameRun(t, want, runAlone(data, change)) {
			t.Fatalf("seed %d: another run", seed)
		}
		for _, o := range want {
			served += len(o.dispatched)
		}
	}
	if served < 1000 {
		t.Errorf("%d commands dispatched: the traces are empty", served)
	}
}

// TestShiftedInTime: slots begin at multiples of T/2, so the shift is one of all
// the T that traces have.
func TestShiftedInTime(t *testing.T) {
	metamorphic(t, traceChange{}, traceChange{shift: 12345 * Instant(33*time.Second)})
}

func TestIdleFlowsAdded(t *testing.T) {
	metamorphic(t, traceChange{}, traceChange{idle: 50})
}

// TestSharesScaled: all shares times 4, where both divide 2^32.
func TestSharesScaled(t *testing.T) {
	metamorphic(t, traceChange{even: true}, traceChange{even: true, scale: 4})
}

// TestSharesScaledUnevenly: times 3, where they do not: within P2.
func TestSharesScaledUnevenly(t *testing.T) {
	weights := []uint32{1000, 700, 33, 5000}
	run := func(k uint32) (units [4]float64) {
		l := newLoop(t, 10000, 16, nil)
		for i, w := range weights {
			l.add(FlowID(i), Entitlement{Weight: k * w}, loopLoad{bytes: 4096 << i, depth: 40})
		}
		l.run(Instant(5 * time.Second))
		for _, s := range l.log {
			units[s.flow] += float64(s.cost)
		}
		return units
	}
	a, b := run(1), run(3)
	for i := range weights {
		for j := range i {
			wi, wj := float64(weights[i]), float64(weights[j])
			bound := 2 * (float64(int(1)<<i)/wi + float64(int(1)<<j)/wj) * (1 + 1e-3)
			if d := math.Abs((a[i]/wi - a[j]/wj) - (b[i]/wi - b[j]/wj)); d > bound {
				t.Errorf("flows %d and %d: S/w differ by %g more, at most %g", i, j, d, bound)
			}
		}
	}
}

// TestConnections: the commands of one VM over k connections are one flow: the
// same order, whatever k.
func TestConnections(t *testing.T) {
	run := func(k int) []loopServed {
		l := newLoop(t, 10000, 16, nil)
		l.add(0, DefaultEntitlement(), loopLoad{bytes: 8192, depth: 32})
		l.add(1, DefaultEntitlement(), loopLoad{bytes: 4096, depth: 32})
		l.flows[0].depth = 0
		for i := range k { // k connections, 24/k commands each, of flow 0
			c := *l.flows[0]
			c.depth = 24 / k
			c.rand = l.flows[0].rand
			if i > 0 {
				l.flows = slices.Insert(l.flows, 0, &c)
			} else {
				l.flows[0] = &c
			}
		}
		l.run(Instant(time.Second))
		for i := range l.log {
			l.log[i].tag = 0 // each connection has its own
		}
		return l.log
	}
	want := run(1)
	for _, k := range []int{2, 3, 8} {
		if got := run(k); !slices.Equal(got, want) {
			t.Errorf("%d connections: another order", k)
		}
	}
}
