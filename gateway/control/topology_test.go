// SPDX-License-Identifier: Apache-2.0

package control

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestGroupsOf: paths of one access stand together, the group in use first, then by
// what could be used and by priority.
func TestGroupsOf(t *testing.T) {
	path := func(name, health, access string, used bool) Path {
		return Path{Name: name, Device: "d", Health: health, Access: access, Used: used}
	}
	for _, c := range []struct {
		name  string
		paths []Path
		want  string
	}{
		{"none", nil, ""},
		{"one group", []Path{path("a", "up", "optimized", true), path("b", "down", "optimized", false)}, "optimized 50 active: a b"},
		{
			"in use before better",
			[]Path{path("a", "down", "optimized", false), path("b", "up", "non-optimized", true)},
			"non-optimized 10 active: b; optimized 50 failed: a",
		},
		{
			"usable before failed",
			[]Path{path("a", "down", "optimized", false), path("b", "up", "standby", false)},
			"standby 0 enabled: b; optimized 50 failed: a",
		},
		{"of another device", []Path{{Name: "x", Device: "other", Access: "optimized"}}, ""},
	} {
		var got []string
		for _, g := range groupsOf(&Device{Name: "d"}, c.paths) {
			var names []string
			for _, p := range g.Paths {
				names = append(names, p.Name)
			}
			got = append(got, fmt.Sprintf("%s %d %s: %s", g.Access, g.Priority, g.Status, strings.Join(names, " ")))
		}
		if s := strings.Join(got, "; "); s != c.want {
			t.Errorf("%s: got %q, want %q", c.name, s, c.want)
		}
	}
}

// TestLostPaths: a name stands for a path, an adapter, a portal, its address or a target.
func TestLostPaths(t *testing.T) {
	paths := []Path{
		{Name: "vmhba0:0:1", Device: "a", Adapter: "vmhba0", Portal: "10.0.0.1:3260", Target: "iqn.x:1"},
		{Name: "vmhba1:0:1", Device: "a", Adapter: "vmhba1", Portal: "10.0.0.1:3260", Target: "iqn.x:1"},
		{Name: "vmhba1:1:1", Device: "b", Adapter: "vmhba1", Portal: "[fd00::1]:3260", Target: "iqn.x:2"},
	}
	for _, c := range []struct {
		without []string
		want    map[string][]string
	}{
		{[]string{"vmhba0:0:1"}, map[string][]string{"a": {"vmhba0:0:1"}}},
		{[]string{"vmhba1"}, map[string][]string{"a": {"vmhba1:0:1"}, "b": {"vmhba1:1:1"}}},
		{[]string{"10.0.0.1:3260"}, map[string][]string{"a": {"vmhba0:0:1", "vmhba1:0:1"}}},
		{[]string{"10.0.0.1"}, map[string][]string{"a": {"vmhba0:0:1", "vmhba1:0:1"}}},
		{[]string{"fd00::1"}, map[string][]string{"b": {"vmhba1:1:1"}}},
		{[]string{"[fd00::1]:3260", "vmhba1"}, map[string][]string{"a": {"vmhba1:0:1"}, "b": {"vmhba1:1:1"}}},
		{[]string{"iqn.x:2"}, map[string][]string{"b": {"vmhba1:1:1"}}},
	} {
		got, err := lostPaths(paths, c.without)
		if err != nil {
			t.Errorf("%v: %v", c.without, err)
		}
		for _, d := range []string{"a", "b"} {
			if !slices.Equal(got[d], c.want[d]) {
				t.Errorf("%v: of %s %v, want %v", c.without, d, got[d], c.want[d])
			}
		}
	}
	if _, err := lostPaths(paths, []string{"vmhba0", "vmhba7"}); err == nil || !strings.Contains(err.Error(), "vmhba7: no such adapter, portal, target or path; did you mean vmhba0?") {
		t.Errorf("of an adapter that is not there: %v", err)
	}
}
