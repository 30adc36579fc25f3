// SPDX-License-Identifier: Apache-2.0

package share

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// Fault is one value that is not allowed. Key is the knob as configurations spell
// it, with hyphens ("vt-window", "limit.read.iops"); Value is empty where it is no
// single value that is wrong.
type Fault struct{ Key, Value, Message, Rule string }

// Error is "key: value message (rule)".
func (f Fault) Error() string {
	s := f.Key + ":"
	if f.Value != "" {
		s += " " + f.Value
	}
	s += " " + f.Message
	if f.Rule != "" {
		s += " (" + f.Rule + ")"
	}
	return s
}

// Faults are those that an error of Validate or NewCore is made of.
func Faults(err error) []Fault {
	var f Fault
	var all []Fault
	switch e := err.(type) {
	case nil:
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			all = append(all, Faults(err)...)
		}
	default:
		if errors.As(err, &f) {
			all = append(all, f)
		}
	}
	return all
}

// Rule gives the range of a knob ("20ms to 2s"); empty when there is no such knob.
func Rule(key string) string {
	s, e, c := DefaultSettings(), DefaultEntitlement(), checks{rules: map[string]string{}}
	s.ranges(&c)
	s.Calibration.ranges(&c)
	e.ranges(&c)
	return c.rules[key]
}

// Validate gives every fault at once, each a Fault, joined; nil when there is none.
func (s *Settings) Validate() error {
	var c checks
	s.ranges(&c)
	if c.fine("depth-min", "depth-max") && s.DepthMin > s.DepthMax {
		c.fault("depth-min", number(s.DepthMin), "is above depth-max", "at most depth-max, "+number(s.DepthMax))
	} else if c.fine("depth-start") && c.fine("depth-min", "depth-max") && (s.DepthStart < s.DepthMin || s.DepthStart > s.DepthMax) {
		c.fault("depth-start", number(s.DepthStart), "is not between depth-min and depth-max",
			number(s.DepthMin)+" to "+number(s.DepthMax))
	}
	if s.CostModel == CostCalibrated && s.Calibration == (Calibration{}) {
		c.fault("calibration", "", "is missing", "cost-model calibrated needs the speed of every class")
	} else if s.Calibration != (Calibration{}) {
		s.Calibration.check(&c)
	}
	return c.err()
}

// Validate gives every fault at once, each a Fault, joined. That IdleCredit is above
// the LUN's IdleCreditMax is none: it is cut.
func (e *Entitlement) Validate() error {
	var c checks
	e.ranges(&c)
	e.Limits.check(&c)
	l, r := e.Limits, e.Reservation
	c.reserved("iops", r.Ops, l.Total.Rate.Ops, l.Read.Rate.Ops, l.Write.Rate.Ops)
	c.reserved("bandwidth", r.Bytes, l.Total.Rate.Bytes, l.Read.Rate.Bytes, l.Write.Rate.Bytes)
	return c.err()
}

// Validate gives every fault at once, each a Fault, joined.
func (g *GroupEntitlement) Validate() error {
	var c checks
	whole(&c, "shares", g.Weight, 0, MaxShares)
	g.Limits.ranges(&c)
	g.Limits.check(&c)
	return c.err()
}

// Bounds that several knobs share: operations and bytes per second, bursts, CU.
const (
	maxOps        = 10_000_000
	minBytes      = 4096
	maxBytes      = 100_000_000_000
	maxBurstOps   = 1_000_000
	minBurstBytes = 512
	maxBurstBytes = 16 << 30
	maxUnits      = 65536
)

// ranges checks each value by itself (SCHEDULER section 1, the table of knobs).
func (s *Settings) ranges(c *checks) {
	const ms, sec = time.Millisecond, time.Second
	enum(c, "mode", s.Mode, Strict, "work-conserving or strict")
	c.powerOfTwo("cu-bytes", s.UnitBytes, 512, 1<<20)
	c.size("ops-bytes", s.OpsBytes, 4096, 1<<20, true)
	enum(c, "cost-model", s.CostModel, CostCalibrated, "patent or calibrated")
	whole(c, "quantum", s.Quantum, 1, 64)
	c.size("quantum-bytes", s.QuantumBytes, 64<<10, 16<<20, false)
	whole(c, "sequential-gap", s.SequentialGap, 0, 2000)
	c.duration("vt-window", s.Window, 20*ms, 2*sec, false)
	c.duration("floor-interval", s.FloorInterval, 50*ms, 10*sec, true)
	c.duration("reserve-ahead", s.ReserveAhead, 1*ms, 200*ms, false)
	c.duration("limit-slop", s.LimitSlop, 1*ms, 20*ms, false)
	whole(c, "idle-credit-max", s.IdleCreditMax, 0, maxUnits)
	whole(c, "depth", s.Depth, 0, maxUnits)
	whole(c, "depth-start", s.DepthStart, 1, maxUnits)
	whole(c, "depth-min", s.DepthMin, 1, maxUnits)
	whole(c, "depth-max", s.DepthMax, 1, maxUnits)
	c.duration("latency-target", s.LatencyTarget, 200*time.Microsecond, 100*ms, false)
	c.fraction("depth-gain", s.DepthGain, 0.1, 1)
	c.fraction("depth-growth", s.DepthGrowth, 0.005, 0.1)
	whole(c, "capacity", s.Capacity, 0, 100_000_000)
	enum(c, "capacity-model", s.CapacityModel, CapacityShared, "sum or shared")
	c.duration("plan-period", s.PlanPeriod, 20*ms, 100*ms, false)
	whole(c, "over-margin", s.OverMargin, 0, 50)
	enum(c, "priority-mode", s.PriorityMode, PriorityAlways, "off, degraded or always")
	whole(c, "tier-keep", s.TierKeep, 0, 50)
	whole(c, "degraded-below", s.DegradedBelow, 50, 100)
	whole(c, "explain-ring", s.ExplainRing, 0, maxUnits)
}

// class is one class of a calibration with its key.
type class struct {
	key  string
	cost ClassCost
}

func (k *Calibration) classes() []class {
	return []class{
		{"random-read", k.RandomRead},
		{"sequential-read", k.SequentialRead},
		{"random-write", k.RandomWrite},
		{"sequential-write", k.SequentialWrite},
	}
}

func (k *Calibration) ranges(c *checks) {
	for _, cl := range k.classes() {
		whole(c, "calibration."+cl.key+".iops", cl.cost.IOPS, 1, maxOps)
		c.size("calibration."+cl.key+".cu-bytes", cl.cost.UnitBytes, 512, 1<<30, false)
	}
}

// check is for a calibration that is there. MaxIOPS follows from the classes; a
// class so slow that one command would cost more than the widest window is refused.
func (k *Calibration) check(c *checks) {
	k.ranges(c)
	highest := int64(0)
	for _, cl := range k.classes() {
		highest = max(highest, cl.cost.IOPS)
	}
	if k.MaxIOPS != highest {
		c.fault("calibration", "", "has a highest rate of "+number(k.MaxIOPS), "that of the fastest class, "+number(highest))
	}
	for _, cl := range k.classes() {
		if key := "calibration." + cl.key + ".iops"; c.fine(key) && cl.cost.IOPS*maxUnits < highest {
			c.fault(key, number(cl.cost.IOPS), "is too far below the fastest class", "at least a 65536th of "+number(highest))
		}
	}
}

func (e *Entitlement) ranges(c *checks) {
	whole(c, "shares", e.Weight, 0, MaxShares)
	c.rate("reservation", e.Reservation)
	e.Limits.ranges(c)
	whole(c, "idle-credit", e.IdleCredit, 0, maxUnits)
	whole(c, "priority", e.Priority, 0, MaxPriority)
}

// ceiling is one of the three of Limits with its key.
type ceiling struct {
	key string
	of  Ceiling
}

func (l *Limits) ceilings() []ceiling {
	return []ceiling{{"limit", l.Total}, {"limit.read", l.Read}, {"limit.write", l.Write}}
}

func (l *Limits) ranges(c *checks) {
	for _, k := range l.ceilings() {
		c.rate(k.key, k.of.Rate)
		c.count(k.key+".burst.ops", k.of.Burst.Ops, 1, maxBurstOps, "", "1 to 1000000")
		c.size(k.key+".burst.bytes", k.of.Burst.Bytes, minBurstBytes, maxBurstBytes, true)
		c.rate(k.key+".peak", k.of.Peak)
		c.duration(k.key+".peak.for", k.of.PeakLength, 100*time.Millisecond, time.Hour, true)
	}
}

// check is about values that do not fit together.
func (l *Limits) check(c *checks) {
	for _, k := range l.ceilings() {
		c.above(k.key, "iops", "ops", k.of.Rate.Ops, k.of.Burst.Ops, k.of.Peak.Ops)
		c.above(k.key, "bandwidth", "bytes", k.of.Rate.Bytes, k.of.Burst.Bytes, k.of.Peak.Bytes)
		if k.of.PeakLength != 0 && k.of.Peak == (Rate{}) {
			c.fault(k.key+".peak.for", durationText(k.of.PeakLength), "has no peak", "needs peak.iops or peak.bandwidth beside it")
		}
	}
}

// above checks one ceiling in one unit.
func (c *checks) above(key, rate, amount string, limit, burst, peak int64) {
	limitKey, burstKey, peakKey := key+"."+rate, key+".burst."+amount, key+".peak."+rate
	switch {
	case !c.fine(burstKey) || burst == 0:
	case limit == 0:
		c.fault(burstKey, number(burst), "has no limit to be above", "needs "+limitKey)
	case peak != 0:
		c.fault(burstKey, number(burst), "does not go with a peak", "one of burst and peak")
	}
	switch {
	case !c.fine(peakKey) || peak == 0:
	case limit == 0:
		c.fault(peakKey, number(peak), "has no limit to be above", "needs "+limitKey)
	case c.fine(limitKey) && peak < limit:
		c.fault(peakKey, number(peak), "is below the limit", "at least "+limitKey+", "+number(limit))
	}
}

// reserved checks limits against a reservation in one unit: in all, and where reads
// and writes both have one, their sum.
func (c *checks) reserved(unit string, reservation, total, read, write int64) {
	if !c.fine("reservation."+unit) || reservation == 0 {
		return
	}
	want := "reservation." + unit + ", " + number(reservation)
	if key := "limit." + unit; c.fine(key) && total != 0 && total < reservation {
		c.fault(key, number(total), "is below the reservation", "at least "+want)
	}
	reads, writes := "limit.read."+unit, "limit.write."+unit
	if c.fine(reads, writes) && read != 0 && write != 0 && read+write < reservation {
		c.fault(reads, number(read), "is below the reservation, with "+writes, "together at least "+want)
	}
}

// checks collects faults, and where rules is not nil the rules of what was looked at.
type checks struct {
	faults []error
	bad    map[string]bool
	rules  map[string]string
}

// done tells that a value that is right needs no words.
func (c *checks) done(ok bool) bool { return ok && c.rules == nil }

func (c *checks) fault(key, value, msg, rule string) {
	if c.bad == nil {
		c.bad = map[string]bool{}
	}
	c.bad[key] = true
	c.faults = append(c.faults, Fault{key, value, msg, rule})
}

// fine tells whether none of the values has been found wrong.
func (c *checks) fine(keys ...string) bool {
	for _, k := range keys {
		if c.bad[k] {
			return false
		}
	}
	return true
}

func (c *checks) err() error { return errors.Join(c.faults...) }

func (c *checks) check(key, value string, ok bool, rule string) {
	if c.rules != nil {
		c.rules[key] = rule
	}
	if !ok {
		c.fault(key, value, "is out of range", rule)
	}
}

// count checks a number that may be 0 for none.
func (c *checks) count(key string, v, low, high int64, unit, ends string) {
	if ok := v == 0 || inside(v, low, high); !c.done(ok) {
		c.check(key, number(v)+unit, ok, "0, or "+ends)
	}
}

type integer interface {
	~int | ~int64 | ~uint8 | ~uint32 | ~uint64
}

// number is for values that fit in an int64 or were refused for being too large.
func number[T integer](v T) string {
	if v > 0 {
		return strconv.FormatUint(uint64(v), 10)
	}
	return strconv.FormatInt(int64(v), 10)
}

func inside(v, low, high int64) bool { return v >= low && v <= high }

func whole[T integer](c *checks, key string, v, low, high T) {
	if ok := v >= low && v <= high; !c.done(ok) {
		c.check(key, number(v), ok, number(low)+" to "+number(high))
	}
}

func enum[T ~uint8](c *checks, key string, v, last T, words string) {
	if ok := v <= last; !c.done(ok) {
		c.check(key, number(uint8(v)), ok, words)
	}
}

func (c *checks) size(key string, v, low, high int64, none bool) {
	ok := none && v == 0 || inside(v, low, high)
	if c.done(ok) {
		return
	}
	c.check(key, sizeText(v), ok, orNone(none)+sizeText(low)+" to "+sizeText(high))
}

func orNone(none bool) string {
	if none {
		return "0, or "
	}
	return ""
}

func (c *checks) powerOfTwo(key string, v, low, high int64) {
	if ok := inside(v, low, high) && v&(v-1) == 0; !c.done(ok) {
		c.check(key, sizeText(v), ok, "a power of two, "+sizeText(low)+" to "+sizeText(high))
	}
}

func (c *checks) duration(key string, v, low, high time.Duration, none bool) {
	ok := none && v == 0 || v >= low && v <= high
	if c.done(ok) {
		return
	}
	c.check(key, durationText(v), ok, orNone(none)+durationText(low)+" to "+durationText(high))
}

// durationText leaves out the zero minutes and seconds of "1h0m0s".
func durationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// fraction refuses what is no number too.
func (c *checks) fraction(key string, v, low, high float64) {
	text := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	if ok := v >= low && v <= high; !c.done(ok) {
		c.check(key, text(v), ok, text(low)+" to "+text(high))
	}
}

func (c *checks) rate(key string, r Rate) {
	c.count(key+".iops", r.Ops, 1, maxOps, "", "1 to 10000000")
	c.count(key+".bandwidth", r.Bytes, minBytes, maxBytes, "B/s", "4096B/s to 100GB/s")
}

// sizeText is the shortest exact form in binary units.
func sizeText(n int64) string {
	const units = "KMGT"
	unit := -1
	for n != 0 && n%1024 == 0 && unit+1 < len(units) {
		n /= 1024
		unit++
	}
	if unit < 0 {
		return number(n)
	}
	return number(n) + units[unit:unit+1] + "iB"
}
