// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s", name, got)
	}
}

func TestHealthMatrix(t *testing.T) {
	var b strings.Builder
	b.WriteString("# state, event: state after it; = where it stays\n")
	for h := range healths {
		for e := range healthEvents {
			n, changed := nextHealth(Health(h), HealthEvent(e))
			to := n.String()
			if !changed {
				to = "="
			}
			if changed != (n != Health(h)) {
				t.Errorf("%v, %v: changed is %v", Health(h), HealthEvent(e), changed)
			}
			fmt.Fprintf(&b, "%-12v %-8v %s\n", Health(h), HealthEvent(e), to)
		}
	}
	golden(t, "health.txt", b.String())
}

func TestAccessMatrix(t *testing.T) {
	var b strings.Builder
	b.WriteString("# state, event: state after it; = where it stays\n")
	for a := range accesses {
		for e := range accessEvents {
			n, changed := nextAccess(Access(a), AccessEvent(e))
			to := n.String()
			if !changed {
				to = "="
			}
			fmt.Fprintf(&b, "%-14v %-22v %s\n", Access(a), AccessEvent(e), to)
		}
	}
	golden(t, "access.txt", b.String())
}

// Whatever happens, a path carries I/O only in two states, and none of those is
// reached without a proof, from a state that does not carry.
func TestOnlyAProofReinstates(t *testing.T) {
	for h := range healths {
		for e := range healthEvents {
			n, _ := nextHealth(Health(h), HealthEvent(e))
			if n.Carries() && !Health(h).Carries() && HealthEvent(e) != EventProved {
				t.Errorf("%v, %v leads to %v", Health(h), HealthEvent(e), n)
			}
		}
	}
}

func TestNames(t *testing.T) {
	for h := range healths {
		if healthNames[h] == "" {
			t.Errorf("health %d has no name", h)
		}
	}
	for k := PathUp; k <= ComponentBack; k++ {
		if strings.Contains(k.String(), "(") || k.String() == "" {
			t.Errorf("event %d has no name", k)
		}
	}
	for _, c := range []struct {
		name string
		ok   bool
	}{
		{"vmhba0:0:2", true},
		{"a:b:3:4", true},
		{"vmhba0:0", false},
		{"vmhba0:x:1", false},
		{"vmhba0:1:65536", false},
		{":1:2", false},
		{"", false},
	} {
		if _, _, _, ok := parsePath(c.name); ok != c.ok {
			t.Errorf("parsePath(%q): ok %v", c.name, ok)
		}
	}
}
