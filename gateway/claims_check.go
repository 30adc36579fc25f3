// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"slices"
	"strings"

	"pathgate/gateway/control"
	"pathgate/multipath"
)

// claimJudge tells what rules do to the paths that are known, and to whom. It is pure:
// paths and users are what they were when it was made.
type claimJudge struct {
	paths []multipath.ClaimedPath
	// users gives the disks with a part of a device that is known by these names.
	users func(names []string) []control.RuleDisk
	rule  func(r multipath.ClaimRule) control.Rule
}

// effect is what one rule of rules does.
func (j *claimJudge) effect(r multipath.ClaimRule, rules multipath.ClaimRules) control.RuleEffect {
	e := control.RuleEffect{Rule: j.rule(r), Paths: []control.RulePath{}}
	hidden := map[string]bool{}
	for i := range j.paths {
		p := &j.paths[i]
		claim := rules.Decide(&p.ClaimFacts)
		if claim.Rule != r.Number {
			continue
		}
		e.Paths = append(e.Paths, showRulePath(p, claim))
		hidden[deviceKey(p)] = claim.Action == multipath.ClaimMask
	}
	e.Rule.Paths = len(e.Paths)
	e.Devices = slices.DeleteFunc(j.devices(multipath.ClaimRules{}, rules), func(d control.RuleDevice) bool { return !hidden[d.Name] })
	return e
}

// change is what the way from one set of rules to another does.
func (j *claimJudge) change(before, after multipath.ClaimRules) control.RuleCheck {
	c := control.RuleCheck{Rules: []control.RuleEffect{}, Hides: []control.RulePath{}, Shows: []control.RulePath{}, Devices: []control.RuleDevice{}}
	losers := map[string]bool{}
	for i := range j.paths {
		p := &j.paths[i]
		was, will := before.Decide(&p.ClaimFacts), after.Decide(&p.ClaimFacts)
		switch hidden := p.Masked != 0 || was.Action == multipath.ClaimMask; {
		case !hidden && will.Action == multipath.ClaimMask:
			c.Hides = append(c.Hides, showRulePath(p, will))
			losers[deviceKey(p)] = true
		case hidden && will.Action != multipath.ClaimMask:
			c.Shows = append(c.Shows, showRulePath(p, will))
		}
	}
	for _, d := range j.devices(before, after) {
		if losers[d.Name] {
			c.Devices = append(c.Devices, d)
		}
	}
	c.Conflict = conflictOf(c.Devices)
	return c
}

// conflictOf names the disks that lose their last path; "" when none does.
func conflictOf(devices []control.RuleDevice) string {
	var disks []string
	for _, d := range devices {
		if d.Loses != control.RuleLosesLastPath {
			continue
		}
		for _, k := range d.Disks {
			disks = append(disks, fmt.Sprintf("disk %s of VM %s on %s", k.Name, k.VM, d.Name))
		}
	}
	if len(disks) == 0 {
		return ""
	}
	return "the last path would be masked of " + strings.Join(disks, ", ")
}

// devices counts the paths of each device before and after a change.
func (j *claimJudge) devices(before, after multipath.ClaimRules) (list []control.RuleDevice) {
	index := map[string]int{}
	names := map[string][]string{}
	for i := range j.paths {
		p := &j.paths[i]
		key := deviceKey(p)
		at, ok := index[key]
		if !ok {
			at = len(list)
			index[key] = at
			list = append(list, control.RuleDevice{Name: key, Identity: p.Identity})
		}
		d := &list[at]
		names[key] = append(names[key], p.Path, p.Identity, p.Device)
		if before.Decide(&p.ClaimFacts).Action == multipath.ClaimMask {
			continue
		}
		d.Paths++
		left := after.Decide(&p.ClaimFacts).Action != multipath.ClaimMask
		if left {
			d.Left++
		}
		if p.Usable {
			d.Usable++
			if left {
				d.UsableLeft++
			}
		}
	}
	for i := range list {
		d := &list[i]
		switch {
		case d.Left == 0 && d.Paths > 0, d.UsableLeft == 0 && d.Usable > 0:
			d.Loses = control.RuleLosesLastPath
		case d.UsableLeft == 1 && d.Usable > 1:
			d.Loses = control.RuleLosesRedundancy
		}
		d.Disks = j.users(names[d.Name])
	}
	return list
}

// deviceKey is the device's name, or the path's where that is not known.
func deviceKey(p *multipath.ClaimedPath) string {
	if p.Device != "" {
		return p.Device
	}
	return p.Path
}

func showRulePath(p *multipath.ClaimedPath, c multipath.Claim) control.RulePath {
	return control.RulePath{
		Name: p.Path, Target: p.Target, Portal: p.Portal, Device: p.Device, Identity: p.Identity,
		Vendor: p.Vendor, Product: p.Product, Revision: p.Revision,
		Health: p.Health, Masked: p.Masked, Action: c.Action.String(), Rule: c.Rule,
	}
}
