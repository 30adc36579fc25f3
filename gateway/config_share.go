// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"time"

	"pathgate/share"
)

// DiskShare is what a disk is to get of its LUNs. In the file its keys stand beside
// the disk's others:
//
//	shares: high
//	reservation: {iops: 200, bandwidth: 20MB/s}
//	limit:
//	  iops: 500
//	  bandwidth: 100MB/s
//	  burst: {ops: 1000}                      # or, in its place:
//	  peak: {bandwidth: 200MB/s, for: 60s}
//	  read: {iops: 400}
//	  write: {bandwidth: 50MB/s}
//	group: databases
//
// Ranges are those of package share, 0 is none. What can be changed at run time is
// ShareOverride.
type DiskShare struct {
	// Shares are the disk's weight on every LUN that it has a part of (the patent,
	// par. 0086), `shares:` 0-100000, or low, normal, high for 500, 1000, 2000.
	// Default 1000. 0: served only while nobody else waits, but for the floor.
	Shares uint32
	// Reservation is the least that the disk gets, per second, `iops` and `bandwidth`.
	// With parts on several LUNs each gives as much of it as it has of the disk.
	// Not above the limit. What all together cannot give is scaled down.
	Reservation share.Rate
	// Limits bound what the VM asks of the disk, counted once however many LUNs a
	// request touches: `iops` and `bandwidth` of all requests; `burst` {ops, bytes}
	// is what may pass at once above them; or `peak` {iops, bandwidth, for} a higher
	// bound for a time, default 1 s; the same again under `read` and `write`.
	Limits share.Limits
	// Group is a name from Config.Groups; empty: none. The disks that a VM has on one
	// LUN are in one group.
	Group string
	// IdleCredit is how many CU the disk may be ahead of its part after it was idle.
	// More than the LUN's idle-credit-max has no effect.
	IdleCredit share.Unit
	// QueueCommands and QueueBytes bound what the VM may have outstanding on each of
	// the disk's LUNs, 1-65536 and 1 MiB-4 GiB; 0: those of LUNRule. Of several disks
	// on one LUN the largest counts. Too little costs throughput, too much memory.
	QueueCommands int
	QueueBytes    Size
}

// GroupConfig is a set of disks, of any VMs, that together have a weight and limits.
// A group is a group on each LUN by itself: a limit of 1000 on two LUNs is 2000.
type GroupConfig struct {
	// Name is a valid object name, unique.
	Name string
	// Shares are the group's weight against flows without a group and other groups,
	// 0-100000 or low, normal, high. 0, the default: the sum of its members'.
	Shares uint32
	// Limits as in DiskShare.
	Limits share.Limits
}

// SchedulerConfig is how a LUN's or a file's scheduler works, `scheduler:` in a rule,
// in the terms of share.Settings and with its defaults.
type SchedulerConfig struct {
	// Enabled false passes everything on as it comes: shares, reservations and
	// priorities have no effect, limits of disks keep theirs. Default true.
	Enabled bool
	// Settings have one value that share.Settings has not: LatencyTarget 0, the
	// default, is 5 ms, or 25 ms on a rotating medium.
	Settings share.Settings
}

const (
	defaultQueueCommands = 1024
	defaultQueueBytes    = 64 * mib

	maxQueueCommands = 65536
	minQueueBytes    = mib
	maxQueueBytes    = 4096 * mib
	queueBytesRule   = "1MiB to 4GiB"
	mib              = 1 << 20
)

func defaultDiskShare() DiskShare { return DiskShare{Shares: share.SharesNormal} }

func defaultScheduler() SchedulerConfig {
	s := share.DefaultSettings()
	s.LatencyTarget = 0
	return SchedulerConfig{Enabled: true, Settings: s}
}

// settings resolves what depends on the device.
func resolveSettings(s share.Settings, rotational bool) share.Settings {
	switch {
	case s.LatencyTarget != 0:
	case rotational:
		s.LatencyTarget = share.LatencyTargetDisk
	default:
		s.LatencyTarget = share.LatencyTargetFlash
	}
	return s
}

// startInside moves a start of the window that nobody asked for between its bounds.
func startInside(s *share.Settings) {
	if s.DepthMin <= s.DepthMax {
		s.DepthStart = min(max(s.DepthStart, s.DepthMin), s.DepthMax)
	}
}

// diskShare reads the keys of a disk that concern the scheduler.
func (d *decoder) diskShare(o object, s *DiskShare) {
	o.shares(&s.Shares)
	if v, key, ok := o.get("reservation"); ok {
		r := d.object(v, key, "iops", "bandwidth")
		r.rate("reservation", &s.Reservation)
	}
	if v, key, ok := o.get("limit"); ok {
		d.limits(v, key, &s.Limits)
	}
	o.text("group", &s.Group, checkName)
	whole(o, "idle-credit", "idle-credit", &s.IdleCredit)
	o.queue(&s.QueueCommands, &s.QueueBytes)
}

// diskShareKeys are the keys that diskShare reads.
func diskShareKeys() []string {
	return []string{"shares", "reservation", "limit", "group", "idle-credit", "queue-commands", "queue-bytes"}
}

func (o object) queue(commands *int, bytes *Size) {
	o.integer("queue-commands", commands, 1, maxQueueCommands)
	parsed(o, "queue-bytes", bytes, func(s string) (Size, error) {
		n, err := ParseSize(s)
		if err == nil && (n < minQueueBytes || n > maxQueueBytes) {
			err = errOutOfRange
		}
		return n, err
	}, queueBytesRule)
}

func (d *decoder) group(v value, key string) (g GroupConfig) {
	o := d.object(v, key, "name", "shares", "limit")
	o.require("name")
	o.text("name", &g.Name, checkName)
	o.shares(&g.Shares)
	if v, key, ok := o.get("limit"); ok {
		d.limits(v, key, &g.Limits)
	}
	return g
}

func (d *decoder) limits(v value, key string, l *share.Limits) {
	o := d.object(v, key, "iops", "bandwidth", "burst", "peak", "read", "write")
	d.ceiling(o, &l.Total)
	for name, c := range map[string]*share.Ceiling{"read": &l.Read, "write": &l.Write} {
		if v, key, ok := o.get(name); ok {
			d.ceiling(d.object(v, key, "iops", "bandwidth", "burst", "peak"), c)
		}
	}
}

func (d *decoder) ceiling(o object, c *share.Ceiling) {
	o.rate("limit", &c.Rate)
	if v, key, ok := o.get("burst"); ok {
		b := d.object(v, key, "ops", "bytes")
		whole(b, "ops", "limit.burst.ops", &c.Burst.Ops)
		b.byteCount("bytes", "limit.burst.bytes", &c.Burst.Bytes)
	}
	if v, key, ok := o.get("peak"); ok {
		p := d.object(v, key, "iops", "bandwidth", "for")
		p.rate("limit.peak", &c.Peak)
		p.span("for", "limit.peak.for", &c.PeakLength)
	}
}

// schedulerKeys are the keys of `scheduler:`, in the order of SCHEDULER section 1.
func schedulerKeys() []string {
	return []string{
		"enabled", "mode", "cu-bytes", "ops-bytes", "cost-model", "calibration", "quantum", "quantum-bytes",
		"sequential-gap", "vt-window", "floor-interval", "reserve-ahead", "limit-slop", "idle-credit-max",
		"depth", "depth-start", "depth-min", "depth-max", "latency-target", "depth-gain", "depth-growth",
		"capacity", "capacity-model", "plan-period", "over-margin", "priority-mode", "tier-keep",
		"degraded-below", "explain-ring",
	}
}

func (d *decoder) scheduler(v value, key string, c *SchedulerConfig) {
	o, s := d.object(v, key, schedulerKeys()...), &c.Settings
	o.bool("enabled", &c.Enabled)
	words(o, "mode", &s.Mode, "work-conserving", "strict")
	o.byteCount("cu-bytes", "cu-bytes", &s.UnitBytes)
	o.byteCount("ops-bytes", "ops-bytes", &s.OpsBytes)
	words(o, "cost-model", &s.CostModel, "patent", "calibrated")
	if v, key, ok := o.get("calibration"); ok {
		d.calibration(v, key, &s.Calibration)
	}
	knob(o, "quantum", &s.Quantum)
	o.byteCount("quantum-bytes", "quantum-bytes", &s.QuantumBytes)
	knob(o, "sequential-gap", &s.SequentialGap)
	for name, into := range map[string]*time.Duration{
		"vt-window": &s.Window, "floor-interval": &s.FloorInterval, "reserve-ahead": &s.ReserveAhead,
		"limit-slop": &s.LimitSlop, "latency-target": &s.LatencyTarget, "plan-period": &s.PlanPeriod,
	} {
		o.span(name, name, into)
	}
	knob(o, "idle-credit-max", &s.IdleCreditMax)
	o.depth(&s.Depth)
	knob(o, "depth-start", &s.DepthStart)
	knob(o, "depth-min", &s.DepthMin)
	knob(o, "depth-max", &s.DepthMax)
	if !o.has("depth-start") {
		startInside(s)
	}
	o.fraction("depth-gain", &s.DepthGain)
	o.fraction("depth-growth", &s.DepthGrowth)
	knob(o, "capacity", &s.Capacity)
	words(o, "capacity-model", &s.CapacityModel, "sum", "shared")
	knob(o, "over-margin", &s.OverMargin)
	words(o, "priority-mode", &s.PriorityMode, "degraded", "off", "always")
	knob(o, "tier-keep", &s.TierKeep)
	knob(o, "degraded-below", &s.DegradedBelow)
	knob(o, "explain-ring", &s.ExplainRing)
}

func (d *decoder) calibration(v value, key string, k *share.Calibration) {
	o := d.object(v, key, "random-read", "sequential-read", "random-write", "sequential-write")
	for name, c := range map[string]*share.ClassCost{
		"random-read": &k.RandomRead, "sequential-read": &k.SequentialRead,
		"random-write": &k.RandomWrite, "sequential-write": &k.SequentialWrite,
	} {
		if v, key, ok := o.get(name); ok {
			cl := d.object(v, key, "iops", "cu-bytes")
			whole(cl, "iops", "calibration."+name+".iops", &c.IOPS)
			cl.byteCount("cu-bytes", "calibration."+name+".cu-bytes", &c.UnitBytes)
		}
		k.MaxIOPS = max(k.MaxIOPS, c.IOPS)
	}
}
