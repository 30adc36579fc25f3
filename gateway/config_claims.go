// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"slices"

	"pathgate/multipath"
)

// claimRule reads one entry of claim-rules. Its number is 0 when that is wrong.
func (d *decoder) claimRule(v value, key string) (r multipath.ClaimRule) {
	o := d.object(v, key, append([]string{"number", "action"}, multipath.ClaimKeys()...)...)
	o.require("number")
	o.require("action")
	o.integer("number", &r.Number, 1, multipath.MaxClaimRule)
	parsed(o, "action", &r.Action, func(s string) (multipath.ClaimAction, error) {
		a, err := multipath.ParseClaimAction(s)
		if err != nil {
			err = errWord
		}
		return a, err
	}, "use or mask")
	keys, bad := 0, len(d.faults)
	for _, name := range multipath.ClaimKeys() {
		if !o.has(name) {
			continue
		}
		keys++
		var text string
		o.text(name, &text, func(s string) (string, string) {
			if err := r.Match.SetKey(name, s); err != nil {
				return err.Error(), ""
			}
			return "", ""
		})
	}
	if keys == 0 && o.v.kind == kindMap && len(d.faults) == bad {
		d.fault(key, "matches nothing in particular", `at least one key; path: "*" stands for all paths`)
	}
	return r
}

// claimRules notes numbers that are used twice.
func (v *validator) claimRules() {
	seen := map[int]string{}
	for i, r := range v.c.Claims {
		key := fmt.Sprintf("claim-rules[%d].number", i)
		if first, dup := seen[r.Number]; dup && r.Number != 0 {
			v.fault(key, "is used twice", "one rule for a number, first at "+first)
			continue
		}
		seen[r.Number] = key
	}
}

// Warnings tells what of a valid configuration will have no effect, as it seems: claim
// rules that can never decide anything, or are for an adapter or a LUN that there is
// not. Also what lets in everyone. They stand at their places in the file.
func (c *Config) Warnings() []Fault {
	var list []Fault
	warn := func(rule int, key, msg string) {
		i := slices.IndexFunc(c.Claims, func(r multipath.ClaimRule) bool { return r.Number == rule })
		at := fmt.Sprintf("claim-rules[%d]", i)
		if key != "" {
			at += "." + key
		}
		f := c.src.fault(at, msg, "")
		if key == "" {
			f.Value = ""
		}
		list = append(list, f)
	}
	rules, err := multipath.NewClaimRules(c.Claims...)
	if err != nil {
		return nil // a Config that is not of Parse
	}
	for _, f := range rules.Never() {
		warn(f.Rule, "", fmt.Sprintf("rule %d never decides: %s", f.Rule, f.Reason))
	}
	for _, r := range rules.All() {
		if r.Match.Adapter != "" && !slices.ContainsFunc(c.Adapters, func(a AdapterConfig) bool { return r.Match.AdapterFits(a.Name) }) {
			warn(r.Number, "adapter", fmt.Sprintf("rule %d never decides: there is no such adapter", r.Number))
		}
		out := func(t TargetConfig) bool {
			l := r.Match.LUN
			return l.End <= t.LUNRange.First || l.First > t.LUNRange.Last
		}
		if r.Match.LUN.End > 0 && len(c.Targets) > 0 && !slices.ContainsFunc(c.Targets, func(t TargetConfig) bool { return !out(t) }) {
			warn(r.Number, "lun", fmt.Sprintf("rule %d never decides: no target's lun-range has such a LUN", r.Number))
		}
	}
	list = slices.Concat(list, c.noFrontEnd(), c.openTargets(), c.openExports())
	sortFaults(list)
	return list
}
