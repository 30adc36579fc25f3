// SPDX-License-Identifier: Apache-2.0

package share

import "time"

// Unit is an amount of consumption units, CU (the patent, par. 0089).
type Unit int64

// Instant is a moment in monotonic nanoseconds, of any origin.
type Instant int64

// VirtualTime is CU divided by shares, fixed point 32.32. It may wrap: it is
// compared by signed difference, and never mixed with time.
type VirtualTime uint64

// Speed is a rate of consumption in thousandths of a CU per second.
type Speed int64

// FlowID names a flow of a Core. The caller numbers them from 0, densely.
type FlowID uint32

// GroupID names a group of flows of a Core. 0 is no group; numbered from 1,
// densely.
type GroupID uint32

// Rate is a number of operations and of bytes per second; 0: none.
type Rate struct{ Ops, Bytes int64 }

// Ceiling is an upper bound on a flow's rate.
type Ceiling struct {
	// Rate is kept in the long run. 0: no bound. Ops 1-10^7, Bytes 4096-10^11.
	Rate Rate
	// Burst may pass at once above the rate. 0: one command. Ops 1-10^6, Bytes up
	// to 16 GiB.
	Burst Rate
	// Peak is a second, higher bound that holds while Rate is exceeded for up to
	// PeakLength; it takes the place of Burst. 0: none.
	Peak Rate
	// PeakLength is for how long Peak may last: 100 ms - 1 h; 0: 1 s.
	PeakLength time.Duration
}

// Limits are the ceilings of a flow or group: on all commands, on those that
// read, on those that write. The lowest that applies counts.
type Limits struct{ Total, Read, Write Ceiling }

// Entitlement is what one flow is to get of the LUN. The zero value is zero
// shares: served only while nobody else waits, but for the floor.
type Entitlement struct {
	// Weight is the shares, 0-100000 (par. 0086).
	Weight uint32
	// Reservation is the least that the flow gets while it asks for it, before
	// shares and priorities (par. 0106). Not above Limits.Total.
	Reservation Rate
	Limits      Limits
	// IdleCredit is how many CU a flow may be ahead of its part when it wakes up.
	IdleCredit Unit
	// Priority is 0-10, 10 is the most important (par. 0105). It breaks ties in
	// health, and decides who loses when capacity is lost.
	Priority uint8
	// Group is the flow's group, 0: none.
	Group GroupID
}

// GroupEntitlement is what the flows of a group get together.
type GroupEntitlement struct {
	// Weight is the group's shares; 0: the sum of its members'.
	Weight uint32
	Limits Limits
}

// Default shares, and those that low, normal and high stand for (ESXi).
const (
	SharesLow    = 500
	SharesNormal = 1000
	SharesHigh   = 2000
	MaxShares    = 100000
	MaxPriority  = 10
	// DefaultPriority is in the middle.
	DefaultPriority = 5
)

// DefaultEntitlement is that of a flow about which nothing is said.
func DefaultEntitlement() Entitlement {
	return Entitlement{Weight: SharesNormal, Priority: DefaultPriority}
}

// Mode says what becomes of a flow above its entitlement.
type Mode uint8

const (
	// WorkConserving: it loses its place, and is served when nobody else can use
	// the window.
	WorkConserving Mode = iota
	// Strict: it is held, though the window is open (par. 0110 to the letter).
	Strict
)

// CostModel says what a command costs.
type CostModel uint8

const (
	// CostPatent: one CU for each started Settings.UnitBytes, at least one.
	CostPatent CostModel = iota
	// CostCalibrated: by Settings.Calibration.
	CostCalibrated
)

// CapacityModel says what a lost path costs.
type CapacityModel uint8

const (
	// CapacitySum: the capacity is the sum of the paths' (par. 0110).
	CapacitySum CapacityModel = iota
	// CapacityShared: the LUN itself is the bottleneck; a lost path costs nothing.
	CapacityShared
)

// PriorityMode says when priorities change who gets what.
type PriorityMode uint8

const (
	// PriorityDegraded: while capacity is short (par. 0111-0112).
	PriorityDegraded PriorityMode = iota
	// PriorityOff: never.
	PriorityOff
	// PriorityAlways: in health too.
	PriorityAlways
)

// ClassCost is the device's speed in one class of commands.
type ClassCost struct {
	// IOPS is how many small commands of the class the device does in a second.
	IOPS int64
	// UnitBytes is how many bytes of the class are worth one CU.
	UnitBytes int64
}

// Calibration is the measured speed of a device for CostCalibrated. A command
// costs the larger of MaxIOPS/IOPS and bytes/UnitBytes of its class, rounded up.
type Calibration struct {
	// MaxIOPS is the highest of the four.
	MaxIOPS                                                  int64
	RandomRead, SequentialRead, RandomWrite, SequentialWrite ClassCost
}

// Settings are the knobs of one LUN. DefaultSettings gives the defaults; the
// zero value is not valid. Ranges are checked by Validate.
type Settings struct {
	Mode Mode
	// UnitBytes is the bytes that one CU stands for: a power of two, 512 B-1 MiB.
	UnitBytes int64
	// OpsBytes: so many bytes count as one operation in limits and reservations.
	// 0: a command is one operation. 4096-1 MiB.
	OpsBytes    int64
	CostModel   CostModel
	Calibration Calibration
	// Quantum is how many sequential commands a flow may issue without preemption
	// (par. 0090), 1-64, of together at most QuantumBytes, 64 KiB-16 MiB.
	Quantum      int
	QuantumBytes int64
	// SequentialGap is how far, in 512-byte sectors, a command may begin behind
	// the end of the one before and still be sequential: 0-2000.
	SequentialGap uint64
	// Window is T, the time over which use is judged: 20 ms-2 s.
	Window time.Duration
	// FloorInterval: every waiting flow gets a command at least so often
	// (par. 0091), 50 ms-10 s. 0: no floor.
	FloorInterval time.Duration
	// ReserveAhead is H, how far a reservation may be paid in advance: 1-200 ms.
	ReserveAhead time.Duration
	// LimitSlop is how far a limit may be ahead, at least the resolution of the
	// timer: 1-20 ms. Without it a coarse timer makes the limit lower.
	LimitSlop time.Duration
	// IdleCreditMax bounds every flow's IdleCredit: 0-65536 CU.
	IdleCreditMax Unit
	// Depth is the window: how many CU may be in the device at once, 1-65536.
	// 0: found by latency, between DepthMin and DepthMax, from DepthStart.
	Depth, DepthStart, DepthMin, DepthMax Unit
	// LatencyTarget is the device latency that the window is grown up to:
	// 200 us-100 ms.
	LatencyTarget time.Duration
	// DepthGain (0.1-1) and DepthGrowth (0.005-0.1) are the gains of the window's
	// law (PARDA, FAST'09, section 3.2).
	DepthGain, DepthGrowth float64
	// Capacity is what the LUN does over all paths, CU/s, up to 10^8. 0: learn.
	Capacity      int64
	CapacityModel CapacityModel
	// PlanPeriod is how often entitlements are worked out: 20-100 ms.
	PlanPeriod time.Duration
	// OverMargin is how far above its entitlement a flow may be, in %: 0-50.
	OverMargin   int
	PriorityMode PriorityMode
	// TierKeep is what a lower priority keeps of its entitlement while a higher
	// one wants it, in %: 0-50.
	TierKeep int
	// DegradedBelow: with less than so many % of the nominal capacity priorities
	// decide: 50-100.
	DegradedBelow int
	// ExplainRing is how many explanations are kept: 0-65536.
	ExplainRing int
}

// DefaultSettings are the defaults of every knob.
func DefaultSettings() Settings {
	return Settings{
		UnitBytes: 4096, Quantum: 8, QuantumBytes: 1 << 20,
		Window: 100 * time.Millisecond, FloorInterval: 250 * time.Millisecond,
		ReserveAhead: 20 * time.Millisecond, LimitSlop: 2 * time.Millisecond,
		IdleCreditMax: 1024, DepthStart: 64, DepthMin: 4, DepthMax: 4096,
		LatencyTarget: LatencyTargetFlash, DepthGain: 0.8, DepthGrowth: 0.02,
		PlanPeriod: 100 * time.Millisecond, OverMargin: 5,
		TierKeep: 10, DegradedBelow: 90, ExplainRing: 1024,
	}
}

// Default latency targets, by what the LUN stands on.
const (
	LatencyTargetFlash = 5 * time.Millisecond
	LatencyTargetDisk  = 25 * time.Millisecond
)
