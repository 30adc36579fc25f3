// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"pathgate/gateway/control"
)

// fakeShares is the ShareSource of fakeState. What is set is kept, and refused as a
// gateway does.
type fakeShares struct {
	mu         sync.Mutex
	set        map[string]control.ShareSettings // of disks
	priorities map[string]uint8                 // priorities
	luns       []control.ShareLUN
	group      control.GroupShare
	version    uint32
	flows      []control.Share
	explain    []control.Explanation
}

const fakeFile = "file:/var/lib/pathgate/scratch.img"

func (s *fakeShares) normalShares() {
	s.set = map[string]control.ShareSettings{"vm1/root": {Shares: 2000}, "vm1/scratch": {Shares: 1000}, "vm2/root": {Shares: 1000}}
	s.priorities = map[string]uint8{"vm1": 5, "vm2": 10}
	s.version = 1
	s.group = control.GroupShare{Name: "db", Shares: 3000, Disks: []string{"vm1/root", "vm2/root"}}
	why := control.Explanation{
		Seq: 7, Source: control.ExplainScheduler, VM: "vm1", Disks: []string{"vm1/root"}, LUN: "vmhba0:0:1",
		Time: time.Date(2026, 11, 22, 12, 0, 2, 0, time.UTC), Verdict: control.VerdictQueued, Reason: control.ReasonOverEntitlement,
		LeadCU: 12, UsedPercent: 30, EntitledPercent: 20, InflightCU: 60, DepthCU: 64, CapacityCU: 10000, Ahead: "vm2", Version: 1,
	}
	s.flows = []control.Share{
		{
			VM: "vm1", LUN: "vmhba0:0:1", Disks: []string{"vm1/root"}, Effective: &control.EffectiveShare{}, Active: true,
			EntitledCU: 2000, EntitledPercent: 20, UsedCU: 3000, UsedPercent: 30, DemandUnbounded: true, Over: true,
			LeadCU: 12, Queued: 5, QueuedCU: 80, Inflight: 3, Parked: 1, HeadAgeUs: 1250, Why: &why,
			ObservedUs: 100e6, Commands: 1000, CU: 4000, Bytes: 16 << 20, Phases: map[string]uint64{"share": 900, "floor": 100},
			WaitedUs: map[string]int64{"share": 10e6, "over-entitlement": 2.5e6}, LongestGapUs: 250000, Reservation: control.ReservationNone,
			Warnings: []control.ShareWarning{{Code: "priority-in-health", Message: "its priority acts only while capacity is lost"}},
		},
		{VM: "vm1", LUN: fakeFile, Disks: []string{"vm1/scratch"}, Effective: &control.EffectiveShare{}, ObservedUs: 1, Reservation: control.ReservationNone},
		{VM: "vm2", LUN: "vmhba7:0:1", Disks: []string{"vm2/root"}, Reservation: control.ReservationNone},
	}
	s.explain = []control.Explanation{
		{
			Seq: 1, Source: control.ExplainPaths, VM: "vm2", Disks: []string{"vm2/root"}, LUN: "vmhba0:0:2", Path: "vmhba0:0:2", Length: 4096,
			Time: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), Verdict: control.VerdictHeld, Reason: control.ReasonFence,
		},
		{
			Seq: 6, Source: control.ExplainScheduler, VM: "vm1", Disks: []string{"vm1/root"}, LUN: "vmhba0:0:1",
			Time: time.Date(2026, 11, 22, 12, 0, 1, 0, time.UTC), Verdict: control.VerdictDispatched, Phase: "share",
			InflightCU: 8, DepthCU: 64, CapacityCU: 10000, UsedPercent: 10, EntitledPercent: 20, Version: 1,
		},
		why,
	}
	s.luns = []control.ShareLUN{
		{
			Name: "vmhba0:0:1", Names: []string{"naa.60014051234567890", "gold"}, Mode: "work-conserving", Version: 1,
			Settings: fakeLUNSettings(), DepthCU: 64, InflightCU: 60, DepthMove: "grew", Inflight: 15, CommandLimit: 128, LatencyUs: 4200, TargetUs: 5100,
			CapacityCU: 10000, NominalCU: 20000, Kappa: 0.5, Degraded: []string{"paths"}, PrioritiesInForce: true, FloorUs: 250000,
			ReservedCU: 500, Stalls: 2, Flows: 2, Waiting: 1,
			Groups:   []control.ShareGroup{{Name: "db", Weight: 3000, Flows: 2, EntitledPercent: 60, UsedPercent: 41.5, Limit: control.ShareLimit{IOPS: 900}}},
			Warnings: []control.ShareWarning{{Code: "limit-above-capacity", Message: "the limit of vm1 is above what the LUN can do"}},
		},
		{Name: fakeFile, Names: []string{strings.TrimPrefix(fakeFile, "file:")}, Mode: "work-conserving", Version: 1, Settings: fakeLUNSettings(), DepthCU: 64, DepthMove: "started", Kappa: 1, Flows: 1},
	}
}

func fakeLUNSettings() control.LUNShareSettings {
	return control.LUNShareSettings{
		Enabled: true, Mode: "work-conserving", CUBytes: 4096, CostModel: "patent", Quantum: 8, QuantumBytes: 1 << 20, WindowUs: 100000,
		FloorIntervalUs: 250000, ReserveAheadUs: 20000, LimitSlopUs: 2000, IdleCreditMax: 1024, DepthStart: 64, DepthMin: 4, DepthMax: 4096,
		LatencyTargetUs: 5000, DepthGain: 0.8, DepthGrowth: 0.02, CapacityModel: "sum", PlanPeriodUs: 100000, OverMargin: 5,
		PriorityMode: "degraded", TierKeep: 10, DegradedBelow: 90, ExplainRing: 1024,
	}
}

func (s *fakeShares) hostileShares(evil string) {
	s.normalShares()
	s.flows = s.flows[:1]
	f := &s.flows[0]
	f.LUN, f.Disks, f.Warnings[0].Message = evil, []string{evil, "vm1/root"}, evil
	f.Why.Reason, f.Why.VM = evil, evil
	f.WaitedUs = map[string]int64{evil: 1}
	s.explain = []control.Explanation{*f.Why}
	s.luns = s.luns[:1]
	s.group.Name = evil
	s.luns[0].Names, s.luns[0].Degraded, s.luns[0].Warnings[0].Code, s.luns[0].Groups[0].Name = []string{evil}, []string{evil}, evil, evil
}

func (s *fakeShares) settings(disk, vm string) control.ShareSettings {
	set := s.set[disk]
	set.Priority = s.priorities[vm]
	return set
}

func (s *fakeShares) Shares() []control.Share {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := slices.Clone(s.flows)
	for i := range list {
		f := &list[i]
		f.Configured = s.settings(f.Disks[len(f.Disks)-1], f.VM)
		if f.Effective != nil {
			f.Effective = &control.EffectiveShare{ShareSettings: f.Configured, Weight: f.Configured.Shares, Version: s.version}
		}
	}
	return list
}

func (s *fakeShares) DiskShares() (list []control.DiskShare) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.flows {
		disk := f.Disks[len(f.Disks)-1]
		list = append(list, control.DiskShare{Disk: disk, VM: f.VM, Settings: s.settings(disk, f.VM)})
	}
	return list
}

func (s *fakeShares) VMShares() (list []control.VMShare) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range []string{"vm1", "vm2"} {
		if p, ok := s.priorities[name]; ok {
			list = append(list, control.VMShare{VM: name, Priority: p})
		}
	}
	return list
}

func (s *fakeShares) ShareLUNs() []control.ShareLUN {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.luns)
}

func (s *fakeShares) SetDiskShare(disk string, c control.ShareChange) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.set[disk]
	if c.Shares != nil {
		if *c.Shares < 0 || *c.Shares > 100000 {
			return control.Invalid(fmt.Errorf("shares: %d is out of range (0 to 100000)", *c.Shares))
		}
		set.Shares = uint32(*c.Shares)
	}
	for _, v := range []struct {
		into *int64
		from *int64
	}{{&set.ReserveIOPS, c.ReserveIOPS}, {&set.ReserveBandwidth, c.ReserveBandwidth}, {&set.IdleCredit, c.IdleCredit}} {
		if v.from != nil {
			*v.into = *v.from
		}
	}
	setLimit(&set.Limit, c.Limit)
	setLimit(&set.LimitRead, c.LimitRead)
	setLimit(&set.LimitWrite, c.LimitWrite)
	if c.Group != nil {
		set.Group = *c.Group
	}
	s.set[disk] = set
	s.version++
	return nil
}

func setLimit(l *control.ShareLimit, c *control.ShareLimitChange) {
	if c == nil {
		return
	}
	for _, v := range []struct {
		into *int64
		from *int64
	}{
		{&l.IOPS, c.IOPS},
		{&l.Bandwidth, c.Bandwidth},
		{&l.BurstIOPS, c.BurstIOPS},
		{&l.BurstBytes, c.BurstBytes},
		{&l.PeakIOPS, c.PeakIOPS},
		{&l.PeakBandwidth, c.PeakBandwidth},
		{&l.PeakLengthMs, c.PeakLengthMs},
	} {
		if v.from != nil {
			*v.into = *v.from
		}
	}
}

func (s *fakeShares) SetVMShare(vm string, c control.VMShareChange) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if *c.Priority < 0 || *c.Priority > 10 {
		return control.Invalid(fmt.Errorf("priority: %d is out of range (0 to 10)", *c.Priority))
	}
	s.priorities[vm] = uint8(*c.Priority)
	s.version++
	return nil
}

func (s *fakeShares) SetLUNShare(lun string, c control.LUNShareChange) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.luns {
		l := &s.luns[i]
		if l.Name != lun {
			continue
		}
		if c.Mode != nil {
			l.Mode, l.Settings.Mode, l.Overridden = *c.Mode, *c.Mode, append(l.Overridden, "mode")
		}
		if c.Depth != nil {
			l.Settings.Depth, l.Overridden = *c.Depth, append(l.Overridden, "depth")
		}
		if c.LatencyTargetUs != nil {
			l.Settings.LatencyTargetUs = *c.LatencyTargetUs
		}
		s.version++
		l.Version = s.version
		return nil
	}
	return control.ErrNotFound
}

func (s *fakeShares) GroupShares() []control.GroupShare {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.group.Name == "" {
		return nil
	}
	return []control.GroupShare{s.group}
}

func (s *fakeShares) SetGroupShare(_ string, c control.GroupShareChange) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Shares != nil {
		s.group.Shares = uint32(*c.Shares)
	}
	setLimit(&s.group.Limit, c.Limit)
	s.version++
	return nil
}

func (s *fakeShares) ResetGroupShare(string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.group.Shares, s.group.Limit = 3000, control.ShareLimit{}
	s.version++
	return nil
}

func (s *fakeShares) ResetDiskShare(disk string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set[disk] = control.ShareSettings{Shares: 2000}
	s.version++
	return nil
}

func (s *fakeShares) ResetVMShare(vm string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.priorities[vm] = 5
	s.version++
	return nil
}

func (s *fakeShares) ResetLUNShare(lun string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.luns {
		if l := &s.luns[i]; l.Name == lun {
			l.Settings, l.Mode, l.Overridden = fakeLUNSettings(), "work-conserving", nil
		}
	}
	s.version++
	return nil
}

func (s *fakeShares) Explain(q control.ExplainQuery) (list []control.Explanation) {
	for _, e := range s.explain {
		if (q.VM == "" || q.VM == e.VM) && (q.Disk == "" || slices.Contains(e.Disks, q.Disk)) && (q.LUN == "" || q.LUN == e.LUN) {
			list = append(list, e)
		}
	}
	return list[max(0, len(list)-q.Last):]
}

var _ control.ShareSource = (*fakeState)(nil)
