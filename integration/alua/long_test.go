// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package alua

import (
	"slices"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/lio"
)

// TestLongProcessorFailover: the group in use becomes standby by the target again and
// again, with the other one on standby too. The target is asked for another one, and
// requests go on: p99 of what they waited for is within 1 s of the pause before the
// move.
func TestLongProcessorFailover(t *testing.T) {
	const cuts = 100
	a := newArray(t)
	g := a.gateway(t, "{"+queue+"}", map[string]string{"group-switch": "10ms"})
	l := startLoad(t, g, a.proxies)
	a.set(t, lio.ActiveOptimized, lio.Standby)
	used(t, g, "0")
	var gone []time.Duration
	for len(gone) < cuts {
		mark := g.Events.Mark()
		a.set(t, lio.Standby, lio.Standby)
		e := g.Events.Wait(t, mark, patience, func(e gate.Event) bool {
			return e.Kind == "group-switch" && e.Attrs["method"] == "set-target-port-groups"
		})
		gone = append(gone, e.Duration())
	}
	l.stop(t)
	slices.Sort(gone)
	t.Logf("%d moves: median %v, p99 %v, longest %v", len(gone), gone[len(gone)/2], gone[len(gone)*99/100], gone[len(gone)-1])
	if p := gone[len(gone)*99/100]; p > 1250*time.Millisecond {
		t.Errorf("p99 of %v without a group, want 250 ms and 1 s at most", p)
	}
}
