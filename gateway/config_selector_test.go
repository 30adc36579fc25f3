// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"pathgate/multipath"
)

// TestConfigSelector: a name alone, as before there were options; a mapping; nothing.
func TestConfigSelector(t *testing.T) {
	for _, c := range []struct {
		text string
		want multipath.Selection
	}{
		{`{id: x}`, multipath.Selection{Name: "service-time"}},
		{`{id: x, selector: {}}`, multipath.Selection{Name: "service-time"}},
		{`{id: x, selector: round-robin}`, multipath.Selection{Name: "round-robin"}},
		{`{id: x, selector: "per-vm"}`, multipath.Selection{Name: "per-vm"}},
		{`{id: x, selector: {name: round-robin, iops: 8, bytes: 1MiB}}`, multipath.Selection{
			Name: "round-robin", SelectorOptions: multipath.SelectorOptions{IOPS: 8, Bytes: 1 << 20},
		}},
		{`{id: x, selector: {name: latency, resample: 5s}}`, multipath.Selection{
			Name: "latency", SelectorOptions: multipath.SelectorOptions{Resample: 5 * time.Second},
		}},
		{`{id: x, selector: {name: fixed, preferred: "vmhba1:*"}}`, multipath.Selection{
			Name: "fixed", SelectorOptions: multipath.SelectorOptions{Preferred: "vmhba1:*"},
		}},
		{`{id: x, selector: {name: isolate-low, below: 3, paths: 2, settle: 1s}}`, multipath.Selection{
			Name: "isolate-low", SelectorOptions: multipath.SelectorOptions{Below: 3, Paths: 2, Settle: time.Second},
		}},
		{`{id: x, selector: {use-non-optimized: true, weights: {"vmhba1:0:1": 7, "vmhba0:*": 2}}}`, multipath.Selection{
			Name: "service-time", UseNonOptimized: true,
			Weights: []multipath.PathWeight{{Path: "vmhba1:0:1", Weight: 7}, {Path: "vmhba0:*", Weight: 2}},
		}},
	} {
		got := mustParse(t, "luns: ["+c.text+"]").LUNRuleFor("x").Selector
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s:\n%s", c.text, diff)
		}
		if err := got.Validate(); err != nil {
			t.Errorf("%s: %v", c.text, err)
		}
	}
}

// TestSelectorDocument: docs/selectors.md tells of every selector and option, and its
// example is right.
func TestSelectorDocument(t *testing.T) {
	text := string(must[[]byte](t)(os.ReadFile("../docs/selectors.md")))
	words := append(multipath.SelectorNames(), "weights", "use-non-optimized")
	for _, w := range append(words, optionKeys()...) {
		if !strings.Contains(text, "`"+w+"`") {
			t.Errorf("nothing about %s", w)
		}
	}
	_, rest, _ := strings.Cut(text, "```yaml\n")
	example, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("no example")
	}
	seen := map[string]bool{}
	for _, r := range mustParse(t, example).LUNs {
		seen[r.Selector.Name] = true
	}
	if len(seen) != len(multipath.SelectorNames()) {
		t.Errorf("the example has only %v", seen)
	}
}
