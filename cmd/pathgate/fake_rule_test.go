// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"pathgate/gateway/control"
)

var _ control.RuleSource = (*fakeState)(nil)

// Rules gives a rule of each source.
func (s *fakeState) Rules() []control.Rule {
	return []control.Rule{
		{Number: 100, Action: "mask", Source: control.RuleConfigured, LUN: "5", Match: "lun=5", Paths: 2},
		{Number: 200, Action: "use", Source: control.RuleAdded, Vendor: "ACME X", Match: `vendor="ACME X"`, Never: "what it matches is matched before by rule 100"},
		{Number: 65535, Action: "use", Source: control.RuleDefault, Path: "*", Match: "path=*", Paths: 4},
	}
}

// MaskedPaths gives one path.
func (s *fakeState) MaskedPaths() []control.Path {
	return []control.Path{{Name: "vmhba0:0:5", Adapter: "vmhba0", Portal: "127.0.0.1:13260", LUN: 5, Health: control.HealthMasked, Reason: "masked by rule 100"}}
}

func fakeEffect(r control.Rule) control.RuleEffect {
	e := control.RuleEffect{Rule: r}
	for i := range r.Paths {
		e.Paths = append(e.Paths, control.RulePath{Name: fmt.Sprintf("vmhba%d:0:5", i), Portal: "127.0.0.1:13260", Masked: r.Number, Action: r.Action, Rule: r.Number})
	}
	return e
}

// CheckRules tells what the rules do.
func (s *fakeState) CheckRules() (c control.RuleCheck) {
	for _, r := range s.Rules() {
		c.Rules = append(c.Rules, fakeEffect(r))
	}
	c.Rules[0].Devices = []control.RuleDevice{{Name: "vmhba0:0:5", Paths: 2, Loses: control.RuleLosesLastPath, Disks: []control.RuleDisk{{Name: "vm1/log", VM: "vm1", Connections: 1}}}}
	return c
}

// AddRule masks vmhba0:0:1, of whose device vm1/root is; rule 300 takes its last path.
func (s *fakeState) AddRule(c control.RuleChange) (control.RuleCheck, error) {
	r := c.Rule
	if r.LUN == "x" {
		return control.RuleCheck{}, control.Invalid(fmt.Errorf("lun %q is not a range of LUNs", r.LUN))
	}
	r.Match = "lun=" + r.LUN
	check := control.RuleCheck{
		Rules:   []control.RuleEffect{{Rule: r}},
		Hides:   []control.RulePath{{Name: "vmhba0:0:1", Portal: "127.0.0.1:13260", Device: "vmhba1:0:1", Action: "mask", Rule: r.Number}},
		Devices: []control.RuleDevice{{Name: "vmhba1:0:1", Paths: 2, Left: 1, Usable: 2, UsableLeft: 1, Loses: control.RuleLosesRedundancy, Disks: []control.RuleDisk{{Name: "vm1/root", VM: "vm1", Connections: 2}}}},
	}
	if r.Number == 300 {
		check.Conflict = "the last path would be masked of disk vm1/root of VM vm1 on vmhba1:0:1"
		if !c.Force && !c.DryRun {
			return check, control.Conflict(fmt.Errorf("rule 300: %s; remove the disks first, or force it", check.Conflict))
		}
	}
	check.Applied = !c.DryRun
	return check, nil
}

// RemoveRule shows a path again; there is only rule 200.
func (s *fakeState) RemoveRule(number int, c control.RuleChange) (control.RuleCheck, error) {
	if number != 200 {
		return control.RuleCheck{}, control.NotFound(fmt.Errorf("rule %d: no such rule", number))
	}
	return control.RuleCheck{
		Rules: []control.RuleEffect{{Rule: s.Rules()[1]}}, Applied: !c.DryRun,
		Shows: []control.RulePath{{Name: "vmhba0:0:5", Portal: "127.0.0.1:13260", Action: "use"}, {Name: "vmhba0:0:6", Portal: "127.0.0.1:13260", Action: "ask"}},
	}, nil
}
