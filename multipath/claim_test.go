// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func mustRules(t testing.TB, texts ...string) ClaimRules {
	t.Helper()
	var list []ClaimRule
	for _, s := range texts {
		r, err := ParseClaimRule(s)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, r)
	}
	rules, err := NewClaimRules(list...)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// claimed is a path with all facts.
var claimed = ClaimFacts{
	Adapter: "vmhba0", Portal: "10.0.0.1:3260", Target: "iqn.2026-11.example:store.A", Path: "vmhba0:3:5", LUN: 5,
	Known: true, Identity: "naa.6001405aaaa", Vendor: "ACME", Product: "VIRTUAL DISK", Revision: "0103",
}

// TestClaimKeys: each key by itself, with a value that matches and others that do not.
func TestClaimKeys(t *testing.T) {
	for key, values := range map[string]struct{ yes, no []string }{
		"adapter":  {[]string{"vmhba0", "vmhba*", "*", "*0"}, []string{"vmhba1", "VMHBA0", "vmhba", "vmhba0*0"}},
		"portal":   {[]string{"10.0.0.1:3260", "10.0.0.1", "10.0.0.*", "*:3260", "::ffff:10.0.0.1*x*y"}[:4], []string{"10.0.0.2", "10.0.0.1:3261", "10.0.0.10:3260"}},
		"target":   {[]string{"iqn.2026-11.example:store.a", "IQN.2026-11.Example:Store.A", "iqn.*:store*", "*a"}, []string{"iqn.2026-11.example:store.b", "iqn.2026-11.example:store"}},
		"lun":      {[]string{"5", "0-5", "5-9", "0-16383"}, []string{"4", "6", "0-4", "6-16383"}},
		"path":     {[]string{"vmhba0:3:5", "vmhba0:*", "*:5", "vmhba*:3:*"}, []string{"vmhba0:3:50", "vmhba0:3", "vmhba1:*", "*:3"}},
		"identity": {[]string{"naa.6001405aaaa", "naa.6001405*"}, []string{"naa.6001405aaab", "NAA.6001405AAAA"}},
		"vendor":   {[]string{"ACME", "A*E", "A*"}, []string{"acme", "ACM", "ACMEX"}},
		"product":  {[]string{"VIRTUAL DISK", "VIRTUAL*", "*DISK", "*L D*"}, []string{"VIRTUAL", "DISK"}},
		"revision": {[]string{"0103", "01*", "*3"}, []string{"0104", "02*"}},
	} {
		for i, list := range [][]string{values.yes, values.no} {
			for _, v := range list {
				var m ClaimMatch
				if err := m.SetKey(key, v); err != nil {
					t.Errorf("%s %q: %v", key, v, err)
					continue
				}
				rules, err := NewClaimRules(ClaimRule{Number: 7, Action: ClaimMask, Match: m})
				if err != nil {
					t.Errorf("%s %q: %v", key, v, err)
					continue
				}
				want := Claim{ClaimMask, 7}
				if i == 1 {
					want = Claim{ClaimUse, DefaultClaimRule}
				}
				if got := rules.Decide(&claimed); got != want {
					t.Errorf("%s %q: got %v, want %v", key, v, got, want)
				}
			}
		}
	}
	if want := []string{"adapter", "portal", "target", "lun", "path", "identity", "vendor", "product", "revision"}; !slices.Equal(ClaimKeys(), want) {
		t.Errorf("keys %v, want %v", ClaimKeys(), want)
	}
}

func TestClaimPortalIPv6(t *testing.T) {
	f := claimed
	f.Portal = "[fd00::1]:3260"
	for s, want := range map[string]ClaimAction{
		"[fd00::1]:3260": ClaimMask, "[fd00::1]": ClaimMask, "[FD00:0::1]": ClaimMask, "[fd00::*": ClaimMask, "[fd00::1]:3261": ClaimUse,
	} {
		var m ClaimMatch
		if err := m.SetKey("portal", s); err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		rules, _ := NewClaimRules(ClaimRule{1, ClaimMask, m})
		if got := rules.Decide(&f).Action; got != want {
			t.Errorf("%s: got %v, want %v", s, got, want)
		}
	}
}

// TestClaimOrder: the first match by number decides, whatever the order in which rules
// are given; all keys of a rule have to match; before INQUIRY only what cannot be
// otherwise is decided.
func TestClaimOrder(t *testing.T) {
	for _, tt := range []struct {
		name         string
		rules        []string
		known, early string
	}{
		{"none", nil, "use 65535", "use 65535"},
		{"lowest number", []string{"20 use lun=5", "10 mask lun=0-7"}, "mask 10", "mask 10"},
		{"exception before", []string{"20 mask lun=0-7", "10 use lun=5"}, "use 10", "use 10"},
		{"all keys", []string{"10 mask lun=5 adapter=vmhba1", "20 mask lun=5 adapter=vmhba0"}, "mask 20", "mask 20"},
		{"early and late, early fails", []string{"10 mask lun=6 vendor=ACME"}, "use 65535", "use 65535"},
		{"late may hide", []string{"10 mask vendor=ACME"}, "mask 10", "ask 0"},
		{"late does not hide", []string{"10 mask vendor=OTHER"}, "use 65535", "ask 0"},
		{"late use before early mask", []string{"10 use vendor=ACME", "20 mask lun=5"}, "use 10", "ask 0"},
		{"late mask before early mask: certain", []string{"10 mask vendor=OTHER", "20 mask lun=5"}, "mask 20", "mask 20"},
		{"late use before early use: certain", []string{"10 use vendor=OTHER", "20 use lun=5"}, "use 20", "use 20"},
		{"late use before the default: certain", []string{"10 use vendor=ACME"}, "use 10", "use 65535"},
		{"early mask before late use: not asked", []string{"10 mask lun=5", "20 use vendor=ACME"}, "mask 10", "mask 10"},
		{"two in doubt that differ", []string{"10 use vendor=OTHER", "15 mask product=*", "20 mask lun=5"}, "mask 15", "ask 0"},
		{"two in doubt that agree", []string{"10 mask vendor=OTHER", "15 mask product=X*", "20 mask lun=5"}, "mask 20", "mask 20"},
		{"only what is listed", []string{"10 use lun=0-3", "20 use identity=naa.6001405aaaa", "30 mask path=*"}, "use 20", "ask 0"},
		{"all but what is listed", []string{"10 use lun=0-3", "30 mask path=*"}, "mask 30", "mask 30"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rules, f := mustRules(t, tt.rules...), claimed
			show := func(c Claim) string { return fmt.Sprint(c.Action, " ", c.Rule) }
			if got := show(rules.Decide(&f)); got != tt.known {
				t.Errorf("known: got %s, want %s", got, tt.known)
			}
			f = ClaimFacts{Adapter: f.Adapter, Portal: f.Portal, Target: f.Target, Path: f.Path, LUN: f.LUN}
			if got := show(rules.Decide(&f)); got != tt.early {
				t.Errorf("before INQUIRY: got %s, want %s", got, tt.early)
			}
		})
	}
}

func TestClaimRuleFaults(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "number of a rule",
		"x mask lun=5":               "number of a rule",
		"0 mask lun=5":               "1 to 65534",
		"65535 mask lun=5":           "1 to 65534",
		"-1 mask lun=5":              "1 to 65534",
		"1":                          "use or mask",
		"1 hide lun=5":               "use or mask",
		"1 ask lun=5":                "use or mask",
		"1 mask":                     "no key",
		"1 mask ":                    "no key",
		"1 mask lun=5 ":              "quotes",
		"1 mask  lun=5":              "not key=value",
		"1 mask color=red":           "is not a key",
		"1 mask lun=":                "quotes",
		"1 mask lun=\"\"":            "range",
		"1 mask vendor=\"\"":         "is empty",
		"1 mask lun=5 lun=6":         "twice",
		"1 mask lun=7-3":             "range",
		"1 mask lun=16384":           "range",
		"1 mask lun=05":              "range",
		"1 mask lun=+5":              "range",
		"1 mask lun=1-":              "range",
		"1 mask vendor=\" A\"":       "pattern",
		"1 mask vendor=\"A\\n\"":     "pattern",
		"1 mask vendor=A B":          "not key=value",
		"1 mask vendor=\"A":          "well quoted",
		"1 mask vendor=\"A\"x":       "well quoted",
		"1 mask portal=store":        "no portal",
		"1 mask portal=10.0.0.1:0":   "no portal",
		"1 mask portal=fd00::1":      "no portal",
		"1 mask portal=[10.0.0.1]":   "no portal",
		"1 mask portal=[fd00::1":     "no portal",
		"1 mask vendor=" + longClaim: "pattern",
	} {
		if _, err := ParseClaimRule(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %q", text, err, want)
		}
	}
	a, b := ClaimRule{5, ClaimMask, ClaimMatch{Vendor: "A"}}, ClaimRule{5, ClaimUse, ClaimMatch{Vendor: "B"}}
	if _, err := NewClaimRules(a, b); err == nil || !strings.Contains(err.Error(), "rule 5: there are two") {
		t.Errorf("two of one number: %v", err)
	}
	if _, err := NewClaimRules(ClaimRule{}, ClaimRule{Number: 3, Action: ClaimMask}, ClaimRule{4, ClaimMask, ClaimMatch{LUN: LUNSpan{9, 3}}}); err == nil ||
		strings.Count(err.Error(), "claim rule") != 3 {
		t.Errorf("not all faults: %v", err)
	}
	if _, err := NewClaimRules(make([]ClaimRule, maxClaimRules+1)...); err == nil {
		t.Error("no bound on the number of rules")
	}
}

var longClaim = strings.Repeat("x", maxClaimText+1)

func TestClaimText(t *testing.T) {
	for in, want := range map[string]string{
		`100 mask lun=5`: `100 mask lun=5`,
		`1 use product="V D" vendor=ACME lun=0-7 adapter=vmhba*`: `1 use adapter=vmhba* lun=0-7 vendor=ACME product="V D"`,
		`1 mask target=IQN.A:B portal=10.0.0.1`:                  `1 mask portal=10.0.0.1:3260 target=iqn.a:b`,
		`1 mask vendor="a\"b=c"`:                                 `1 mask vendor="a\"b=c"`,
		`1 mask lun=3-3`:                                         `1 mask lun=3`,
	} {
		r, err := ParseClaimRule(in)
		if err != nil || r.String() != want {
			t.Errorf("%s: got %q, %v, want %q", in, r, err, want)
		}
	}
	if got := ClaimAction(9).String() + ClaimAsk.String() + ClaimUse.String(); got != "action(9)askuse" {
		t.Error(got)
	}
	rules := mustRules(t, "9 mask lun=9", "7 mask lun=7")
	if r, ok := rules.Rule(9); !ok || r.Match.LUN != LUNs(9, 9) {
		t.Errorf("rule 9: %v, %v", r, ok)
	}
	if _, ok := rules.Rule(8); ok {
		t.Error("there is a rule 8")
	}
	if all := rules.All(); len(all) != 2 || all[0].Number != 7 {
		t.Errorf("all: %v", all)
	}
}

func TestClaimNever(t *testing.T) {
	for _, tt := range []struct {
		name  string
		rules []string
		want  string
	}{
		{"none", []string{"1 mask lun=5", "2 mask lun=6"}, ""},
		{"wider later", []string{"1 mask lun=5", "2 mask lun=0-9"}, ""},
		{"narrower later", []string{"1 use lun=0-9", "2 mask lun=5"}, "2: what it matches is matched before by rule 1"},
		{"another key", []string{"1 use lun=0-9", "2 mask vendor=A"}, ""},
		{"one key more", []string{"1 use lun=0-9", "2 mask vendor=A lun=9"}, "2: what it matches is matched before by rule 1"},
		{"pattern in pattern", []string{"1 use vendor=A*", "2 mask vendor=AB*C"}, "2: what it matches is matched before by rule 1"},
		{"pattern over pattern", []string{"1 use vendor=AB*C", "2 mask vendor=A*C"}, ""},
		{"two ranges make up one", []string{"1 use lun=0-4", "2 use lun=5-9", "3 mask lun=3-7"}, "3: what it matches is matched before by rules 1 and 2"},
		{"ranges with a gap", []string{"1 use lun=0-4", "2 use lun=6-9", "3 mask lun=3-7"}, ""},
		{"all", []string{"1 use path=*", "2 mask lun=3", "3 mask vendor=A"}, "2: what it matches is matched before by rule 1; 3: what it matches is matched before by rule 1"},
		{"all LUNs", []string{"1 use lun=0-16383", "2 mask vendor=A"}, "2: what it matches is matched before by rule 1"},
		{"path in adapter", []string{"1 use adapter=vmhba0", "2 mask path=vmhba0:1:2"}, "2: what it matches is matched before by rule 1"},
		{"adapter in path", []string{"1 use path=vmhba0:*", "2 mask adapter=vmhba0"}, "2: what it matches is matched before by rule 1"},
		{"lun in path", []string{"1 use path=*:5", "2 mask lun=5 vendor=A"}, "2: what it matches is matched before by rule 1"},
		{"path in another's LUN", []string{"1 use path=*:*:5", "2 mask path=vmhba0:1:5"}, "2: what it matches is matched before by rule 1"},
		{"contradiction of lun", []string{"1 mask path=vmhba0:1:5 lun=6", "2 mask lun=6"}, "1: lun and path contradict each other"},
		{"contradiction of adapter", []string{"1 mask path=vmhba0:* adapter=vmhba1"}, "1: adapter and path contradict each other"},
		{"no name of a path", []string{"1 mask path=vmhba0", "2 mask path=a:b:c:d*", "3 mask path=vmhba0:1:x"}, "1: no path has such a name; 2: no path has such a name; 3: no path has such a name"},
		{"a later one is covered by another", []string{"1 mask path=vmhba0:1:5 lun=6", "2 mask lun=5", "3 use path=vmhba0:1:5"}, "1: lun and path contradict each other; 3: what it matches is matched before by rule 2"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, f := range mustRules(t, tt.rules...).Never() {
				got = append(got, fmt.Sprintf("%d: %s", f.Rule, f.Reason))
			}
			if s := strings.Join(got, "; "); s != tt.want {
				t.Errorf("got %q, want %q", s, tt.want)
			}
		})
	}
}

// globSlow is glob as one would write it down.
func globSlow(pattern, s string) bool {
	switch {
	case pattern == "":
		return s == ""
	case pattern[0] == '*':
		return globSlow(pattern[1:], s) || s != "" && globSlow(pattern, s[1:])
	}
	return s != "" && pattern[0] == s[0] && globSlow(pattern[1:], s[1:])
}

// globRegexp is glob by a regular expression, for long ones.
func globRegexp(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile(`^(?s:` + strings.Join(parts, ".*") + `)$`).MatchString(s)
}

// decideSlow tries every possible answer to INQUIRY of a small world.
func decideSlow(rules []ClaimRule, f *ClaimFacts, world []ClaimFacts) map[ClaimAction]bool {
	found := map[ClaimAction]bool{}
	answers := []ClaimFacts{*f}
	if !f.Known {
		answers = nil
		for _, w := range world {
			g := *f
			g.Known, g.Identity, g.Vendor, g.Product, g.Revision = true, w.Identity, w.Vendor, w.Product, w.Revision
			answers = append(answers, g)
		}
	}
	for _, g := range answers {
		action := ClaimUse
		for _, r := range rules { // in the order of their numbers
			m, all := r.Match, true
			pairs := [][2]string{
				{m.Adapter, g.Adapter},
				{m.Portal, g.Portal},
				{m.Target, g.Target},
				{m.Path, g.Path},
				{m.Identity, g.Identity},
				{m.Vendor, g.Vendor},
				{m.Product, g.Product},
				{m.Revision, g.Revision},
			}
			for _, k := range pairs {
				if k[0] != "" && !globSlow(k[0], k[1]) {
					all = false
				}
			}
			if m.LUN.End != 0 && (g.LUN < m.LUN.First || g.LUN > m.LUN.Last()) {
				all = false
			}
			if all {
				action = r.Action
				break
			}
		}
		found[action] = true
	}
	return found
}

// randomClaims makes rules and paths of few letters, so that they meet.
func randomClaims(rnd *rand.Rand) (rules ClaimRules, world []ClaimFacts) {
	pattern := func() string { return []string{"a", "b", "*", "a*", "*b", "ab", "*a*"}[rnd.IntN(7)] }
	var list []ClaimRule
	for i := range 1 + rnd.IntN(5) {
		r := ClaimRule{Number: i + 1, Action: ClaimUse + ClaimAction(rnd.IntN(2))}
		for _, key := range []string{"target", "vendor", "product"} {
			if rnd.IntN(2) == 0 {
				_ = r.Match.SetKey(key, pattern())
			}
		}
		switch first := uint16(rnd.IntN(4)); rnd.IntN(4) {
		case 0:
			r.Match.LUN = LUNs(first, first+uint16(rnd.IntN(3)))
		case 1:
			r.Match.Path = []string{"v:*", "*:1", "v:0:1", "w:*:2", "*"}[rnd.IntN(5)]
		case 2:
			r.Match.Adapter = []string{"v", "w", "*"}[rnd.IntN(3)]
		}
		if r.Match == (ClaimMatch{}) {
			r.Match.Path = "*"
		}
		list = append(list, r)
	}
	rules, _ = NewClaimRules(list...)
	for _, text := range []string{"a", "b", "ab", "ba", "c"} {
		for _, other := range []string{"a", "b", "ab", "c"} {
			for lun := range uint16(7) {
				for _, adapter := range []string{"v", "w"} {
					world = append(world, ClaimFacts{
						Adapter: adapter, Target: other, Path: fmt.Sprintf("%s:0:%d", adapter, lun), LUN: lun,
						Known: true, Vendor: text, Product: other,
					})
				}
			}
		}
	}
	return rules, world
}

// TestClaimAgainstSlow: what is decided before INQUIRY holds whatever its answer is,
// what is asked could go both ways (as far as single patterns tell), and a rule that
// is told never to decide decides for no path.
func TestClaimAgainstSlow(t *testing.T) {
	asked, early, never := 0, 0, 0
	for seed := range uint64(400) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		rules, world := randomClaims(rnd)
		dead := map[int]bool{}
		for _, f := range rules.Never() {
			dead[f.Rule] = true
			never++
		}
		for _, f := range world {
			got := rules.Decide(&f)
			if want := decideSlow(rules.All(), &f, nil); !want[got.Action] || dead[got.Rule] {
				t.Fatalf("seed %d: %v: %+v: got %v, want %v; never %v", seed, rules.All(), f, got, want, dead)
			}
		}
		for range 4 {
			f := world[rnd.IntN(len(world))]
			f.Known, f.Vendor, f.Product = false, "", ""
			got, want := rules.Decide(&f), decideSlow(rules.All(), &f, world)
			if got.Action != ClaimAsk && (len(want) != 1 || !want[got.Action]) {
				t.Fatalf("seed %d: %v: %+v: decided %v, INQUIRY gives %v", seed, rules.All(), f, got, want)
			}
			if got.Action == ClaimAsk {
				asked++
			} else {
				early++
			}
		}
	}
	if asked < 50 || early < 50 || never < 50 {
		t.Errorf("asked %d, decided early %d, never %d: too few to prove anything", asked, early, never)
	}
}

func FuzzClaimGlob(f *testing.F) {
	for _, s := range [][2]string{{"", ""}, {"*", "a"}, {"a*b*c", "aXbYbZc"}, {"**a", "ba"}, {"a*", "b"}, {"*aab", "aaab"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 40 || len(s) > 80 {
			return
		}
		pattern, s = strings.ToValidUTF8(pattern, "?"), strings.ToValidUTF8(s, "?")
		if got, want := glob(pattern, s, false), globRegexp(pattern, s); got != want {
			t.Errorf("glob(%q, %q): got %v, want %v", pattern, s, got, want)
		}
		// What a pattern covers as a pattern, it matches with the stars filled in.
		if glob(pattern, s, true) && !globRegexp(pattern, strings.ReplaceAll(s, "*", "xy")) {
			t.Errorf("%q is told to cover %q", pattern, s)
		}
	})
}

func FuzzClaimRule(f *testing.F) {
	for _, s := range []string{
		`100 mask lun=5`, `1 use adapter=vmhba* portal=10.0.0.1 target=iqn.a:* lun=0-7 path=v:1:2 identity=naa.6* vendor=A product="B C" revision=1`,
		`65534 mask path=*`, `1 mask vendor="\u00e9\""`, `0 mask`, `1 mask portal=[fd00::1]`, `1 mask lun=5 lun=6`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseClaimRule(s)
		if err != nil {
			if r != (ClaimRule{}) {
				t.Errorf("%q: a rule and an error", s)
			}
			return
		}
		again, err := ParseClaimRule(r.String())
		if err != nil || again != r {
			t.Errorf("%q: %q becomes %q, %v", s, r, again, err)
		}
		if _, err := NewClaimRules(r); err != nil {
			t.Errorf("%q: parsed, but %v", s, err)
		}
	})
}
