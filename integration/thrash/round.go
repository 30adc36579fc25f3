// SPDX-License-Identifier: Apache-2.0

package thrash

import (
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
)

// Run carries out a plan on a fresh bed and fails t unless all that a round demands
// was so, by the judge. The report is of what was done, also if t failed.
func Run(t testing.TB, p *Plan, by Judge) *Report {
	t.Helper()
	t.Logf("%v", p)
	rep := &Report{Seeds: []uint64{p.Seed}}
	begin := time.Now()
	b := newBed(t, p)
	l := b.startLoad(t, by)
	mark := b.g.Events.Mark()
	for i, f := range p.Faults {
		b.suffer(t, f, l.meter, rep)
		if t.Failed() {
			t.Errorf("it was fault %d: %+v", i, f)
			break
		}
	}
	rep.Fences = len(b.g.Events.Since(mark, gate.Kind("fence-done")))
	l.finish(t, rep)
	if bad := b.g.Events.Since(mark, alarming(p.killsGateway())); len(bad) > 0 {
		t.Errorf("the gateway told: %v", bad)
	}
	if rep.Injected() == 0 {
		t.Error("nothing was injected: the round shows nothing")
	}
	if _, err := b.g.Terminate(startLimit); err != nil {
		t.Errorf("the gateway's end: %v", err)
	}
	rep.Duration = time.Since(begin)
	if t.Failed() {
		t.Logf("to repeat it: %s", repeat(p.Seed))
	}
	return rep
}

// alarming matches events that no fault of a round explains. A tgtd that starts
// listens before it has its target, which a login may meet; the stream of events
// breaks when the gateway is killed.
func alarming(kills bool) func(gate.Event) bool {
	return func(e gate.Event) bool {
		switch e.Kind {
		case "path-quarantined":
			return !strings.Contains(e.Message, "target not found")
		case "stream-broken":
			return !kills
		}
		return e.Kind == "flush-lost" || e.Kind == "store-failed"
	}
}

// suffer makes one fault, mends it, and waits until all is well.
func (b *bed) suffer(t testing.TB, f Fault, m *meter, rep *Report) {
	t.Helper()
	if !f.Kind.lasts() {
		<-time.After(f.Lasts / 4)
	}
	mark := b.g.Events.Mark()
	tally := &rep.Kinds[f.Kind]
	m.strike()
	w := b.strike(t, f)
	hit := w.hit == nil || w.hit()
	lost := 0
	if hit {
		lost = b.lost(t, mark, w)
		if f.Kind.lasts() {
			b.also(f)
			<-time.After(f.Lasts)
		}
	}
	if err := w.mend(); err != nil {
		t.Fatalf("mend %v: %v", f.Kind, err)
	}
	b.settle(t)
	wait, gap := m.settled()
	if !hit {
		tally.Missed++
		return
	}
	tally.Injected++
	if lost > 0 || f.Kind == KillGateway {
		tally.Lost++
	}
	tally.Stalls = append(tally.Stalls, Stall{wait, gap})
}
