// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"pathgate/gateway/control"
	"pathgate/share"
)

// shareView shows who gets what to the control API, and changes it. Like adminView it
// takes snapshots: a scheduler's lock is held for the time of one, never over I/O.
type shareView struct {
	cfg     *Config
	shares  *Shares
	explain *Explanations // of the path manager
	// schedulers gives those of the devices that are there, in any order.
	schedulers func() []shareScheduler
}

// shareScheduler is the scheduler of one device.
type shareScheduler interface {
	// ShareDevice is the device's name, as Shares has it, and its further ones.
	ShareDevice() ShareDevice
	// ShareStatus fills dst with the state now; since is when its totals began.
	ShareStatus(dst *share.Snapshot) (since time.Time)
	// Explained appends the decisions that are kept to dst, oldest first.
	Explained(dst []share.Explain) []share.Explain
	// FlowVM is the VM of a flow; "" when there is no such flow.
	FlowVM(f share.FlowID) string
}

// lunView is a device with its plan and what its scheduler tells.
type lunView struct {
	scheduler shareScheduler
	device    ShareDevice
	plan      LUNPlan
	set       LUNOverride
	snap      share.Snapshot
	now       time.Time // of snap
	since     time.Time
	warnings  []ShareWarning
}

// luns gives all devices that are there, by name.
func (v *shareView) luns() []*lunView {
	var list []*lunView
	for _, s := range v.schedulers() {
		l := &lunView{scheduler: s, device: s.ShareDevice()}
		var ok bool
		if l.plan, l.set, ok = v.shares.LUNShare(l.device.Name); !ok {
			continue // it is not known yet, or no longer
		}
		l.since = s.ShareStatus(&l.snap)
		l.now = time.Now()
		l.warnings = append(l.plan.Warnings(l.measured()), l.stateWarnings()...)
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b *lunView) int { return cmp.Compare(a.device.Name, b.device.Name) })
	return list
}

// at is a scheduler's instant as a time.
func (l *lunView) at(i share.Instant) time.Time { return l.now.Add(time.Duration(i - l.snap.Time)) }

// flow gives the state of a VM's flow, nil when it has none yet.
func (l *lunView) flow(vm string) *share.FlowStatus {
	for i := range l.snap.Flows {
		if l.scheduler.FlowVM(l.snap.Flows[i].Flow) == vm {
			return &l.snap.Flows[i]
		}
	}
	return nil
}

// Shares gives all flows, and the disks that are in none.
func (v *shareView) Shares() []control.Share {
	var list []control.Share
	luns, ignored := v.luns(), v.shares.Warnings()
	for i := range v.cfg.VMs {
		vm := &v.cfg.VMs[i]
		shown := map[string]bool{}
		for _, l := range luns {
			plan, ok := l.plan.Flows[vm.Name]
			if !ok {
				continue
			}
			for _, d := range plan.Disks {
				shown[d] = true
			}
			s := v.showFlow(l, vm.Name, plan)
			s.Warnings = showWarnings(slices.Concat(l.warnings, ignored), func(w ShareWarning) bool {
				return w.VM == vm.Name && (w.Disk == "" || slices.Contains(plan.Disks, w.Disk))
			})
			list = append(list, s)
		}
		for j := range vm.Disks {
			name := vm.Name + "/" + vm.Disks[j].Name
			if !shown[name] {
				list = append(list, v.showAbsent(vm.Name, &vm.Disks[j]))
			}
		}
	}
	return list
}

// showAbsent shows a disk whose LUN or file is not there.
func (v *shareView) showAbsent(vm string, d *DiskConfig) control.Share {
	name := vm + "/" + d.Name
	s := control.Share{
		VM: vm, Disks: []string{name}, Configured: v.diskSettings(vm, name), Reservation: control.ReservationNone,
	}
	if d.File != "" {
		s.LUN = FileDevice(d.File)
	} else if len(d.Extents) > 0 {
		s.LUN = d.Extents[0].LUN
	}
	s.Warnings = showWarnings(v.shares.Warnings(), func(w ShareWarning) bool {
		return w.Disk == name || w.VM == vm && w.Disk == ""
	})
	return s
}

// DiskShares gives what holds for every disk.
func (v *shareView) DiskShares() []control.DiskShare {
	var list []control.DiskShare
	for i := range v.cfg.VMs {
		vm := &v.cfg.VMs[i]
		for j := range vm.Disks {
			name := vm.Name + "/" + vm.Disks[j].Name
			_, set, _ := v.shares.DiskShare(name)
			list = append(list, control.DiskShare{
				Disk: name, VM: vm.Name, Settings: v.diskSettings(vm.Name, name), Overridden: set.Keys(),
			})
		}
	}
	return list
}

func (v *shareView) diskSettings(vm, disk string) control.ShareSettings {
	d := v.shares.Effective(disk)
	out := showEntitlement(&share.Entitlement{Weight: d.Shares, Reservation: d.Reservation, Limits: d.Limits, IdleCredit: d.IdleCredit})
	out.Priority, _, _ = v.shares.VMPriority(vm)
	out.Group, out.QueueCommands, out.QueueBytes = d.Group, int64(d.QueueCommands), int64(d.QueueBytes)
	return out
}

// VMShares gives what holds for every VM.
func (v *shareView) VMShares() []control.VMShare {
	var list []control.VMShare
	for i := range v.cfg.VMs {
		name := v.cfg.VMs[i].Name
		priority, set, _ := v.shares.VMPriority(name)
		list = append(list, control.VMShare{VM: name, Priority: priority, Overridden: set.Keys()})
	}
	return list
}

// GroupShares gives what holds for every group.
func (v *shareView) GroupShares() []control.GroupShare {
	var list []control.GroupShare
	for i := range v.cfg.Groups {
		name := v.cfg.Groups[i].Name
		e, set, _ := v.shares.GroupShare(name)
		g := control.GroupShare{
			Name: name, Shares: e.Weight, Limit: showCeiling(&e.Limits.Total), LimitRead: showCeiling(&e.Limits.Read),
			LimitWrite: showCeiling(&e.Limits.Write), Overridden: set.Keys(), Disks: []string{},
		}
		for _, d := range v.DiskShares() {
			if d.Settings.Group == name {
				g.Disks = append(g.Disks, d.Disk)
			}
		}
		list = append(list, g)
	}
	return list
}

// ShareLUNs gives the schedulers of all devices that are there.
func (v *shareView) ShareLUNs() []control.ShareLUN {
	var list []control.ShareLUN
	for _, l := range v.luns() {
		list = append(list, v.showLUN(l))
	}
	return list
}

func (v *shareView) showLUN(l *lunView) control.ShareLUN {
	s := &l.snap
	out := control.ShareLUN{
		Name: l.device.Name, Names: lunNames(l.device), Settings: showSettings(l.plan.Enabled, &l.plan.Settings),
		Overridden: l.set.Keys(), Version: s.Version, Mode: nameOf(shareModes[:], s.Mode),
		DepthCU: int64(s.Depth), InflightCU: int64(s.InFlight), DepthMove: nameOf(shareDepthMoves[:], s.DepthMove),
		Inflight: s.Commands, CommandLimit: s.CommandLimit,
		LatencyUs: s.Latency.Microseconds(), TargetUs: s.Target.Microseconds(),
		CapacityCU: cuPerSecond(s.Capacity), NominalCU: cuPerSecond(s.Nominal), Kappa: float64(s.Kappa) / 1e6,
		Degraded: shareDegradations(s.Degraded), PrioritiesInForce: s.PrioritiesInForce,
		FloorUs: s.Floor.Microseconds(), ReservedCU: cuPerSecond(s.Reserved), Stalls: s.Stalls, Faults: s.Faults,
		Flows: len(s.Flows), Warnings: showWarnings(l.warnings, func(ShareWarning) bool { return true }),
	}
	for i := range s.Flows {
		if s.Flows[i].Queued > 0 {
			out.Waiting++
		}
	}
	for i := range s.Groups {
		if g := &s.Groups[i]; g.Flows > 0 {
			out.Groups = append(out.Groups, l.showGroup(g))
		}
	}
	return out
}

// lunNames are a device's further names; a file's is its path.
func lunNames(d ShareDevice) []string {
	names := slices.DeleteFunc(slices.Clone(d.Names), func(n string) bool { return n == "" || n == d.Name })
	if path, ok := strings.CutPrefix(d.Name, fileDevicePrefix); ok && !slices.Contains(names, path) {
		names = append(names, path)
	}
	return names
}

func showWarnings(all []ShareWarning, which func(ShareWarning) bool) (list []control.ShareWarning) {
	for _, w := range all {
		if which(w) {
			list = append(list, control.ShareWarning{Code: w.Code, Message: w.Message})
		}
	}
	return list
}
