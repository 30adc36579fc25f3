// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package sidebyside

import (
	"encoding/json"
	"flag"
	"os"
	"slices"
	"testing"
	"time"

	"pathgate/integration/sidebyside/load"
)

var (
	times  = flag.Int("times", 1, "of TestTable: multiplies the number of cuts")
	only   = flag.String("only", "", "of TestTable: the one profile to measure")
	rounds = flag.String("rounds", "", "of TestTable: file of earlier rounds, which this run's are added to")
)

func longest(r load.Report) time.Duration { return r.Longest }

func profile(t *testing.T, name string) Profile {
	t.Helper()
	i := slices.IndexFunc(Profiles(), func(p Profile) bool { return p.Name == name })
	if i < 0 {
		t.Fatalf("there is no profile %s", name)
	}
	return Profiles()[i]
}

// TestLongSideBySide: a path is cut in four ways beneath both contenders. What both
// find by silence alone, the gateway has over long before dm-multipath with the timers
// that are advised.
func TestLongSideBySide(t *testing.T) {
	for name, cuts := range map[string][]Kind{
		"tuned":   {Reset, BlackHole, Stopped, BlackHole},
		"default": {Reset, LinkDown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := New(t, profile(t, name))
			t.Logf("set up:\n%s", b.Settings(t))
			var list []Round
			for _, k := range cuts {
				list = append(list, b.Cut(t, k))
			}
			ours, theirs := silent(list, Pathgate), silent(list, DM)
			if len(ours) > 0 && Median(ours) >= Median(theirs) {
				t.Errorf("requests wait %v with the gateway, %v with dm-multipath", ours, theirs)
			}
		})
	}
}

// silent are the longest waits at cuts that nothing but silence tells of, in order.
func silent(rounds []Round, contender string) []time.Duration {
	list := Values(rounds, "", BlackHole, contender, longest)
	list = append(list, Values(rounds, "", Stopped, contender, longest)...)
	slices.Sort(list)
	return list
}

// TestTable measures all profiles and prints the tables of docs/side-by-side.md.
func TestTable(t *testing.T) {
	var list []Round
	if *rounds != "" {
		if b, err := os.ReadFile(*rounds); err == nil {
			if err := json.Unmarshal(b, &list); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, p := range Profiles() {
		if *only != "" && p.Name != *only {
			continue
		}
		t.Run(p.Name, func(t *testing.T) {
			b := New(t, p)
			t.Logf("set up:\n%s", b.Settings(t))
			for range p.Rounds * *times {
				for _, k := range Kinds() {
					list = append(list, b.Cut(t, k))
					save(t, list)
				}
			}
			if r := list[len(list)-1].Reports[DM]; r.Errors > 0 {
				t.Logf("measured: %s: %d requests to dm-multipath failed: %s", p.Name, r.Errors, r.Failed)
			}
		})
	}
	t.Logf("measured:\n\n%s", Table(list))
}

// save writes the rounds to their file, if one is given.
func save(t *testing.T, list []Round) {
	t.Helper()
	if *rounds == "" {
		return
	}
	b, err := json.Marshal(list)
	if err == nil {
		err = os.WriteFile(*rounds, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
