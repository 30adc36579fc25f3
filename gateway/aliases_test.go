// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"slices"
	"testing"

	"pathgate/gateway/control"
	"pathgate/multipath"
)

// TestAliasOfMaskedDisk: a disk whose LUN is named by an alias, of the configuration or
// given at run time, or by a path's name, is known to use it: a rule does not hide it
// unasked.
func TestAliasOfMaskedDisk(t *testing.T) {
	cfg := mustParse(t, `
adapters: [{name: vmhba0, address: 127.0.0.1}]
targets: [{portals: [127.0.0.1]}]
luns: [{id: naa.1, alias: gold}]
vms:
  - {name: vm1, disks: [{name: a, lun: gold}, {name: b, lun: silver}, {name: c, lun: "vmhba1:0:1"}, {name: d, lun: "vmhba0:0:9"}, {name: e, lun: naa.1}]}
`)
	g, err := New(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	g.store = openStore(t, t.TempDir())
	if err := errors.Join(g.store.SetAlias("silver", "naa.1"), g.store.BindName("vmhba1:0:1", "naa.1"), g.store.BindName("vmhba0:0:9", "naa.2")); err != nil {
		t.Fatal(err)
	}
	view := (*adminView)(g)
	j := &claimJudge{paths: []multipath.ClaimedPath{claimedPath("vmhba0:0:1", "1", true)}, rule: view.showRule, users: view.ruleDisks}
	c := j.change(mustClaimRules(t), mustClaimRules(t, maskRule(1, "lun=1")))
	var got []string
	for _, d := range c.Devices {
		for _, k := range d.Disks {
			got = append(got, k.Name)
		}
	}
	if want := []string{"vm1/a", "vm1/b", "vm1/c", "vm1/e"}; !slices.Equal(got, want) || c.Conflict == "" || len(c.Devices) != 1 || c.Devices[0].Loses != control.RuleLosesLastPath {
		t.Errorf("users %v, want %v; %q", got, want, c.Conflict)
	}
}
