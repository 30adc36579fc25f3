// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"pathgate/gateway/control"
	"pathgate/multipath"
)

func maskRule(number int, keys string) multipath.ClaimRule {
	r, err := multipath.ParseClaimRule(fmt.Sprintf("%d mask %s", number, keys))
	if err != nil {
		panic(err)
	}
	return r
}

func mustClaimRules(t *testing.T, rules ...multipath.ClaimRule) multipath.ClaimRules {
	t.Helper()
	return must[multipath.ClaimRules](t)(multipath.NewClaimRules(rules...))
}

func TestStoreClaimRules(t *testing.T) {
	s := openStore(t, t.TempDir())
	want := []multipath.ClaimRule{maskRule(9, `vendor="A \"B" lun=0-7`), maskRule(65534, "path=*"), maskRule(100, "portal=10.0.0.1")}
	for _, r := range want {
		if err := s.PutClaimRule(r); err != nil {
			t.Fatal(err)
		}
	}
	s = reopen(t, s)
	got := must[[]multipath.ClaimRule](t)(s.ClaimRules())
	if !slices.Equal(got, []multipath.ClaimRule{want[0], want[2], want[1]}) { // by number
		t.Errorf("got %v, want %v", got, want)
	}
	if err := s.RemoveClaimRules(9, 65534, 5); err != nil {
		t.Fatal(err)
	}
	if got := must[[]multipath.ClaimRule](t)(s.ClaimRules()); len(got) != 1 || got[0] != want[2] {
		t.Errorf("after removal: %v", got)
	}
	if err := s.update(func(c *change) error { return put(c, bucketClaims, "00200", want[2]) }); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ClaimRules(); !errors.Is(err, ErrStoreCorrupt) {
		t.Errorf("a rule under another's number: %v", err)
	}
}

// TestStoreWithoutClaimRules: a state file of the version before gets its bucket.
func TestStoreWithoutClaimRules(t *testing.T) {
	s := openStore(t, t.TempDir())
	if err := s.update(func(c *change) error {
		c.m.Schema = 3
		return c.tx.DeleteBucket([]byte(bucketClaims))
	}); err != nil {
		t.Fatal(err)
	}
	s = reopen(t, s)
	if err := s.PutClaimRule(maskRule(1, "lun=5")); err != nil {
		t.Fatal(err)
	}
	if err := s.view(func(tx *bbolt.Tx) error { return s.checkRecords() }); err != nil {
		t.Error(err)
	}
}

const claimConfig = `
adapters: [{name: vmhba0, address: 127.0.0.1}]
targets: [{portals: [127.0.0.1]}]
claim-rules:
  - {number: 100, action: mask, lun: 5, portal: 127.0.0.1}
  - {number: 200, action: use, vendor: ACME}
`

// TestClaims: rules of both kinds by number; a change is kept only if it is let, and
// what the configuration has cannot be changed.
func TestClaims(t *testing.T) {
	s := openStore(t, t.TempDir())
	cfg := mustParse(t, claimConfig)
	c := must[*Claims](t)(NewClaims(cfg, s))
	yes := func(_, _ multipath.ClaimRules) error { return nil }
	var applied []multipath.ClaimRules
	apply := func(r multipath.ClaimRules) { applied = append(applied, r) }
	numbers := func() string {
		var list []string
		for _, r := range c.Rules().All() {
			list = append(list, fmt.Sprint(r.Number))
		}
		return strings.Join(list, " ")
	}
	if err := c.Add(maskRule(150, "lun=6"), yes, apply); err != nil || numbers() != "100 150 200" || !c.Added(150) || c.Added(100) {
		t.Errorf("Add: %v; %s", err, numbers())
	}
	no := errors.New("no")
	if err := c.Add(maskRule(160, "lun=6"), func(before, after multipath.ClaimRules) error {
		if len(before.All()) != 3 || len(after.All()) != 4 {
			t.Errorf("judged %v and %v", before, after)
		}
		return no
	}, apply); !errors.Is(err, no) || numbers() != "100 150 200" {
		t.Errorf("Add that is refused: %v; %s", err, numbers())
	}
	for name, err := range map[string]error{
		"of a number in use":          c.Add(maskRule(150, "lun=7"), yes, apply),
		"of the configuration's":      c.Add(maskRule(200, "lun=7"), yes, apply),
		"of the default rule":         c.Add(multipath.ClaimRule{Number: 65535, Action: multipath.ClaimMask, Match: multipath.ClaimMatch{Path: "*"}}, yes, apply),
		"removal of the file's":       c.Remove(100, yes, apply),
		"removal of one that is none": c.Remove(7, yes, apply),
	} {
		if err == nil || len(applied) != 1 {
			t.Errorf("%s: %v, applied %d times", name, err, len(applied))
		}
	}
	if err := c.Remove(multipath.DefaultClaimRule, yes, apply); err == nil || !strings.Contains(err.Error(), "stands behind all rules") {
		t.Errorf("removal of the default rule: %v", err)
	}
	s = reopen(t, s)
	c = must[*Claims](t)(NewClaims(cfg, s))
	if numbers() != "100 150 200" {
		t.Errorf("after a restart: %s", numbers())
	}
	if err := c.Remove(150, yes, apply); err != nil || numbers() != "100 200" {
		t.Errorf("Remove: %v; %s", err, numbers())
	}
}

// TestClaimsInBoth: a rule that comes to stand in the file too is the file's from then
// on; another one of its number is refused, with its place.
func TestClaimsInBoth(t *testing.T) {
	s := openStore(t, t.TempDir())
	if err := errors.Join(s.PutClaimRule(maskRule(100, "lun=5 portal=127.0.0.1:3260")), s.PutClaimRule(maskRule(300, "lun=7"))); err != nil {
		t.Fatal(err)
	}
	c := must[*Claims](t)(NewClaims(mustParse(t, claimConfig), s))
	if c.Added(100) || !c.Added(300) {
		t.Error("whose rules these are")
	}
	if kept := must[[]multipath.ClaimRule](t)(s.ClaimRules()); len(kept) != 1 || kept[0].Number != 300 {
		t.Errorf("kept %v", kept)
	}
	if err := s.PutClaimRule(maskRule(200, "lun=7")); err != nil {
		t.Fatal(err)
	}
	_, err := NewClaims(mustParse(t, claimConfig), s)
	if keys := faultKeys(t, err); len(keys) != 1 || keys[0] != "6 claim-rules[1].number" || !strings.Contains(err.Error(), `"200 mask lun=7"`) {
		t.Errorf("%v", err)
	}
}

func TestClaimWarnings(t *testing.T) {
	var got []string
	for _, f := range mustParse(t, `
adapters: [{name: vmhba0, address: 127.0.0.1}]
targets: [{portals: [127.0.0.1], lun-range: 0-99}]
claim-rules:
  - {number: 10, action: use, lun: 0-9}
  - {number: 30, action: mask, lun: 100-200}
  - {number: 20, action: mask, path: "vmhba0:0:5"}
  - {number: 40, action: mask, adapter: vmhba7}
  - {number: 50, action: mask, adapter: "vmhba*", vendor: A}
`).Warnings() {
		got = append(got, f.Error())
	}
	want := []string{
		`t.yaml:6:37: claim-rules[1].lun: "100-200" rule 30 never decides: no target's lun-range has such a LUN`,
		`t.yaml:7:5: claim-rules[2]: rule 20 never decides: what it matches is matched before by rule 10`,
		`t.yaml:8:41: claim-rules[3].adapter: "vmhba7" rule 40 never decides: there is no such adapter`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// claimedPath is a path of a device of ACME, used by vm1/root.
func claimedPath(name, device string, usable bool) multipath.ClaimedPath {
	adapter, _, _ := strings.Cut(name, ":")
	p := multipath.ClaimedPath{Device: device, Usable: usable, Health: "up"}
	p.Adapter, p.Path, p.LUN, p.Known, p.Vendor, p.Identity = adapter, name, 1, true, "ACME", "naa."+device
	return p
}

func testJudge(paths ...multipath.ClaimedPath) *claimJudge {
	return &claimJudge{
		paths: paths, rule: (&adminView{cfg: &Config{}}).showRule,
		users: func(names []string) []control.RuleDisk {
			if slices.Contains(names, "a") {
				return []control.RuleDisk{{Name: "vm1/root", VM: "vm1", Connections: 2}}
			}
			return nil
		},
	}
}

// TestClaimCheck: what a change takes from devices and their disks.
func TestClaimCheck(t *testing.T) {
	up := func(name, device string) multipath.ClaimedPath { return claimedPath(name, device, true) }
	down := func(name, device string) multipath.ClaimedPath { return claimedPath(name, device, false) }
	masked := func(p multipath.ClaimedPath, rule int) multipath.ClaimedPath {
		p.Masked, p.Usable = rule, false
		return p
	}
	use := multipath.ClaimRule{Number: 1, Action: multipath.ClaimUse, Match: multipath.ClaimMatch{Adapter: "v0"}}
	unknown := masked(multipath.ClaimedPath{}, 1)
	unknown.Path, unknown.Adapter = "v0:9:9", "v0"
	for _, tt := range []struct {
		name          string
		paths         []multipath.ClaimedPath
		before, after []multipath.ClaimRule
		want          string
	}{
		{"nothing", []multipath.ClaimedPath{up("v0:0:1", "a")}, nil, nil, ""},
		{"one of three", []multipath.ClaimedPath{up("v0:0:1", "a"), up("v1:0:1", "a"), up("v1:1:1", "a")}, nil, []multipath.ClaimRule{maskRule(1, "adapter=v0")}, "-v0:0:1 a 3>2"},
		{"one of two", []multipath.ClaimedPath{up("v0:0:1", "a"), up("v1:0:1", "a")}, nil, []multipath.ClaimRule{maskRule(1, "adapter=v0")}, "-v0:0:1 a 2>1 redundancy"},
		{"the usable one of two", []multipath.ClaimedPath{up("v0:0:1", "a"), down("v1:0:1", "a")}, nil, []multipath.ClaimRule{maskRule(1, "adapter=v0")}, "-v0:0:1 a 2>1 last path !"},
		{"the one that is down", []multipath.ClaimedPath{up("v0:0:1", "a"), down("v1:0:1", "a")}, nil, []multipath.ClaimRule{maskRule(1, "adapter=v1")}, "-v1:0:1 a 2>1"},
		{"all, none usable", []multipath.ClaimedPath{down("v0:0:1", "a")}, nil, []multipath.ClaimRule{maskRule(1, "vendor=A*")}, "-v0:0:1 a 1>0 last path !"},
		{"of nobody", []multipath.ClaimedPath{up("v0:0:1", "b")}, nil, []multipath.ClaimRule{maskRule(1, "vendor=A*")}, "-v0:0:1 b 1>0 last path"},
		{"two devices", []multipath.ClaimedPath{up("v0:0:1", "a"), up("v0:0:2", "b")}, nil, []multipath.ClaimRule{maskRule(1, "path=*")}, "-v0:0:1 -v0:0:2 a 1>0 last path ! b 1>0 last path"},
		{"the end of a mask", []multipath.ClaimedPath{masked(up("v0:0:1", "a"), 1)}, []multipath.ClaimRule{maskRule(1, "lun=1")}, nil, "+v0:0:1"},
		{"the end of a use", []multipath.ClaimedPath{up("v0:0:1", "a")}, []multipath.ClaimRule{use, maskRule(2, "lun=1")}, []multipath.ClaimRule{maskRule(2, "lun=1")}, "-v0:0:1 a 1>0 last path !"},
		{"another rule for the same", []multipath.ClaimedPath{masked(up("v0:0:1", "a"), 1)}, []multipath.ClaimRule{maskRule(1, "lun=1")}, []multipath.ClaimRule{maskRule(2, "adapter=v0")}, ""},
		{"a LUN that was never asked", []multipath.ClaimedPath{unknown}, []multipath.ClaimRule{maskRule(1, "adapter=v0")}, []multipath.ClaimRule{maskRule(1, "vendor=X")}, "+v0:9:9=ask"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := testJudge(tt.paths...).change(mustClaimRules(t, tt.before...), mustClaimRules(t, tt.after...))
			var got []string
			for _, p := range c.Hides {
				got = append(got, "-"+p.Name)
			}
			for _, p := range c.Shows {
				s := "+" + p.Name
				if p.Action != "use" {
					s += "=" + p.Action
				}
				got = append(got, s)
			}
			for _, d := range c.Devices {
				s := fmt.Sprintf("%s %d>%d", d.Name, d.Paths, d.Left)
				if d.Loses != "" {
					s += " " + d.Loses
				}
				if len(d.Disks) > 0 && d.Loses == control.RuleLosesLastPath {
					s += " !"
				}
				got = append(got, s)
			}
			if s := strings.Join(got, " "); s != tt.want {
				t.Errorf("got %q, want %q", s, tt.want)
			}
			if wants := strings.Contains(tt.want, "!"); wants != (c.Conflict != "") || wants && !strings.Contains(c.Conflict, "disk vm1/root of VM vm1 on a") {
				t.Errorf("conflict %q", c.Conflict)
			}
		})
	}
}

// TestClaimEffect: what each rule decides, and who has it.
func TestClaimEffect(t *testing.T) {
	j := testJudge(claimedPath("v0:0:1", "a", true), claimedPath("v1:0:1", "a", true), claimedPath("v1:0:2", "b", true))
	rules := mustClaimRules(t, maskRule(1, "adapter=v0"))
	e := j.effect(rules.All()[0], rules)
	if len(e.Paths) != 1 || e.Paths[0].Name != "v0:0:1" || len(e.Devices) != 1 || e.Devices[0].Left != 1 || e.Devices[0].Disks[0].VM != "vm1" || e.Rule.Match != "adapter=v0" {
		t.Errorf("%+v", e)
	}
	if e = j.effect(defaultClaimRule(), rules); len(e.Paths) != 2 || len(e.Devices) != 0 || e.Rule.Source != control.RuleDefault {
		t.Errorf("default rule: %+v", e)
	}
}
