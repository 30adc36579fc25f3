// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package alua

import (
	"slices"
	"testing"
	"time"

	"pathgate/integration/detect"
	"pathgate/integration/gate"
	"pathgate/integration/lio"
)

// TestLongProcessorFailover: the group in use becomes standby by the target again and
// again, with the other one on standby too. The target is asked for another one, and
// requests go on: p99 of what they wait for is 1 s from the report that shows it active,
// and of the time without a group 1 s from the pause before the move.
func TestLongProcessorFailover(t *testing.T) {
	const cuts = 100
	a := newArray(t)
	g := a.gateway(t, "{"+queue+"}", map[string]string{"group-switch": "10ms"})
	a.set(t, lio.ActiveOptimized, lio.Standby)
	used(t, g, "0")
	p := gate.StartProbe(0, 16*mib, 8, g.Connect(t, "vm1/root"), g.Connect(t, "vm1/root"))
	t.Cleanup(func() {
		if errs := p.Stop(); len(errs) > 0 {
			t.Errorf("%d requests failed: %v", len(errs), errs[0])
		}
	})
	s := detect.NewStalls(time.Second, time.Second)
	defer s.Stop()
	var gone []time.Duration
	for s.Len() < cuts {
		eventually(t, func() bool { return p.Done() > 100 }, func() { t.Error("the load does not get going") })
		mark := g.Events.Mark()
		a.set(t, lio.Standby, lio.Standby)
		e := g.Events.Wait(t, mark, patience, func(e gate.Event) bool {
			return e.Kind == "group-switch" && e.Attrs["method"] == "set-target-port-groups"
		})
		from, done := s.Now(), p.Done()
		eventually(t, func() bool { return p.Done() > done+20 }, func() { t.Error("the load stands still") })
		if d, n := p.InFlight(e.Time); n > 0 {
			s.Add(from, d, false)
		}
		gone = append(gone, e.Duration())
		if len(gone) > 3*cuts {
			t.Fatalf("%d of %d moves met requests", s.Len(), len(gone))
		}
	}
	text, err := s.Judge()
	t.Logf("measured: requests waited from the report that shows the group active: %s", text)
	if err != nil {
		t.Error(err)
	}
	slices.Sort(gone)
	t.Logf("measured: without a group, %d moves: median %v, p99 %v, longest %v", len(gone), gone[len(gone)/2], gone[len(gone)*99/100], gone[len(gone)-1])
	if p := gone[len(gone)*99/100]; p > 1250*time.Millisecond && !s.Disturbed() {
		t.Errorf("p99 of %v without a group, want 250 ms and 1 s at most", p)
	}
}
