// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Claim rules say which paths are used and which are masked (the patent, par. 0085).
// They have numbers; the first one that matches a path decides, and behind the last
// one stands "use" (esxcli storage core claimrule). What a rule looks at is known
// either before a LUN gets its first command (adapter, portal, target, LUN, path), or
// only after INQUIRY (identity, vendor, product, revision): so a LUN is asked only if
// the answer can change what becomes of it.

// Numbers of claim rules. A rule of one's own has 1 to MaxClaimRule; DefaultClaimRule
// is the one behind all, which cannot be changed.
const (
	MaxClaimRule     = 65534
	DefaultClaimRule = 65535
	maxClaimRules    = 4096
)

// ClaimAction is what becomes of a path.
type ClaimAction uint8

// The actions. Only ClaimUse and ClaimMask are those of rules.
const (
	// ClaimUse: the path is proved and used.
	ClaimUse ClaimAction = iota + 1
	// ClaimMask: the path belongs to no device and its LUN gets no command.
	ClaimMask
	// ClaimAsk: only INQUIRY can tell; nothing but that is sent.
	ClaimAsk
)

var claimActions = [...]string{"", "use", "mask", "ask"}

// String gives the word of configuration and tables.
func (a ClaimAction) String() string {
	if int(a) >= len(claimActions) {
		return fmt.Sprintf("action(%d)", uint8(a))
	}
	return claimActions[a]
}

// ClaimRule is one rule.
type ClaimRule struct {
	// Number is its place, 1 to MaxClaimRule; the lowest one is looked at first.
	Number int
	// Action is ClaimUse or ClaimMask.
	Action ClaimAction
	Match  ClaimMatch
}

// ClaimMatch is what a rule looks at. All keys that are set have to match; at least
// one is set. Texts are patterns, in which each * stands for any text, also for none.
type ClaimMatch struct {
	Adapter string // "vmhba0"
	Portal  string // "10.0.0.1:3260", "[fd00::1]:3260"
	Target  string // iSCSI name; letters' case does not count
	LUN     LUNSpan
	Path    string // "vmhba0:0:2"

	Identity string // "naa.6001405..."
	Vendor   string // as in INQUIRY, without the blanks behind; so Product and Revision
	Product  string
	Revision string
}

// LUNSpan is a range of LUNs. The zero value is none: every LUN matches.
type LUNSpan struct {
	First uint16
	End   uint16 // one more than the last; 0: no range
}

// LUNs is the range from first to last.
func LUNs(first, last uint16) LUNSpan { return LUNSpan{first, last + 1} }

// Last is the highest LUN of a range that is set.
func (s LUNSpan) Last() uint16 { return s.End - 1 }

// Has tells whether lun is in the range.
func (s LUNSpan) Has(lun uint16) bool { return s.End == 0 || s.First <= lun && lun < s.End }

// ClaimFacts is what is known of a path.
type ClaimFacts struct {
	Adapter, Portal, Target, Path string
	LUN                           uint16

	// Known: the LUN has answered INQUIRY, and told the rest.
	Known                               bool
	Identity, Vendor, Product, Revision string
}

// Claim is what the rules make of a path, and the number of the rule that decides;
// 0 with ClaimAsk.
type Claim struct {
	Action ClaimAction
	Rule   int
}

// ClaimRules is a set of rules in the order of their numbers. Make it with
// NewClaimRules. The zero value has only the default rule. It is never changed.
type ClaimRules struct{ list []ClaimRule }

// NewClaimRules makes a set of list, in any order. All faults are told at once.
func NewClaimRules(list ...ClaimRule) (ClaimRules, error) {
	var faults []error
	if len(list) > maxClaimRules {
		return ClaimRules{}, fmt.Errorf("%d claim rules: at most %d", len(list), maxClaimRules)
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b ClaimRule) int { return a.Number - b.Number })
	for i := range list {
		if err := list[i].normalize(); err != nil {
			faults = append(faults, fmt.Errorf("claim rule %d: %w", list[i].Number, err))
		}
		if i > 0 && list[i].Number == list[i-1].Number {
			faults = append(faults, fmt.Errorf("claim rule %d: there are two of that number", list[i].Number))
		}
	}
	return ClaimRules{list}, errors.Join(faults...)
}

// All gives the rules in order, without the default rule. They are not to be changed.
func (r ClaimRules) All() []ClaimRule { return r.list[:len(r.list):len(r.list)] }

// Rule gives the rule of a number.
func (r ClaimRules) Rule(number int) (ClaimRule, bool) {
	i, ok := slices.BinarySearchFunc(r.list, number, func(c ClaimRule, n int) int { return c.Number - n })
	if !ok {
		return ClaimRule{}, false
	}
	return r.list[i], true
}

// Decide gives the action for a path. It is never ClaimAsk when f.Known. Without that
// the rules that need INQUIRY and match otherwise are in doubt; the first one without
// doubt decides, unless one in doubt before it would have it another way.
func (r ClaimRules) Decide(f *ClaimFacts) Claim {
	doubt := ClaimAction(0) // that of the rules in doubt; ClaimAsk: they differ
	for i := range r.list {
		c := &r.list[i]
		if !c.Match.early(f) {
			continue
		}
		if c.Match.needsInquiry() {
			if !f.Known {
				if doubt != 0 && doubt != c.Action {
					return Claim{Action: ClaimAsk}
				}
				doubt = c.Action
				continue
			}
			if !c.Match.late(f) {
				continue
			}
		}
		return settle(doubt, Claim{c.Action, c.Number})
	}
	return settle(doubt, Claim{ClaimUse, DefaultClaimRule})
}

// settle is c, unless rules before it that are in doubt would do something else.
func settle(doubt ClaimAction, c Claim) Claim {
	if doubt != 0 && doubt != c.Action {
		return Claim{Action: ClaimAsk}
	}
	return c
}

// early tells whether the keys match that are known without a command.
func (m *ClaimMatch) early(f *ClaimFacts) bool {
	return m.LUN.Has(f.LUN) && fits(m.Adapter, f.Adapter) && fits(m.Portal, f.Portal) &&
		fits(m.Target, strings.ToLower(f.Target)) && fits(m.Path, f.Path)
}

// AdapterFits tells whether the adapter's key matches a name.
func (m *ClaimMatch) AdapterFits(name string) bool { return fits(m.Adapter, name) }

// late tells whether the keys match that INQUIRY has told.
func (m *ClaimMatch) late(f *ClaimFacts) bool {
	return fits(m.Identity, f.Identity) && fits(m.Vendor, f.Vendor) &&
		fits(m.Product, f.Product) && fits(m.Revision, f.Revision)
}

func (m *ClaimMatch) needsInquiry() bool {
	return m.Identity != "" || m.Vendor != "" || m.Product != "" || m.Revision != ""
}

// fits tells whether s matches pattern; the empty pattern is no key.
func fits(pattern, s string) bool { return pattern == "" || glob(pattern, s, false) }

// glob tells whether s matches pattern, in which * stands for any text. With stars
// those of s are letters that only a star of the pattern matches: then it tells
// whether pattern matches all that s matches as a pattern.
//
// A star takes as little as it can, and one letter more each time that what follows
// does not fit; only the last star has to be gone back to.
func glob(pattern, s string, stars bool) bool {
	p, i := 0, 0
	star, from := -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && pattern[p] == s[i] && !(stars && s[i] == '*'):
			p++
			i++
		case star >= 0:
			from++
			p, i = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
