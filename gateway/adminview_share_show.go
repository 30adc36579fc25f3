// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"slices"
	"time"

	"pathgate/gateway/control"
	"pathgate/share"
)

// showFlow shows a VM on a device.
func (v *shareView) showFlow(l *lunView, vm string, plan FlowPlan) control.Share {
	out := control.Share{
		VM: vm, LUN: l.device.Name, Disks: slices.Clone(plan.Disks),
		Configured: v.flowSettings(l, &plan.Entitlement, plan), Reservation: control.ReservationNone,
	}
	for _, d := range plan.Disks {
		if len(plan.Disks) > 1 && v.limiter(d) != nil {
			out.LimitedDisks = append(out.LimitedDisks, d)
		}
	}
	f := l.flow(vm)
	if f == nil {
		return out // no disk of it has been attached yet
	}
	out.Effective = &control.EffectiveShare{
		ShareSettings: v.flowSettings(l, &f.Configured, plan), Weight: f.Weight,
		ReservationCU: cuPerSecond(f.Reservation), LimitCU: cuPerSecond(f.Limit), Version: l.snap.Version,
	}
	capacity := l.snap.Capacity
	out.Active, out.Over = f.Active, f.Over
	out.EntitledCU, out.EntitledPercent = cuPerSecond(f.Entitlement), percentOf(f.Entitlement, capacity)
	out.UsedCU, out.UsedPercent = cuPerSecond(f.Use), percentOf(f.Use, capacity)
	if out.DemandUnbounded = f.Demand < 0; !out.DemandUnbounded {
		out.DemandCU, out.DemandPercent = cuPerSecond(f.Demand), percentOf(f.Demand, capacity)
	}
	out.LeadCU, out.Queued, out.QueuedCU = int64(f.Lead), f.Queued, int64(f.QueuedUnits)
	out.Inflight, out.Parked, out.HeadAgeUs = f.InFlight, f.Parked, f.HeadAge.Microseconds()
	if f.Why.Seq != 0 {
		why := l.showExplain(&f.Why)
		out.Why = &why
	}
	out.ObservedUs = max(l.now.Sub(l.since), 0).Microseconds()
	out.Commands, out.CU, out.Bytes = f.Commands, int64(f.Units), f.Bytes
	out.Phases = map[string]uint64{}
	for i, n := range f.ByPhase {
		if name := nameOf(sharePhases[:], uint8(i)); name != "" && n > 0 {
			out.Phases[name] = n
		}
	}
	out.WaitedUs = map[string]int64{}
	for i, d := range f.Waited {
		if name := nameOf(shareReasons[:], uint8(i)); name != "" && d >= time.Microsecond {
			out.WaitedUs[name] = d.Microseconds()
		}
	}
	out.LimitBlockedUs, out.LongestGapUs = f.LimitBlocked.Microseconds(), f.LongestGap.Microseconds()
	switch {
	case f.Configured.Reservation == share.Rate{}:
	case f.Met:
		out.Reservation = control.ReservationMet
	default:
		out.Reservation = control.ReservationScaled
	}
	return out
}

// flowSettings shows what a flow is entitled to. A limit that the flow does not keep
// itself is its disk's, where it has only one.
func (v *shareView) flowSettings(l *lunView, e *share.Entitlement, plan FlowPlan) control.ShareSettings {
	limited := *e
	if len(plan.Disks) == 1 {
		if kept := v.limiter(plan.Disks[0]); kept != nil {
			limited.Limits = *kept
		}
	}
	out := showEntitlement(&limited)
	if g := int(e.Group); g > 0 && g <= len(l.plan.Groups) {
		out.Group = l.plan.Groups[g-1].Name
	}
	out.QueueCommands, out.QueueBytes = int64(plan.QueueCommands), plan.QueueBytes
	return out
}

// limiter is the limit of a disk that is kept in front of its flows; nil: none is.
func (v *shareView) limiter(disk string) *share.Limits {
	v.shares.mu.RLock()
	defer v.shares.mu.RUnlock()
	return v.shares.diskPlan[disk].Limiter
}

func showEntitlement(e *share.Entitlement) control.ShareSettings {
	return control.ShareSettings{
		Shares: e.Weight, Priority: e.Priority, ReserveIOPS: e.Reservation.Ops, ReserveBandwidth: e.Reservation.Bytes,
		Limit: showCeiling(&e.Limits.Total), LimitRead: showCeiling(&e.Limits.Read), LimitWrite: showCeiling(&e.Limits.Write),
		IdleCredit: int64(e.IdleCredit),
	}
}

func showCeiling(c *share.Ceiling) control.ShareLimit {
	return control.ShareLimit{
		IOPS: c.Rate.Ops, Bandwidth: c.Rate.Bytes, BurstIOPS: c.Burst.Ops, BurstBytes: c.Burst.Bytes,
		PeakIOPS: c.Peak.Ops, PeakBandwidth: c.Peak.Bytes, PeakLengthMs: c.PeakLength.Milliseconds(),
	}
}

func (l *lunView) showGroup(g *share.GroupStatus) control.ShareGroup {
	out := control.ShareGroup{
		Shares: g.Configured.Weight, Weight: g.Weight, Flows: g.Flows,
		Limit: showCeiling(&g.Configured.Limits.Total), LimitRead: showCeiling(&g.Configured.Limits.Read),
		LimitWrite: showCeiling(&g.Configured.Limits.Write),
		EntitledCU: cuPerSecond(g.Entitlement), EntitledPercent: percentOf(g.Entitlement, l.snap.Capacity),
		UsedCU: cuPerSecond(g.Use), UsedPercent: percentOf(g.Use, l.snap.Capacity),
	}
	if n := int(g.Group); n > 0 && n <= len(l.plan.Groups) {
		out.Name = l.plan.Groups[n-1].Name
	}
	return out
}

func showSettings(enabled bool, s *share.Settings) control.LUNShareSettings {
	return control.LUNShareSettings{
		Enabled: enabled, Mode: nameOf(shareModes[:], s.Mode), CUBytes: s.UnitBytes, OpsBytes: s.OpsBytes,
		CostModel: nameOf(shareCostModels[:], s.CostModel), Quantum: int64(s.Quantum), QuantumBytes: s.QuantumBytes,
		SequentialGap: int64(s.SequentialGap), WindowUs: s.Window.Microseconds(), FloorIntervalUs: s.FloorInterval.Microseconds(),
		ReserveAheadUs: s.ReserveAhead.Microseconds(), LimitSlopUs: s.LimitSlop.Microseconds(), IdleCreditMax: int64(s.IdleCreditMax),
		Depth: int64(s.Depth), DepthStart: int64(s.DepthStart), DepthMin: int64(s.DepthMin), DepthMax: int64(s.DepthMax),
		LatencyTargetUs: s.LatencyTarget.Microseconds(), DepthGain: s.DepthGain, DepthGrowth: s.DepthGrowth, Capacity: s.Capacity,
		CapacityModel: nameOf(shareCapacityModels[:], s.CapacityModel), PlanPeriodUs: s.PlanPeriod.Microseconds(),
		OverMargin: int64(s.OverMargin), PriorityMode: nameOf(sharePriorityModes[:], s.PriorityMode), TierKeep: int64(s.TierKeep),
		DegradedBelow: int64(s.DegradedBelow), ExplainRing: int64(s.ExplainRing),
	}
}

// cuPerSecond is a speed in CU/s.
func cuPerSecond(s share.Speed) float64 { return float64(s) / 1000 }

// percentOf is a part of the capacity; 0 while that is not known.
func percentOf(s, capacity share.Speed) float64 {
	if capacity <= 0 {
		return 0
	}
	return 100 * float64(s) / float64(capacity)
}
