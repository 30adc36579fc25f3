// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"os"
	"strings"
	"testing"
	"time"

	"pathgate/multipath"
)

// Keys of a LUN rule about groups and failback become the path manager's.
func TestFailbackConfig(t *testing.T) {
	for text, want := range map[string]multipath.Rule{
		"{id: a}":                      {},
		"{id: a, failback: immediate}": {Failback: multipath.FailbackRule{Mode: multipath.FailbackImmediate}},
		"{id: a, failback: manual}":    {Failback: multipath.FailbackRule{Mode: multipath.FailbackManual}},
		"{id: a, failback: 1m}":        {Failback: multipath.FailbackRule{Delay: time.Minute}},
		"{id: a, failback: {}}":        {Failback: multipath.FailbackRule{Mode: multipath.FailbackConditional}},
		"{id: a, failback: {pending-bytes: 1MiB, quiet: 5s}}":       {Failback: multipath.FailbackRule{Mode: multipath.FailbackConditional, Pending: 1 << 20, Quiet: 5 * time.Second}},
		"{id: a, exclusive-preferred: true, failback: {quiet: 1s}}": {ExclusivePreferred: true, Failback: multipath.FailbackRule{Mode: multipath.FailbackConditional, Quiet: time.Second}},
	} {
		r := mustParse(t, "luns: ["+text+"]").LUNs[0]
		got := multipath.Rule{ExclusivePreferred: r.ExclusivePreferred}
		r.Failback.rule(&got)
		if got.Failback != want.Failback || got.ExclusivePreferred != want.ExclusivePreferred {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"{id: a, failback: soon}":                    "1:26: luns[0].failback",
		"{id: a, failback: delayed}":                 "1:26: luns[0].failback",
		"{id: a, failback: 1ms}":                     "10ms to 24h",
		"{id: a, failback: 25h}":                     "10ms to 24h",
		"{id: a, failback: [manual]}":                "luns[0].failback",
		"{id: a, failback: {quiet: long}}":           "1:34: luns[0].failback.quiet",
		"{id: a, failback: {pending-bytes: some}}":   "1:42: luns[0].failback.pending-bytes",
		"{id: a, failback: {pending: 1MiB}}":         "one of pending-bytes, quiet",
		"{id: a, exclusive-preferred: yes-please}":   "true or false",
		"{id: a, failback: {quiet: 1s, quiet: 2s}}":  "is given twice",
		"{id: a}], timeouts: {group-switch: 1ms}, x": "group-switch",
	} {
		_, err := Parse("t.yaml", []byte("luns: ["+text+"]"))
		if strings.Contains(text, "timeouts") {
			_, err = Parse("t.yaml", []byte("timeouts: {group-switch: 1ms}"))
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

// docs/alua.md: its example is right.
func TestALUADocument(t *testing.T) {
	text, err := os.ReadFile("../docs/alua.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "```yaml\n")
	example, _, end := strings.Cut(rest, "```")
	if !ok || !end {
		t.Fatal("no example")
	}
	if rules := mustParse(t, example).LUNs; len(rules) != 4 || rules[3].Failback.Pending != 1<<20 || !rules[3].ExclusivePreferred {
		t.Errorf("got %+v", rules)
	}
}
