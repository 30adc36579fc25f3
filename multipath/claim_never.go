// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ClaimFault tells why a rule can never decide anything.
type ClaimFault struct {
	Rule   int
	Reason string
}

// Never lists the rules that can never decide: their keys contradict each other, or
// rules before them match all that they match. What it lists is so for certain; a
// rule that several others cover together, other than by ranges of LUNs, is not found.
func (r ClaimRules) Never() (faults []ClaimFault) {
	plain := make([]ClaimMatch, len(r.list))
	for i := range r.list {
		var why string
		if plain[i], why = r.list[i].Match.plain(); why != "" {
			faults = append(faults, ClaimFault{r.list[i].Number, why})
			plain[i] = ClaimMatch{LUN: LUNSpan{1, 1}} // covers nothing
			continue
		}
		if by := coverers(r.list[:i], plain[:i], &plain[i]); len(by) > 0 {
			faults = append(faults, ClaimFault{r.list[i].Number, "what it matches is matched before by " + ruleList(by)})
		}
	}
	return faults
}

func ruleList(numbers []int) string {
	if len(numbers) == 1 {
		return fmt.Sprintf("rule %d", numbers[0])
	}
	texts := make([]string, len(numbers))
	for i, n := range numbers {
		texts[i] = strconv.Itoa(n)
	}
	last := len(texts) - 1
	return "rules " + strings.Join(texts[:last], ", ") + " and " + texts[last]
}

// coverers gives the rules of list that match all that m matches: one, or several
// whose ranges of LUNs make up that of m. Nil: there are none.
func coverers(list []ClaimRule, plain []ClaimMatch, m *ClaimMatch) []int {
	type part struct {
		span   LUNSpan
		number int
	}
	var parts []part
	for i := range plain {
		if !plain[i].coversTexts(m) {
			continue
		}
		if s := plain[i].LUN.whole(); s.contains(m.LUN.whole()) {
			return []int{list[i].Number}
		}
		parts = append(parts, part{plain[i].LUN, list[i].Number})
	}
	slices.SortFunc(parts, func(a, b part) int { return int(a.span.First) - int(b.span.First) })
	need := m.LUN.whole()
	var by []int
	for _, p := range parts {
		if p.span.First <= need.First && p.span.End > need.First {
			need.First = p.span.End
			by = append(by, p.number)
		}
		if need.First >= need.End {
			slices.Sort(by)
			return by
		}
	}
	return nil
}

// whole is s, or all LUNs that there can be for none.
func (s LUNSpan) whole() LUNSpan {
	if s.End == 0 {
		return LUNs(0, maxClaimLUN)
	}
	return s
}

func (s LUNSpan) contains(o LUNSpan) bool {
	return s.First <= o.First && o.End <= s.End && s.First < s.End
}

// coversTexts tells whether the text keys of m match whatever those of o match.
func (m *ClaimMatch) coversTexts(o *ClaimMatch) bool {
	for _, k := range claimKeys {
		if k.text == nil {
			continue
		}
		a, b := *k.text(m), *k.text(o)
		if a != "" && !glob(a, b, true) {
			return false
		}
	}
	return true
}

// plain is m with what its path says about adapter and LUN in their keys, so that
// rules that say the same in other words can be compared. why tells that m matches
// nothing.
func (m *ClaimMatch) plain() (p ClaimMatch, why string) {
	p = *m
	for _, k := range claimKeys {
		if k.text != nil && strings.Trim(*k.text(&p), "*") == "" {
			*k.text(&p) = ""
		}
	}
	if p.Path == "" {
		return p, ""
	}
	// A path's name has two colons, which no adapter's name has. Where the pattern has
	// both, no star stands for one.
	parts := strings.Split(p.Path, ":")
	if n := len(parts); n > 3 || n < 3 && !strings.Contains(p.Path, "*") {
		return p, "no path has such a name"
	}
	first, last := parts[0], parts[len(parts)-1]
	done := len(parts) == 3 && strings.Trim(parts[1], "*") == ""
	if len(parts) == 2 {
		done = first == "*" || last == "*"
	}
	if len(parts) == 1 {
		return p, ""
	}
	adapter, why := p.plainAdapter(first, len(parts) == 3)
	if why != "" {
		return p, why
	}
	lun, why := p.plainLUN(last)
	if why != "" {
		return p, why
	}
	if done && adapter && lun {
		p.Path = ""
	}
	return p, ""
}

// plainAdapter puts the part of a path's pattern that stands for the adapter into its
// key. done tells whether that says all of it. whole: no star in it reaches further.
func (m *ClaimMatch) plainAdapter(part string, whole bool) (done bool, why string) {
	switch {
	case strings.Trim(part, "*") == "":
		return true, ""
	case strings.Contains(part, "*"):
		if m.Adapter == "" && whole {
			m.Adapter = part
			return true, ""
		}
		return false, ""
	case !fits(m.Adapter, part):
		return false, "adapter and path contradict each other"
	}
	m.Adapter = part
	return true, ""
}

// plainLUN does the same with the part that stands for the LUN.
func (m *ClaimMatch) plainLUN(part string) (done bool, why string) {
	if strings.Contains(part, "*") {
		return strings.Trim(part, "*") == "", ""
	}
	n, err := claimLUN(part)
	if err != nil {
		return false, "no path has such a name"
	}
	if !m.LUN.Has(n) {
		return false, "lun and path contradict each other"
	}
	m.LUN = LUNs(n, n)
	return true, ""
}
