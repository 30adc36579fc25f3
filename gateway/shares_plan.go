// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"

	"pathgate/share"
)

// shareState is what plans are made of. planning it is pure: the same state gives the
// same plans.
type shareState struct {
	cfg *Config
	// disks are in the order of the configuration, with what holds for each now; ofVM
	// has the same by VM.
	disks   []*shareDisk
	ofVM    map[string][]*shareDisk
	groups  []GroupPlan            // as configured, with what holds for each now
	luns    map[string]LUNOverride // by device
	devices map[string]ShareDevice
}

// shareDisk is a disk with its effective part and place.
type shareDisk struct {
	vm, name string // name is the full one
	priority uint8
	share    DiskShare
	parts    []SharePart
}

// bytesOn is how much of the disk lies on a device.
func (d *shareDisk) bytesOn(device string) (n uint64) {
	for _, p := range d.parts {
		if p.Device == device {
			n += p.Bytes
		}
	}
	return n
}

func (d *shareDisk) isOn(device string) bool { return d.bytesOn(device) > 0 }

// rule is the rule of a device.
func (s *shareState) rule(d ShareDevice) LUNRule {
	return s.cfg.LUNRuleFor(append([]string{d.Name}, d.Names...)...)
}

// settings are those of a device. An override that does not go with the rule any more
// is left out; err says why.
func (s *shareState) settings(d ShareDevice) (c SchedulerConfig, err error) {
	c = s.rule(d).Scheduler
	if s.luns[d.Name] == (LUNOverride{}) {
		c.Settings = resolveSettings(c.Settings, d.Rotational)
		return c, nil // the configuration was checked
	}
	with := c.Settings
	s.luns[d.Name].apply(&with)
	with = resolveSettings(with, d.Rotational)
	if err = with.Validate(); err == nil {
		c.Settings = with
		return c, nil
	}
	c.Settings = resolveSettings(c.Settings, d.Rotational)
	return c, err
}

// planLUN makes the plan of one device.
func (s *shareState) planLUN(dev ShareDevice) LUNPlan {
	c, err := s.settings(dev)
	rule := s.rule(dev)
	p := LUNPlan{Device: dev.Name, Enabled: c.Enabled, Settings: c.Settings, Flows: map[string]FlowPlan{}}
	if err != nil {
		p.warn(WarnOverrideIgnored, "", "", "what was set at run time does not go with the configuration: "+oneLine(err))
	}
	p.Groups = append(p.Groups, s.groups...)
	for _, d := range s.disks {
		if d.isOn(dev.Name) {
			s.addDisk(&p, d)
		}
	}
	for _, vm := range slices.Sorted(maps.Keys(p.Flows)) {
		f := p.Flows[vm]
		p.bound(vm, &f.Entitlement)
		f.QueueCommands = cmp.Or(f.QueueCommands, rule.QueueCommands)
		f.QueueBytes = cmp.Or(f.QueueBytes, int64(rule.QueueBytes))
		p.Flows[vm] = f
	}
	return p
}

// bound cuts sums that are more than a flow can have.
func (p *LUNPlan) bound(vm string, e *share.Entitlement) {
	if e.Weight > share.MaxShares {
		p.warn(WarnSharesCut, vm, "", fmt.Sprintf("the disks of %s have %d shares together: %d count", vm, e.Weight, share.MaxShares))
		e.Weight = share.MaxShares
	}
	if most := p.Settings.IdleCreditMax; e.IdleCredit > most {
		p.warn(WarnIdleCreditCut, vm, "", fmt.Sprintf("the idle credit of %s is %d CU: idle-credit-max makes it %d", vm, e.IdleCredit, most))
		e.IdleCredit = most
	}
	e.Reservation.Ops = min(e.Reservation.Ops, maxReservedOps)
	e.Reservation.Bytes = min(e.Reservation.Bytes, maxReservedBytes)
}

// addDisk adds a disk to its VM's flow: shares, idle credit and the part of the
// reservation that falls to this device add up; the limit is the flow's if nothing
// else is.
func (s *shareState) addDisk(p *LUNPlan, d *shareDisk) {
	f, group := p.Flows[d.vm], s.cfg.groupID(d.share.Group)
	e := &f.Entitlement
	if len(f.Disks) == 0 {
		e.Priority, e.Group = d.priority, group
	} else if e.Group != group {
		p.warn(WarnGroupDiffers, d.vm, d.name, fmt.Sprintf("%s is in another group than %s: %s; that of %s counts",
			d.name, f.Disks[0], oneGroupRule, f.Disks[0]))
	}
	f.Disks = append(f.Disks, d.name)
	e.Weight += d.share.Shares
	e.IdleCredit += d.share.IdleCredit
	r := d.reservationOn(p.Device)
	e.Reservation.Ops += r.Ops
	e.Reservation.Bytes += r.Bytes
	if s.limitOnFlow(d) {
		e.Limits = d.share.Limits
	}
	f.QueueCommands = max(f.QueueCommands, d.share.QueueCommands)
	f.QueueBytes = max(f.QueueBytes, int64(d.share.QueueBytes))
	p.Flows[d.vm] = f
}

// The ends of what a reservation can be, per second.
const (
	minReservedOps   = 1
	minReservedBytes = 4096
	maxReservedOps   = 10_000_000
	maxReservedBytes = 100_000_000_000
)

// reservationOn splits the disk's reservation by the size of its extents. The parts
// add up to the whole, but none is less than the least there is.
func (d *shareDisk) reservationOn(device string) (r share.Rate) {
	var before, total uint64
	for _, p := range d.parts {
		total += p.Bytes
	}
	for _, p := range d.parts {
		after := before + p.Bytes
		if p.Device == device {
			all := d.share.Reservation
			r.Ops += portion(all.Ops, after, total) - portion(all.Ops, before, total)
			r.Bytes += portion(all.Bytes, after, total) - portion(all.Bytes, before, total)
		}
		before = after
	}
	if d.share.Reservation.Ops > 0 {
		r.Ops = max(r.Ops, minReservedOps)
	}
	if d.share.Reservation.Bytes > 0 {
		r.Bytes = max(r.Bytes, minReservedBytes)
	}
	return r
}

// portion is rate*part/total, rounded down, for part <= total and total > 0.
func portion(rate int64, part, total uint64) int64 {
	if part == total {
		return rate
	}
	hi, lo := bits.Mul64(uint64(rate), part)
	q, _ := bits.Div64(hi, lo, total)
	return int64(q)
}

// limitOnFlow tells whether the disk's limit is kept by its flow: the disk is one
// piece of one device, has the flow for itself, and the device has a scheduler. Else
// a request could be counted twice, or with those of another disk.
func (s *shareState) limitOnFlow(d *shareDisk) bool {
	if len(d.parts) != 1 {
		return false
	}
	device := d.parts[0].Device
	dev, known := s.devices[device]
	if !known || !s.rule(dev).Scheduler.Enabled {
		return false
	}
	for _, other := range s.ofVM[d.vm] {
		if other != d && other.isOn(device) {
			return false
		}
	}
	return true
}

// planDisk makes the plan of one disk.
func (s *shareState) planDisk(d *shareDisk) DiskPlan {
	p := DiskPlan{Disk: d.name, Priority: d.priority}
	if d.share.Limits == (share.Limits{}) || len(d.parts) == 0 || s.limitOnFlow(d) {
		return p
	}
	limits := d.share.Limits
	p.Limiter, p.Settings = &limits, share.DefaultSettings()
	// A unit of 1 MiB and the widest window: 65536 requests, more than may be queued.
	p.Settings.UnitBytes, p.Settings.Depth = 1<<20, maxQueueCommands
	p.Settings.FloorInterval, p.Settings.PriorityMode = 0, share.PriorityOff
	if dev, ok := s.devices[d.parts[0].Device]; ok {
		c, _ := s.settings(dev)
		p.Settings.OpsBytes, p.Settings.LimitSlop = c.Settings.OpsBytes, c.Settings.LimitSlop
		p.Settings.ExplainRing = c.Settings.ExplainRing
	}
	return p
}

func (p *LUNPlan) warn(code, vm, disk, msg string) {
	p.warnings = append(p.warnings, ShareWarning{Code: code, Device: p.Device, VM: vm, Disk: disk, Message: msg})
}

// oneLine is an error of several lines as one.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
