// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"os"
	"strings"
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
  - {id: a, marginal: {losses: 0, request-errors: 0, window: 10m, errors: 0}}
  - {id: b, marginal: {slow: 10, slow-floor: 1ms}}
`)
	for name, want := range map[string]multipath.MarginalRule{
		"a": {Losses: -1, Faults: -1, Window: 10 * time.Minute, Recheck: time.Minute, Interval: 500 * time.Millisecond, Errors: -1, Factor: -1, Floor: 5 * time.Millisecond},
		"b": {Losses: 3, Faults: 20, Window: 2 * time.Minute, Recheck: time.Minute, Interval: 500 * time.Millisecond, Errors: 10, Factor: 10, Floor: time.Millisecond},
		"c": {Losses: 3, Faults: 20, Window: 2 * time.Minute, Recheck: time.Minute, Interval: 500 * time.Millisecond, Errors: 10, Factor: -1, Floor: 5 * time.Millisecond},
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

// TestDetectionDocument: docs/detection.md tells of every key with its default, and
// its example is right.
func TestDetectionDocument(t *testing.T) {
	text := string(must[[]byte](t)(os.ReadFile("../docs/detection.md")))
	_, block, _ := strings.Cut(text, "```yaml\n")
	block, _, ok := strings.Cut(block, "```")
	if !ok {
		t.Fatal("no example")
	}
	c := mustParse(t, block)
	if c.Marginal != defaultMarginal() || c.Timeouts != DefaultTimeouts() {
		t.Errorf("the example is not the defaults: %+v", c.Marginal)
	}
	want := defaultMarginal()
	want.Slow = 10
	if got := c.LUNRuleFor("any").Marginal; got != want {
		t.Errorf("the example's rule: %+v", got)
	}
	for _, key := range []string{"losses", "request-errors", "window", "recheck", "interval", "errors", "slow", "slow-floor"} {
		if !strings.Contains(block, "\n  "+key+":") {
			t.Errorf("%s is not in the example", key)
		}
	}
	for _, h := range []multipath.Health{multipath.Unknown, multipath.Up, multipath.Marginal, multipath.Down, multipath.Disabled, multipath.Quarantined} {
		if !strings.Contains(text, "\n| "+h.String()+" | ") {
			t.Errorf("no row for a path that is %v", h)
		}
	}
}
