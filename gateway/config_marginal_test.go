// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"testing"
	"time"

	"pathgate/multipath"
)

// TestMarginal: a rule begins with what is said for all; nothing said is the
// default, and 0 switches off.
func TestMarginal(t *testing.T) {
	c := mustParse(t, `
marginal: {losses: 3, slow: 0}
timeouts: {checker: 2s, checker-max: 8s}
luns:
  - {id: a, marginal: {losses: 0, window: 10m, errors: 0}}
  - {id: b, marginal: {slow: 10, slow-floor: 1ms}}
`)
	for name, want := range map[string]multipath.MarginalRule{
		"a": {Losses: -1, Window: 10 * time.Minute, Recheck: time.Minute, Interval: 500 * time.Millisecond, Errors: -1, Factor: -1, Floor: 5 * time.Millisecond},
		"b": {Losses: 3, Window: 2 * time.Minute, Recheck: time.Minute, Interval: 500 * time.Millisecond, Errors: 10, Factor: 10, Floor: time.Millisecond},
		"c": {Losses: 3, Window: 2 * time.Minute, Recheck: time.Minute, Interval: 500 * time.Millisecond, Errors: 10, Factor: -1, Floor: 5 * time.Millisecond},
	} {
		r := c.LUNRuleFor(name)
		if got := r.Marginal.rule(); got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
	g := &Gateway{cfg: c}
	if got := g.timers(); got.Check != 2*time.Second || got.Probe != 2*time.Second || got.CheckMax != 8*time.Second {
		t.Errorf("got timers %+v", got)
	}
}
