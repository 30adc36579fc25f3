// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"reflect"
	"strings"
	"time"

	"pathgate/share"
)

// ShareOverride is what was changed of a disk's DiskShare at run time. Nil is "as
// configured"; 0 takes a limit or reservation away, "" the group. Numbers have the
// units and ranges of DiskShare. The JSON form has the keys of the configuration.
type ShareOverride struct {
	Shares        *int64         `json:"shares,omitempty"`
	Reservation   RateOverride   `json:"reservation,omitzero"`
	Limits        LimitsOverride `json:"limit,omitzero"`
	Group         *string        `json:"group,omitempty"`
	IdleCredit    *share.Unit    `json:"idle-credit,omitempty"`
	QueueCommands *int           `json:"queue-commands,omitempty"`
	QueueBytes    *Size          `json:"queue-bytes,omitempty"`
}

// RateOverride is a change of a rate, per second.
type RateOverride struct {
	IOPS      *int64 `json:"iops,omitempty"`
	Bandwidth *int64 `json:"bandwidth,omitempty"`
}

// LimitsOverride is a change of limits: in all, and of reads and writes.
type LimitsOverride struct {
	CeilingOverride
	Read  CeilingOverride `json:"read,omitzero"`
	Write CeilingOverride `json:"write,omitzero"`
}

// CeilingOverride is a change of one limit.
type CeilingOverride struct {
	RateOverride
	Burst BurstOverride `json:"burst,omitzero"`
	Peak  PeakOverride  `json:"peak,omitzero"`
}

// BurstOverride is a change of what may pass at once.
type BurstOverride struct {
	Ops   *int64 `json:"ops,omitempty"`
	Bytes *int64 `json:"bytes,omitempty"`
}

// PeakOverride is a change of a higher limit for a time.
type PeakOverride struct {
	RateOverride
	For *time.Duration `json:"for,omitempty"`
}

// GroupOverride is what was changed of a group, on every LUN.
type GroupOverride struct {
	Shares *int64         `json:"shares,omitempty"`
	Limits LimitsOverride `json:"limit,omitzero"`
}

// VMOverride is what was changed of a VM.
type VMOverride struct {
	Priority *int64 `json:"priority,omitempty"`
}

// LUNOverride is what was changed of the scheduler of a LUN or file: the knobs of
// share.Settings but for the calibration. LatencyTarget 0 is that of the medium.
type LUNOverride struct {
	Mode          *share.Mode          `json:"mode,omitempty"`
	UnitBytes     *int64               `json:"cu-bytes,omitempty"`
	OpsBytes      *int64               `json:"ops-bytes,omitempty"`
	CostModel     *share.CostModel     `json:"cost-model,omitempty"`
	Quantum       *int                 `json:"quantum,omitempty"`
	QuantumBytes  *int64               `json:"quantum-bytes,omitempty"`
	SequentialGap *uint64              `json:"sequential-gap,omitempty"`
	Window        *time.Duration       `json:"vt-window,omitempty"`
	FloorInterval *time.Duration       `json:"floor-interval,omitempty"`
	ReserveAhead  *time.Duration       `json:"reserve-ahead,omitempty"`
	LimitSlop     *time.Duration       `json:"limit-slop,omitempty"`
	IdleCreditMax *share.Unit          `json:"idle-credit-max,omitempty"`
	Depth         *share.Unit          `json:"depth,omitempty"`
	DepthStart    *share.Unit          `json:"depth-start,omitempty"`
	DepthMin      *share.Unit          `json:"depth-min,omitempty"`
	DepthMax      *share.Unit          `json:"depth-max,omitempty"`
	LatencyTarget *time.Duration       `json:"latency-target,omitempty"`
	DepthGain     *float64             `json:"depth-gain,omitempty"`
	DepthGrowth   *float64             `json:"depth-growth,omitempty"`
	Capacity      *int64               `json:"capacity,omitempty"`
	CapacityModel *share.CapacityModel `json:"capacity-model,omitempty"`
	PlanPeriod    *time.Duration       `json:"plan-period,omitempty"`
	OverMargin    *int                 `json:"over-margin,omitempty"`
	PriorityMode  *share.PriorityMode  `json:"priority-mode,omitempty"`
	TierKeep      *int                 `json:"tier-keep,omitempty"`
	DegradedBelow *int                 `json:"degraded-below,omitempty"`
	ExplainRing   *int                 `json:"explain-ring,omitempty"`
}

// Keys are the keys that are set, as the configuration spells them ("limit.read.iops").
func (o ShareOverride) Keys() []string { return setKeys(reflect.ValueOf(o), "") }

// Keys are the keys that are set.
func (o GroupOverride) Keys() []string { return setKeys(reflect.ValueOf(o), "") }

// Keys are the keys that are set.
func (o VMOverride) Keys() []string { return setKeys(reflect.ValueOf(o), "") }

// Keys are the keys that are set.
func (o LUNOverride) Keys() []string { return setKeys(reflect.ValueOf(o), "") }

// apply changes s. The range of Shares was checked: check comes first.
func (o ShareOverride) apply(s *DiskShare) {
	if o.Shares != nil {
		s.Shares = uint32(*o.Shares)
	}
	o.Reservation.apply(&s.Reservation)
	o.Limits.apply(&s.Limits)
	assign(&s.Group, o.Group)
	assign(&s.IdleCredit, o.IdleCredit)
	assign(&s.QueueCommands, o.QueueCommands)
	assign(&s.QueueBytes, o.QueueBytes)
}

func (o RateOverride) apply(r *share.Rate) {
	assign(&r.Ops, o.IOPS)
	assign(&r.Bytes, o.Bandwidth)
}

func (o LimitsOverride) apply(l *share.Limits) {
	o.CeilingOverride.apply(&l.Total)
	o.Read.apply(&l.Read)
	o.Write.apply(&l.Write)
}

func (o CeilingOverride) apply(c *share.Ceiling) {
	o.RateOverride.apply(&c.Rate)
	assign(&c.Burst.Ops, o.Burst.Ops)
	assign(&c.Burst.Bytes, o.Burst.Bytes)
	o.Peak.RateOverride.apply(&c.Peak)
	assign(&c.PeakLength, o.Peak.For)
}

func (o LUNOverride) apply(s *share.Settings) {
	assign(&s.Mode, o.Mode)
	assign(&s.UnitBytes, o.UnitBytes)
	assign(&s.OpsBytes, o.OpsBytes)
	assign(&s.CostModel, o.CostModel)
	assign(&s.Quantum, o.Quantum)
	assign(&s.QuantumBytes, o.QuantumBytes)
	assign(&s.SequentialGap, o.SequentialGap)
	assign(&s.Window, o.Window)
	assign(&s.FloorInterval, o.FloorInterval)
	assign(&s.ReserveAhead, o.ReserveAhead)
	assign(&s.LimitSlop, o.LimitSlop)
	assign(&s.IdleCreditMax, o.IdleCreditMax)
	assign(&s.Depth, o.Depth)
	assign(&s.DepthStart, o.DepthStart)
	assign(&s.DepthMin, o.DepthMin)
	assign(&s.DepthMax, o.DepthMax)
	assign(&s.LatencyTarget, o.LatencyTarget)
	assign(&s.DepthGain, o.DepthGain)
	assign(&s.DepthGrowth, o.DepthGrowth)
	assign(&s.Capacity, o.Capacity)
	assign(&s.CapacityModel, o.CapacityModel)
	assign(&s.PlanPeriod, o.PlanPeriod)
	assign(&s.OverMargin, o.OverMargin)
	assign(&s.PriorityMode, o.PriorityMode)
	assign(&s.TierKeep, o.TierKeep)
	assign(&s.DegradedBelow, o.DegradedBelow)
	assign(&s.ExplainRing, o.ExplainRing)
	if o.DepthStart == nil {
		startInside(s)
	}
}

// assign sets what is set.
func assign[T any](into *T, v *T) {
	if v != nil {
		*into = *v
	}
}

// merged is o with what p sets: structs of pointers, and of such structs.
func merged[T any](o, p T) T {
	merge(reflect.ValueOf(&o).Elem(), reflect.ValueOf(p))
	return o
}

func merge(into, from reflect.Value) {
	for i := range from.NumField() {
		switch f := from.Field(i); {
		case f.Kind() == reflect.Struct:
			merge(into.Field(i), f)
		case !f.IsNil():
			into.Field(i).Set(f)
		}
	}
}

// setKeys lists the JSON keys of pointers that are not nil.
func setKeys(v reflect.Value, prefix string) (keys []string) {
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		f := v.Field(i)
		switch {
		case f.Kind() == reflect.Struct && name == "":
			keys = append(keys, setKeys(f, prefix)...)
		case f.Kind() == reflect.Struct:
			keys = append(keys, setKeys(f, joinKey(prefix, name))...)
		case !f.IsNil():
			keys = append(keys, joinKey(prefix, name))
		}
	}
	return keys
}

// ShareOverrides are overrides of any number of disks ("vm1/root"), VMs, groups and
// devices (ShareDevice.Name).
type ShareOverrides struct {
	Disks  map[string]ShareOverride
	VMs    map[string]VMOverride
	Groups map[string]GroupOverride
	LUNs   map[string]LUNOverride
}
