// SPDX-License-Identifier: Apache-2.0

package share

import (
	"math"
	"strings"
	"testing"
	"time"
)

// lines is an error as text, one fault a line.
func lines(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestSettingsValidate(t *testing.T) {
	full := Calibration{
		MaxIOPS:    1000,
		RandomRead: ClassCost{1000, 65536}, SequentialRead: ClassCost{900, 65536},
		RandomWrite: ClassCost{800, 65536}, SequentialWrite: ClassCost{700, 65536},
	}
	for name, tt := range map[string]struct {
		change func(s *Settings)
		want   string
	}{
		"defaults":        {func(*Settings) {}, ""},
		"fixed depth":     {func(s *Settings) { s.Depth = 65536 }, ""},
		"no floor":        {func(s *Settings) { s.FloorInterval = 0 }, ""},
		"depths equal":    {func(s *Settings) { s.DepthMin, s.DepthStart, s.DepthMax = 8, 8, 8 }, ""},
		"patent, numbers": {func(s *Settings) { s.Calibration = full }, ""},
		"calibrated":      {func(s *Settings) { s.CostModel, s.Calibration = CostCalibrated, full }, ""},
		"not a power of two": {
			func(s *Settings) { s.UnitBytes = 5000 },
			"cu-bytes: 5000 is out of range (a power of two, 512 to 1MiB)",
		},
		"lower ends": {
			func(s *Settings) {
				s.UnitBytes, s.OpsBytes, s.Quantum, s.QuantumBytes = 256, 512, 0, 65535
				s.Window, s.FloorInterval, s.ReserveAhead, s.LimitSlop = 19*time.Millisecond, 49*time.Millisecond, 0, -time.Millisecond
				s.IdleCreditMax, s.Depth, s.DepthStart, s.DepthMin, s.DepthMax = -1, -1, 0, 0, 0
				s.LatencyTarget, s.DepthGain, s.DepthGrowth, s.Capacity = 0, 0.09, 0.004, -1
				s.PlanPeriod, s.OverMargin, s.TierKeep, s.DegradedBelow, s.ExplainRing = 19*time.Millisecond, -1, -1, 49, -1
			},
			`cu-bytes: 256 is out of range (a power of two, 512 to 1MiB)
ops-bytes: 512 is out of range (0, or 4KiB to 1MiB)
quantum: 0 is out of range (1 to 64)
quantum-bytes: 65535 is out of range (64KiB to 16MiB)
vt-window: 19ms is out of range (20ms to 2s)
floor-interval: 49ms is out of range (0, or 50ms to 10s)
reserve-ahead: 0s is out of range (1ms to 200ms)
limit-slop: -1ms is out of range (1ms to 20ms)
idle-credit-max: -1 is out of range (0 to 65536)
depth: -1 is out of range (0 to 65536)
depth-start: 0 is out of range (1 to 65536)
depth-min: 0 is out of range (1 to 65536)
depth-max: 0 is out of range (1 to 65536)
latency-target: 0s is out of range (200µs to 100ms)
depth-gain: 0.09 is out of range (0.1 to 1)
depth-growth: 0.004 is out of range (0.005 to 0.1)
capacity: -1 is out of range (0 to 100000000)
plan-period: 19ms is out of range (20ms to 100ms)
over-margin: -1 is out of range (0 to 50)
tier-keep: -1 is out of range (0 to 50)
degraded-below: 49 is out of range (50 to 100)
explain-ring: -1 is out of range (0 to 65536)`,
		},
		"upper ends": {
			func(s *Settings) {
				s.Mode, s.CostModel, s.CapacityModel, s.PriorityMode = 2, 2, 2, 3
				s.UnitBytes, s.OpsBytes, s.Quantum, s.QuantumBytes = 2<<20, 2<<20, 65, 16<<20+1
				s.SequentialGap, s.Window, s.FloorInterval = 2001, 2*time.Second+1, 10*time.Second+1
				s.ReserveAhead, s.LimitSlop, s.IdleCreditMax, s.Depth = 201*time.Millisecond, 21*time.Millisecond, 65537, 65537
				s.LatencyTarget, s.DepthGain, s.DepthGrowth = 101*time.Millisecond, math.NaN(), math.Inf(1)
				s.Capacity, s.PlanPeriod, s.OverMargin = 1e8+1, 101*time.Millisecond, 51
				s.TierKeep, s.DegradedBelow, s.ExplainRing = 51, 101, 65537
			},
			`mode: 2 is out of range (work-conserving or strict)
cu-bytes: 2MiB is out of range (a power of two, 512 to 1MiB)
ops-bytes: 2MiB is out of range (0, or 4KiB to 1MiB)
cost-model: 2 is out of range (patent or calibrated)
quantum: 65 is out of range (1 to 64)
quantum-bytes: 16777217 is out of range (64KiB to 16MiB)
sequential-gap: 2001 is out of range (0 to 2000)
vt-window: 2.000000001s is out of range (20ms to 2s)
floor-interval: 10.000000001s is out of range (0, or 50ms to 10s)
reserve-ahead: 201ms is out of range (1ms to 200ms)
limit-slop: 21ms is out of range (1ms to 20ms)
idle-credit-max: 65537 is out of range (0 to 65536)
depth: 65537 is out of range (0 to 65536)
latency-target: 101ms is out of range (200µs to 100ms)
depth-gain: NaN is out of range (0.1 to 1)
depth-growth: +Inf is out of range (0.005 to 0.1)
capacity: 100000001 is out of range (0 to 100000000)
capacity-model: 2 is out of range (sum or shared)
plan-period: 101ms is out of range (20ms to 100ms)
over-margin: 51 is out of range (0 to 50)
priority-mode: 3 is out of range (off, degraded or always)
tier-keep: 51 is out of range (0 to 50)
degraded-below: 101 is out of range (50 to 100)
explain-ring: 65537 is out of range (0 to 65536)`,
		},
		"depths crossed": {
			func(s *Settings) { s.DepthMin, s.DepthMax = 128, 32 },
			"depth-min: 128 is above depth-max (at most depth-max, 32)",
		},
		"start below": {
			func(s *Settings) { s.DepthStart = 3 },
			"depth-start: 3 is not between depth-min and depth-max (4 to 4096)",
		},
		"start above": {
			func(s *Settings) { s.DepthMax = 32 },
			"depth-start: 64 is not between depth-min and depth-max (4 to 32)",
		},
		"calibrated without numbers": {
			func(s *Settings) { s.CostModel = CostCalibrated },
			"calibration: is missing (cost-model calibrated needs the speed of every class)",
		},
		"half a calibration": {
			func(s *Settings) { s.Calibration = Calibration{MaxIOPS: 7, RandomRead: ClassCost{5, 4096}} },
			`calibration.sequential-read.iops: 0 is out of range (1 to 10000000)
calibration.sequential-read.cu-bytes: 0 is out of range (512 to 1GiB)
calibration.random-write.iops: 0 is out of range (1 to 10000000)
calibration.random-write.cu-bytes: 0 is out of range (512 to 1GiB)
calibration.sequential-write.iops: 0 is out of range (1 to 10000000)
calibration.sequential-write.cu-bytes: 0 is out of range (512 to 1GiB)
calibration: has a highest rate of 7 (that of the fastest class, 5)`,
		},
		"a class far too slow": {
			func(s *Settings) {
				s.Calibration = full
				s.Calibration.MaxIOPS, s.Calibration.RandomRead.IOPS, s.Calibration.RandomWrite.IOPS = 1e7, 1e7, 152
			},
			"calibration.random-write.iops: 152 is too far below the fastest class (at least a 65536th of 10000000)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := DefaultSettings()
			tt.change(&s)
			if got := lines(s.Validate()); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestEntitlementValidate(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(e *Entitlement)
		want   string
	}{
		"default":        {func(*Entitlement) {}, ""},
		"nothing at all": {func(e *Entitlement) { *e = Entitlement{} }, ""},
		"highest": {func(e *Entitlement) {
			top := Ceiling{Rate: Rate{1e7, 1e11}, Burst: Rate{1e6, 16 << 30}}
			*e = Entitlement{Weight: 100000, Reservation: top.Rate, Limits: Limits{top, top, top}, IdleCredit: 65536, Priority: 10}
		}, ""},
		"reservation at the limit": {func(e *Entitlement) {
			e.Reservation, e.Limits.Total.Rate = Rate{100, 1e6}, Rate{100, 1e6}
		}, ""},
		"out of range": {
			func(e *Entitlement) {
				e.Weight, e.Priority, e.IdleCredit = 100001, 11, -1
				e.Reservation = Rate{-1, 4095}
				e.Limits.Read = Ceiling{Rate: Rate{1e7 + 1, 1e11 + 1}, Burst: Rate{1e6 + 1, 511}, PeakLength: 99 * time.Millisecond}
			},
			`shares: 100001 is out of range (0 to 100000)
reservation.iops: -1 is out of range (0, or 1 to 10000000)
reservation.bandwidth: 4095B/s is out of range (0, or 4096B/s to 100GB/s)
limit.read.iops: 10000001 is out of range (0, or 1 to 10000000)
limit.read.bandwidth: 100000000001B/s is out of range (0, or 4096B/s to 100GB/s)
limit.read.burst.ops: 1000001 is out of range (0, or 1 to 1000000)
limit.read.burst.bytes: 511 is out of range (0, or 512 to 16GiB)
limit.read.peak.for: 99ms is out of range (0, or 100ms to 1h)
idle-credit: -1 is out of range (0 to 65536)
priority: 11 is out of range (0 to 10)
limit.read.peak.for: 99ms has no peak (needs peak.iops or peak.bandwidth beside it)`,
		},
		"limits below the reservation": {
			func(e *Entitlement) {
				e.Reservation = Rate{200, 1e6}
				e.Limits.Total.Rate = Rate{199, 999999}
				e.Limits.Read.Rate, e.Limits.Write.Rate = Rate{Ops: 100}, Rate{Ops: 99}
			},
			`limit.iops: 199 is below the reservation (at least reservation.iops, 200)
limit.read.iops: 100 is below the reservation, with limit.write.iops (together at least reservation.iops, 200)
limit.bandwidth: 999999 is below the reservation (at least reservation.bandwidth, 1000000)`,
		},
		"reads limited, writes free": {func(e *Entitlement) {
			e.Reservation, e.Limits.Read.Rate = Rate{Ops: 200}, Rate{Ops: 10}
		}, ""},
		"burst and peak without a limit": {
			func(e *Entitlement) {
				e.Limits.Write = Ceiling{Burst: Rate{5, 4096}, Peak: Rate{7, 8192}}
			},
			`limit.write.burst.ops: 5 has no limit to be above (needs limit.write.iops)
limit.write.peak.iops: 7 has no limit to be above (needs limit.write.iops)
limit.write.burst.bytes: 4096 has no limit to be above (needs limit.write.bandwidth)
limit.write.peak.bandwidth: 8192 has no limit to be above (needs limit.write.bandwidth)`,
		},
		"burst beside a peak, peak below": {
			func(e *Entitlement) {
				e.Limits.Total = Ceiling{Rate: Rate{Ops: 100}, Burst: Rate{Ops: 5}, Peak: Rate{Ops: 99}, PeakLength: time.Minute}
			},
			`limit.burst.ops: 5 does not go with a peak (one of burst and peak)
limit.peak.iops: 99 is below the limit (at least limit.iops, 100)`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := DefaultEntitlement()
			tt.change(&e)
			if got := lines(e.Validate()); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestGroupEntitlementValidate(t *testing.T) {
	g := GroupEntitlement{Weight: 100000, Limits: Limits{Total: Ceiling{Rate: Rate{Ops: 10}}}}
	if err := g.Validate(); err != nil {
		t.Error(err)
	}
	g = GroupEntitlement{Weight: 100001, Limits: Limits{Total: Ceiling{Rate: Rate{Bytes: -5}, Burst: Rate{Ops: 1}}}}
	want := `shares: 100001 is out of range (0 to 100000)
limit.bandwidth: -5B/s is out of range (0, or 4096B/s to 100GB/s)
limit.burst.ops: 1 has no limit to be above (needs limit.iops)`
	if got := lines(g.Validate()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestFaults: whoever shows faults gets each with its key, from any error.
func TestFaults(t *testing.T) {
	s := DefaultSettings()
	s.Quantum, s.Window = 0, 0
	var keys []string
	for _, f := range Faults(s.Validate()) {
		keys = append(keys, f.Key+" "+f.Value+" "+f.Rule)
		if f.Rule != Rule(f.Key) {
			t.Errorf("%s: rule %q, but Rule gives %q", f.Key, f.Rule, Rule(f.Key))
		}
	}
	if got, want := strings.Join(keys, "; "), "quantum 0 1 to 64; vt-window 0s 20ms to 2s"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if Faults(nil) != nil || Rule("nothing") != "" {
		t.Error("something out of nothing")
	}
}
