// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"math"
	"strconv"
	"time"

	"pathgate/gateway/control"
	"pathgate/share"
)

// SetDiskShare sets what c sets for a disk. It returns when that is on stable storage
// and in force.
func (v *shareView) SetDiskShare(disk string, c control.ShareChange) error {
	o := ShareOverride{
		Shares: c.Shares, Reservation: RateOverride{IOPS: c.ReserveIOPS, Bandwidth: c.ReserveBandwidth},
		Group: c.Group, IdleCredit: (*share.Unit)(c.IdleCredit),
	}
	faults := []error{overrideLimits(&o.Limits, c.Limit, c.LimitRead, c.LimitWrite)}
	if c.QueueCommands != nil {
		n := int(min(max(*c.QueueCommands, math.MinInt32), math.MaxInt32)) // what is cut is out of range anyway
		o.QueueCommands = &n
	}
	if n := c.QueueBytes; n != nil {
		size := Size(max(*n, 0))
		if o.QueueBytes = &size; *n < 0 {
			faults = append(faults, share.Fault{Key: "queue-bytes", Value: strconv.FormatInt(*n, 10), Message: errSizeSign.Error()})
		}
	}
	if err := errors.Join(faults...); err != nil {
		return control.Invalid(err)
	}
	return shareError(disk, v.shares.Set(disk, o))
}

// overrideLimits takes over what is set of a change of limits.
func overrideLimits(o *LimitsOverride, total, read, write *control.ShareLimitChange) error {
	var faults []error
	for _, l := range []struct {
		key  string
		into *CeilingOverride
		from *control.ShareLimitChange
	}{{"limit", &o.CeilingOverride, total}, {"limit.read", &o.Read, read}, {"limit.write", &o.Write, write}} {
		if l.from != nil {
			faults = append(faults, overrideCeiling(l.key, l.into, l.from))
		}
	}
	return errors.Join(faults...)
}

func overrideCeiling(key string, o *CeilingOverride, c *control.ShareLimitChange) (err error) {
	o.RateOverride = RateOverride{IOPS: c.IOPS, Bandwidth: c.Bandwidth}
	o.Burst = BurstOverride{Ops: c.BurstIOPS, Bytes: c.BurstBytes}
	o.Peak.RateOverride = RateOverride{IOPS: c.PeakIOPS, Bandwidth: c.PeakBandwidth}
	o.Peak.For, err = durationOf(key+".peak.for", c.PeakLengthMs, time.Millisecond)
	return err
}

// durationOf is n units as a time; one that no time can hold is a fault.
func durationOf(key string, n *int64, unit time.Duration) (*time.Duration, error) {
	if n == nil {
		return nil, nil
	}
	if limit := math.MaxInt64 / int64(unit); *n > limit || *n < -limit {
		return nil, share.Fault{Key: key, Message: errOutOfRange.Error(), Rule: share.Rule(key)}
	}
	d := time.Duration(*n) * unit
	return &d, nil
}

// SetVMShare sets what c sets for a VM.
func (v *shareView) SetVMShare(vm string, c control.VMShareChange) error {
	return shareError(vm, v.shares.SetVM(vm, VMOverride{Priority: c.Priority}))
}

// SetGroupShare sets what c sets for a group, on every LUN.
func (v *shareView) SetGroupShare(group string, c control.GroupShareChange) error {
	o := GroupOverride{Shares: c.Shares}
	if err := overrideLimits(&o.Limits, c.Limit, c.LimitRead, c.LimitWrite); err != nil {
		return control.Invalid(err)
	}
	return shareError(group, v.shares.SetGroup(group, o))
}

// SetLUNShare sets what c sets for the scheduler of a LUN or file.
func (v *shareView) SetLUNShare(lun string, c control.LUNShareChange) error {
	o := LUNOverride{
		UnitBytes: c.CUBytes, OpsBytes: c.OpsBytes, Quantum: narrow(c.Quantum), QuantumBytes: c.QuantumBytes,
		IdleCreditMax: (*share.Unit)(c.IdleCreditMax), Depth: (*share.Unit)(c.Depth), DepthStart: (*share.Unit)(c.DepthStart),
		DepthMin: (*share.Unit)(c.DepthMin), DepthMax: (*share.Unit)(c.DepthMax), DepthGain: c.DepthGain, DepthGrowth: c.DepthGrowth,
		Capacity: c.Capacity, OverMargin: narrow(c.OverMargin), TierKeep: narrow(c.TierKeep),
		DegradedBelow: narrow(c.DegradedBelow), ExplainRing: narrow(c.ExplainRing),
	}
	var errs [10]error
	o.Mode, errs[0] = valueOf[share.Mode]("mode", shareModes[:], c.Mode)
	o.CostModel, errs[1] = valueOf[share.CostModel]("cost-model", shareCostModels[:], c.CostModel)
	o.CapacityModel, errs[2] = valueOf[share.CapacityModel]("capacity-model", shareCapacityModels[:], c.CapacityModel)
	o.PriorityMode, errs[3] = valueOf[share.PriorityMode]("priority-mode", sharePriorityModes[:], c.PriorityMode)
	for i, d := range []struct {
		key  string
		into **time.Duration
		us   *int64
	}{
		{"vt-window", &o.Window, c.WindowUs},
		{"floor-interval", &o.FloorInterval, c.FloorIntervalUs},
		{"reserve-ahead", &o.ReserveAhead, c.ReserveAheadUs},
		{"limit-slop", &o.LimitSlop, c.LimitSlopUs},
		{"latency-target", &o.LatencyTarget, c.LatencyTargetUs},
		{"plan-period", &o.PlanPeriod, c.PlanPeriodUs},
	} {
		*d.into, errs[4+i] = durationOf(d.key, d.us, time.Microsecond)
	}
	err := errors.Join(errs[:]...)
	if n := c.SequentialGap; n != nil {
		gap := uint64(max(*n, 0))
		if o.SequentialGap = &gap; *n < 0 {
			err = errors.Join(err, share.Fault{
				Key: "sequential-gap", Value: strconv.FormatInt(*n, 10), Message: errOutOfRange.Error(), Rule: share.Rule("sequential-gap"),
			})
		}
	}
	if err != nil {
		return control.Invalid(err)
	}
	return shareError(lun, v.shares.SetLUN(lun, o))
}

// narrow is for knobs whose range ends far below what is cut.
func narrow(n *int64) *int {
	if n == nil {
		return nil
	}
	v := int(min(max(*n, math.MinInt32), math.MaxInt32))
	return &v
}

// ResetDiskShare goes back to the configuration of a disk.
func (v *shareView) ResetDiskShare(disk string) error { return shareError(disk, v.shares.Reset(disk)) }

// ResetVMShare goes back to the configuration of a VM.
func (v *shareView) ResetVMShare(vm string) error { return shareError(vm, v.shares.ResetVM(vm)) }

// ResetGroupShare goes back to the configuration of a group.
func (v *shareView) ResetGroupShare(group string) error {
	return shareError(group, v.shares.ResetGroup(group))
}

// ResetLUNShare goes back to the configuration of a LUN's or file's scheduler.
func (v *shareView) ResetLUNShare(lun string) error { return shareError(lun, v.shares.ResetLUN(lun)) }

// shareError gives a refusal by Shares in the words of the API, which names the object
// itself.
func shareError(object string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrShareUnknown):
		return control.ErrNotFound
	case !errors.Is(err, ErrShareInvalid):
		return err
	}
	var faults []error
	for _, f := range joined(err) {
		if sf, ok := errors.AsType[ShareFault](f); ok && sf.Object == object {
			f = sf.Fault
		}
		faults = append(faults, f)
	}
	return control.Invalid(errors.Join(faults...))
}

// joined are the errors that errors.Join has joined.
func joined(err error) []error {
	if all, ok := err.(interface{ Unwrap() []error }); ok {
		return all.Unwrap()
	}
	return []error{err}
}
