// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"pathgate/share"
)

// resolve checks that all objects are there, and names devices as the store does.
// What sets nothing (Reset) may be about one that is only in the store.
func (s *Shares) resolve(set ShareOverrides) (ShareOverrides, error) {
	for name := range set.Disks {
		if _, stored := s.stored.Disks[name]; s.byName[name] == nil && !(stored && len(set.Disks[name].Keys()) == 0) {
			return set, fmt.Errorf("%w: disk %q", ErrShareUnknown, name)
		}
	}
	for name := range set.VMs {
		if _, stored := s.stored.VMs[name]; s.state.cfg.vm(name) == nil && !(stored && len(set.VMs[name].Keys()) == 0) {
			return set, fmt.Errorf("%w: VM %q", ErrShareUnknown, name)
		}
	}
	for name := range set.Groups {
		if _, stored := s.stored.Groups[name]; s.state.cfg.groupID(name) == 0 && !(stored && len(set.Groups[name].Keys()) == 0) {
			return set, fmt.Errorf("%w: group %q", ErrShareUnknown, name)
		}
	}
	luns := make(map[string]LUNOverride, len(set.LUNs))
	for name, o := range set.LUNs {
		device, err := s.state.deviceName(name)
		if _, stored := s.stored.LUNs[name]; err != nil && stored && len(o.Keys()) == 0 {
			device, err = name, nil
		}
		if err != nil {
			return set, err
		}
		luns[device] = o
	}
	set.LUNs = luns
	return set, nil
}

func (c *Config) vm(name string) *VMConfig {
	i := slices.IndexFunc(c.VMs, func(vm VMConfig) bool { return vm.Name == name })
	if i < 0 {
		return nil
	}
	return &c.VMs[i]
}

// check holds records against the configuration and each other.
func (s *Shares) check(records ShareOverrides) error {
	var faults []error
	add := func(object string, list []share.Fault) {
		for _, f := range list {
			faults = append(faults, ShareFault{object, f})
		}
	}
	cfg := s.state.cfg
	for i := range cfg.VMs {
		vm := &cfg.VMs[i]
		if o, ok := records.VMs[vm.Name]; ok {
			_, list := effectivePriority(vm, o)
			add(vm.Name, list)
		}
		touched := false
		for j := range vm.Disks {
			name := vm.Name + "/" + vm.Disks[j].Name
			if o, ok := records.Disks[name]; ok {
				_, list := cfg.effectiveShare(&vm.Disks[j], o)
				add(name, list)
				touched = touched || o.Group != nil || s.stored.Disks[name].Group != nil
			}
		}
		if touched {
			add(s.groupFault(vm, records))
		}
	}
	for i := range cfg.Groups {
		if o, ok := records.Groups[cfg.Groups[i].Name]; ok {
			_, list := effectiveGroup(&cfg.Groups[i], o)
			add(cfg.Groups[i].Name, list)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(records.LUNs)) {
		if dev, ok := s.state.devices[name]; ok {
			with := shareState{cfg: cfg, luns: records.LUNs}
			_, err := with.settings(dev)
			add(name, share.Faults(err))
		}
	}
	return errors.Join(faults...)
}

// groupFault looks for two disks of a VM on one LUN that would be in two groups.
func (s *Shares) groupFault(vm *VMConfig, records ShareOverrides) (object string, faults []share.Fault) {
	group := func(d *DiskConfig) string {
		name, g := vm.Name+"/"+d.Name, d.Share.Group
		o, ok := records.Disks[name]
		if !ok {
			o = s.stored.Disks[name]
		}
		assign(&g, o.Group)
		return g
	}
	first, second, bad := vm.groupsOfVM(group)
	if !bad {
		return "", nil
	}
	a, b := &vm.Disks[first], &vm.Disks[second]
	return vm.Name + "/" + b.Name, []share.Fault{{
		Key: "group", Value: strconv.Quote(group(b)),
		Message: fmt.Sprintf("differs from that of %s/%s, %q", vm.Name, a.Name, group(a)), Rule: oneGroupRule,
	}}
}

// effectivePriority is a VM's priority with o. With faults it is the configured one.
func effectivePriority(vm *VMConfig, o VMOverride) (uint8, []share.Fault) {
	if o.Priority == nil {
		return vm.Priority, nil
	}
	if f, bad := outside("priority", *o.Priority, 0, share.MaxPriority); bad {
		return vm.Priority, []share.Fault{f}
	}
	return uint8(*o.Priority), nil
}

// effectiveShare is a disk's part with o. With faults it is the configured one.
func (c *Config) effectiveShare(d *DiskConfig, o ShareOverride) (DiskShare, []share.Fault) {
	with := d.Share
	if o == (ShareOverride{}) {
		return with, nil // the configuration was checked
	}
	var faults []share.Fault
	if o.Shares != nil {
		if f, bad := outside("shares", *o.Shares, 0, share.MaxShares); bad {
			faults = append(faults, f)
			o.Shares = nil
		}
	}
	o.apply(&with)
	e := with.entitlement()
	faults = append(faults, share.Faults(e.Validate())...)
	if msg, rule := c.checkGroup(with.Group); msg != "" {
		faults = append(faults, share.Fault{Key: "group", Value: strconv.Quote(with.Group), Message: msg, Rule: rule})
	}
	if o.QueueCommands != nil && with.QueueCommands != 0 {
		if f, bad := outside("queue-commands", int64(with.QueueCommands), 1, maxQueueCommands); bad {
			faults = append(faults, f)
		}
	}
	if n := with.QueueBytes; n != 0 && (n < minQueueBytes || n > maxQueueBytes) {
		faults = append(faults, share.Fault{Key: "queue-bytes", Value: n.String(), Message: errOutOfRange.Error(), Rule: queueBytesRule})
	}
	if len(faults) > 0 {
		return d.Share, faults
	}
	return with, nil
}

// effectiveGroup is a group with o. With faults it is as configured.
func effectiveGroup(g *GroupConfig, o GroupOverride) (share.GroupEntitlement, []share.Fault) {
	e := g.entitlement()
	with := e
	var faults []share.Fault
	if o.Shares != nil {
		if f, bad := outside("shares", *o.Shares, 0, share.MaxShares); bad {
			faults = append(faults, f)
		} else {
			with.Weight = uint32(*o.Shares)
		}
	}
	o.Limits.apply(&with.Limits)
	if faults = append(faults, share.Faults(with.Validate())...); len(faults) > 0 {
		return e, faults
	}
	return with, nil
}

// outside tells whether v is not in a range, and the fault that this is.
func outside(key string, v, low, high int64) (share.Fault, bool) {
	return share.Fault{
		Key: key, Value: strconv.FormatInt(v, 10), Message: errOutOfRange.Error(),
		Rule: fmt.Sprintf("%d to %d", low, high),
	}, v < low || v > high
}
