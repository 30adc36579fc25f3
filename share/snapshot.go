// SPDX-License-Identifier: Apache-2.0

package share

import "time"

// reasons is one more than the last Reason, phases than the last Phase.
const (
	reasons = int(Share) + 1
	phases  = int(PhaseZero) + 1
)

// Snapshot is the state of a Core at one moment, for people. Core.Snapshot
// fills it and re-uses its slices.
type Snapshot struct {
	Time     Instant
	Version  uint32
	Mode     Mode
	Kappa    uint32 // millionths of the nominal capacity that are usable
	Capacity Speed  // C_eff; 0: not known
	Nominal  Speed  // C_nom; 0: not known
	// Measured: Capacity is configured, or was learnt while the window was full. Else
	// it is what the device has done so far, and it may be able to do more.
	Measured bool
	// Depth is the window and InFlight what is in it, in CU; Commands likewise,
	// and CommandLimit what the target takes (0: no bound).
	Depth, InFlight Unit
	Commands        int
	CommandLimit    int
	DepthMove       DepthMove
	// Latency is the mean of the last epoch that had samples; Target what it is
	// compared with (Lt').
	Latency, Target time.Duration
	Degraded        Degradation
	// PrioritiesInForce: weights come from section 2.9, not from shares.
	PrioritiesInForce bool
	// Floor is the interval of the floor in force; 0: none.
	Floor time.Duration
	// Reserved is the sum of reservations of active flows; when it does not fit
	// they are scaled (FlowStatus.Reservation).
	Reserved Speed
	Stalls   uint64
	Faults   uint64 // events that made no sense
	Flows    []FlowStatus
	Groups   []GroupStatus
}

// DepthMove is why the window changed last.
type DepthMove uint8

const (
	DepthFixed     DepthMove = iota // it is configured
	DepthStarted                    // not moved yet
	DepthGrew                       // latency is below the target
	DepthShrank                     // latency is above the target
	DepthIdle                       // not grown: nobody waited for it
	DepthDiscarded                  // too few good samples
	DepthPath                       // a path came or went
)

// Degradation is why priorities are, or would be, in force. More than one may
// hold.
type Degradation uint8

const (
	DegradedPaths       Degradation = 1 << iota // paths were lost
	DegradedReservation                         // reservations take more than there is
	DegradedLatency                             // the device is slow
)

// FlowStatus is the state of one flow.
type FlowStatus struct {
	Flow   FlowID
	Active bool
	// Configured is as set; Weight is w_eff, the weight in force.
	Configured Entitlement
	Weight     uint32
	// Reservation and Limit are in force, in CU/s; 0: none. Met is false while
	// the reservation is scaled down.
	Reservation, Limit Speed
	Met                bool
	// Demand is what it asks for (-1: all it can get), Entitlement x_i or what
	// priorities grant, Use what it had, over the last Window.
	Demand, Entitlement, Use Speed
	Over                     bool
	Lead                     Unit
	Queued                   int
	QueuedUnits              Unit
	InFlight                 int
	Parked                   int
	HeadAge                  time.Duration
	Why                      Explain // Seq 0: nothing waits
	// Totals since AddFlow. Units has what passed the core, too; commands that did
	// are in none of the others. Waited is how long the head waited, by Reason.
	Commands     uint64
	Units        Unit
	Bytes        uint64
	ByPhase      [phases]uint64
	Waited       [reasons]time.Duration
	LimitBlocked time.Duration
	LongestGap   time.Duration
}

// GroupStatus is the state of one group.
type GroupStatus struct {
	Group                    GroupID
	Configured               GroupEntitlement
	Weight                   uint32
	Demand, Entitlement, Use Speed
	Flows                    int
}
