// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"fmt"
	"slices"

	"pathgate/gateway/control"
	"pathgate/multipath"
)

var _ control.RuleSource = adminSource{}

// defaultClaimRule stands behind all rules.
func defaultClaimRule() multipath.ClaimRule {
	return multipath.ClaimRule{Number: multipath.DefaultClaimRule, Action: multipath.ClaimUse, Match: multipath.ClaimMatch{Path: "*"}}
}

// judge takes a snapshot of the paths and of who uses them.
func (s *adminView) judge() *claimJudge {
	j := &claimJudge{rule: s.showRule, users: s.ruleDisks}
	if s.paths != nil {
		j.paths = s.paths.ClaimedPaths()
	}
	return j
}

// ruleDisks gives the disks with an extent on a LUN that has one of these names.
func (s *adminView) ruleDisks(names []string) (list []control.RuleDisk) {
	names = (*Gateway)(s).withKeys(names)
	for _, d := range s.disks {
		if slices.ContainsFunc(d.cfg.Extents, func(e ExtentConfig) bool { return (*Gateway)(s).standsFor(e.LUN, names) }) {
			d.mu.Lock()
			list = append(list, control.RuleDisk{Name: d.FullName(), VM: d.VM(), Connections: d.clients})
			d.mu.Unlock()
		}
	}
	return list
}

func (s *adminView) showRule(r multipath.ClaimRule) control.Rule {
	m := &r.Match
	out := control.Rule{
		Number: r.Number, Action: r.Action.String(), Source: control.RuleConfigured, Match: m.String(),
		Adapter: m.Adapter, Portal: m.Portal, Target: m.Target, LUN: m.LUN.String(), Path: m.Path,
		Identity: m.Identity, Vendor: m.Vendor, Product: m.Product, Revision: m.Revision,
	}
	switch {
	case r.Number == multipath.DefaultClaimRule:
		out.Source = control.RuleDefault
	case !slices.ContainsFunc(s.cfg.Claims, func(c multipath.ClaimRule) bool { return c.Number == r.Number }):
		out.Source = control.RuleAdded
	}
	return out
}

// Rules gives the rules in force, with the one behind all.
func (s *adminView) Rules() []control.Rule {
	rules, j := s.claims.Rules(), s.judge()
	never := map[int]string{}
	for _, f := range rules.Never() {
		never[f.Rule] = f.Reason
	}
	var list []control.Rule
	for _, r := range append(rules.All(), defaultClaimRule()) {
		out := j.effect(r, rules).Rule
		out.Never = never[r.Number]
		list = append(list, out)
	}
	return list
}

// MaskedPaths gives the paths that are masked and have left their devices.
func (s *adminView) MaskedPaths() []control.Path {
	list := []control.Path{}
	for _, p := range s.judge().paths {
		if p.Masked == 0 || p.Leaving {
			continue
		}
		list = append(list, control.Path{
			Name: p.Path, Device: p.Device, Adapter: p.Adapter, Target: p.Target, Portal: p.Portal, LUN: p.LUN,
			Health: p.Health, Reason: fmt.Sprintf("masked by rule %d", p.Masked), Since: p.Since,
		})
	}
	return list
}

// CheckRules tells what each rule in force does.
func (s *adminView) CheckRules() control.RuleCheck {
	rules, j := s.claims.Rules(), s.judge()
	c := j.change(rules, rules)
	for _, r := range append(rules.All(), defaultClaimRule()) {
		c.Rules = append(c.Rules, j.effect(r, rules))
	}
	return c
}

// errDryRun ends a change that was only asked about.
var errDryRun = errors.New("dry run")

// AddRule adds a rule.
func (s *adminView) AddRule(c control.RuleChange) (control.RuleCheck, error) {
	r, err := ruleOf(c.Rule)
	if err != nil {
		return control.RuleCheck{}, control.Invalid(err)
	}
	return s.changeRule(r, c, KindRuleAdded, func(judge func(before, after multipath.ClaimRules) error, apply func(multipath.ClaimRules)) error {
		return s.claims.Add(r, judge, apply)
	})
}

// RemoveRule removes a rule that was added at run time.
func (s *adminView) RemoveRule(number int, c control.RuleChange) (control.RuleCheck, error) {
	r, _ := s.claims.Rules().Rule(number)
	return s.changeRule(r, c, KindRuleRemoved, func(judge func(before, after multipath.ClaimRules) error, apply func(multipath.ClaimRules)) error {
		return s.claims.Remove(number, judge, apply)
	})
}

// changeRule makes a change by way of do, unless it takes a disk its last path, and
// tells what it does.
func (s *adminView) changeRule(r multipath.ClaimRule, c control.RuleChange, kind Kind,
	do func(judge func(before, after multipath.ClaimRules) error, apply func(multipath.ClaimRules)) error,
) (check control.RuleCheck, err error) {
	judge := func(before, after multipath.ClaimRules) error {
		j := s.judge()
		check = j.change(before, after)
		rules := after
		if kind == KindRuleRemoved {
			rules = before
		}
		check.Rules = append(check.Rules, j.effect(r, rules))
		switch {
		case c.DryRun:
			return errDryRun
		case check.Conflict != "" && !c.Force:
			return control.Conflict(fmt.Errorf("rule %d: %s; remove the disks first, or force it", r.Number, check.Conflict))
		}
		return nil
	}
	err = do(judge, func(rules multipath.ClaimRules) {
		if s.paths != nil {
			s.paths.SetClaims(rules)
		}
	})
	switch {
	case errors.Is(err, errDryRun):
		return check, nil
	case errors.Is(err, errNoRule):
		return check, control.NotFound(err)
	case errors.Is(err, errRuleConfigured), errors.Is(err, errRuleNumber), errors.Is(err, errRuleDefault):
		return check, control.Invalid(err)
	case err != nil:
		return check, err
	}
	check.Applied = true
	s.bus.Publish(Event{Kind: kind, Severity: SeverityNotice, Message: r.String()})
	(*Gateway)(s).lookAgain()
	return check, nil
}

// ruleOf checks a rule of the API.
func ruleOf(in control.Rule) (r multipath.ClaimRule, err error) {
	r.Number = in.Number
	if r.Action, err = multipath.ParseClaimAction(in.Action); err != nil {
		return r, fmt.Errorf("action %q %w", in.Action, err)
	}
	keys := [][2]string{
		{"adapter", in.Adapter},
		{"portal", in.Portal},
		{"target", in.Target},
		{"lun", in.LUN},
		{"path", in.Path},
		{"identity", in.Identity},
		{"vendor", in.Vendor},
		{"product", in.Product},
		{"revision", in.Revision},
	}
	for _, k := range keys {
		if k[1] == "" {
			continue
		}
		if err := r.Match.SetKey(k[0], k[1]); err != nil {
			return r, fmt.Errorf("%s %q %w", k[0], k[1], err)
		}
	}
	_, err = multipath.NewClaimRules(r)
	return r, err
}

// maskedReason tells that a LUN which was not found is masked; "" when it is not.
func (g *Gateway) maskedReason(lun string) string {
	for _, p := range g.paths.ClaimedPaths() {
		if p.Masked != 0 && g.standsFor(lun, g.withKeys([]string{p.Path, p.Identity, p.Device})) {
			return fmt.Sprintf("%s is masked by rule %d", lun, p.Masked)
		}
	}
	return ""
}
