// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"slices"

	"pathgate/share"
)

// shareFaults notes what package share finds wrong in what was written under key.
func (v *validator) shareFaults(key string, err error) {
	for _, f := range share.Faults(err) {
		v.fault(joinKey(key, f.Key), f.Message, f.Rule)
	}
}

func (v *validator) groups() {
	seen := make(map[string]string)
	for i, g := range v.c.Groups {
		key := fmt.Sprintf("groups[%d]", i)
		v.unique(seen, g.Name, key+".name", "group names are unique")
		e := g.entitlement()
		v.shareFaults(key, e.Validate())
	}
}

func (g GroupConfig) entitlement() share.GroupEntitlement {
	return share.GroupEntitlement{Weight: g.Shares, Limits: g.Limits}
}

func (v *validator) scheduler(r LUNRule, key string) {
	s := resolveSettings(r.Scheduler.Settings, false)
	v.shareFaults(key, s.Validate())
}

// diskShare checks a disk's part by itself and that its group is there.
func (v *validator) diskShare(d DiskConfig, key string) {
	e := d.Share.entitlement()
	v.shareFaults(key, e.Validate())
	if msg, rule := v.c.checkGroup(d.Share.Group); msg != "" {
		v.fault(key+".group", msg, rule)
	}
}

// entitlement is the disk's part as if it were a flow of its own.
func (s DiskShare) entitlement() share.Entitlement {
	return share.Entitlement{
		Weight: s.Shares, Reservation: s.Reservation, Limits: s.Limits, IdleCredit: s.IdleCredit,
		Priority: share.DefaultPriority,
	}
}

func (c *Config) checkGroup(name string) (msg, rule string) {
	if name == "" || c.groupID(name) != 0 {
		return "", ""
	}
	return "is not a group", "a name from groups"
}

// groupID is the number that a group has on every LUN; 0: no such group.
func (c *Config) groupID(name string) share.GroupID {
	return share.GroupID(1 + slices.IndexFunc(c.Groups, func(g GroupConfig) bool { return g.Name == name && name != "" }))
}

// groupsOfVM finds the first two disks of a VM on one LUN that are in different
// groups. A LUN is known by the name that the configuration gives it: two names of one
// LUN are found when it is there (LUNPlan.Warnings).
func (vm *VMConfig) groupsOfVM(group func(d *DiskConfig) string) (first, second int, ok bool) {
	at := make(map[string]int)
	for j := range vm.Disks {
		for _, e := range vm.Disks[j].Extents {
			i, seen := at[e.LUN]
			if e.LUN == "" {
				continue
			}
			if !seen {
				at[e.LUN] = j
			} else if group(&vm.Disks[i]) != group(&vm.Disks[j]) {
				return i, j, true
			}
		}
	}
	return 0, 0, false
}

const oneGroupRule = "the disks of a VM on one LUN are in one group"

// oneGroup notes disks that need two groups for one flow.
func (v *validator) oneGroup() {
	for i := range v.c.VMs {
		vm := &v.c.VMs[i]
		first, second, bad := vm.groupsOfVM(func(d *DiskConfig) string { return d.Share.Group })
		if bad {
			key := fmt.Sprintf("vms[%d].disks[%d]", i, second)
			v.fault(key+".group", fmt.Sprintf("differs from that of vms[%d].disks[%d]", i, first), oneGroupRule)
		}
	}
}
