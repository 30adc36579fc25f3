// SPDX-License-Identifier: Apache-2.0

package share

// Class is the kind of a command.
type Class uint8

const (
	ClassOther Class = iota // no data: flush, unmap, and their like
	ClassRead
	ClassWrite
)

// Cmd is one command. The caller fills in the exported fields and hands it over
// by a Submit event; it is the scheduler's, and must not be moved or changed,
// until it is dispatched or returned, and may be used again once it has
// completed. The zero value of the rest is ready.
type Cmd struct {
	// Tag is the caller's, for explanations. Owner too: for the way back.
	Tag   uint64
	Owner any
	// LBA is where it begins, in 512-byte sectors.
	LBA   uint64
	Bytes uint32 // payload
	Class Class
	// Patience is how long it may wait while the device has no path, in nanoseconds; see
	// Disk.Refusing.
	Patience int64
	// HeadOfQueue: it goes before the other waiting commands of its flow.
	HeadOfQueue bool

	state      cmdState
	noSample   bool // sent again: its latency says nothing of the device
	parkReason Reason
	cost       Unit
	next, prev *Cmd
	flow       *flow
	arrived    Instant
	dispatched Instant
	shell      cmdShell // Disk's
}

// cmdState is where a command is. Only the Core changes it.
type cmdState uint8

const (
	cmdIdle     cmdState = iota // the caller's
	cmdQueued                   // in its flow's queue
	cmdInFlight                 // dispatched, in the window
	cmdParked                   // dispatched, held by the device below: not in the window
	cmdLost                     // dispatched, on a path that went down: not in the window
)

// Cost is what the command was charged, from its dispatch to its next Submit.
func (c *Cmd) Cost() Unit { return c.cost }

// Kind is the kind of an event.
type Kind uint8

const (
	// AddFlow makes Flow, with Entitlement.
	AddFlow Kind = iota + 1
	// RemoveFlow ends Flow, which must have nothing queued; else it is refused
	// (Core.Faults counts it).
	RemoveFlow
	// Submit queues Cmd in Flow.
	Submit
	// Complete: Cmd, which was dispatched, has ended, in whatever way.
	Complete
	// Abort takes Cmd out of its queue, if it is there; it is the caller's again.
	Abort
	// ResetFlow takes all commands out of Flow's queue: they come back in Returned.
	ResetFlow
	// ConfigureFlow sets Flow's Entitlement, as of Version.
	ConfigureFlow
	// ConfigureGroup makes or sets Group (GroupEntitlement), as of Version.
	ConfigureGroup
	// Configure sets the LUN's Settings, as of Version.
	Configure
	// Paths tells the usable part of the nominal capacity: Kappa, in millionths.
	// 0: no path is usable, and nothing is dispatched.
	Paths
	// PathDown: Cmd was in flight on a path that went down. It leaves the window.
	PathDown
	// Redrive: Cmd (PathDown) was sent again. Back in the window, ahead of what
	// waits, without a new charge and without a latency sample.
	Redrive
	// Park: the device holds Cmd back, for Reason. It leaves the window.
	Park
	// Unpark: Cmd goes on. It is in the window again.
	Unpark
	// Commands is the number of commands that the target takes at once: Count. 0: no
	// bound.
	Commands
	// TaskSetFull: the target took no more. The bound becomes what is in flight.
	TaskSetFull
	// Fast: Flow was served Units past the core; Count commands of it are in flight.
	Fast
	// Window sets what is in flight, in place of the core's own account: Units in
	// Count commands. Completed, Samples and Latency add what has ended meanwhile
	// without a Complete event.
	Window
	// Stall: the process stood still until Until; latencies of what was
	// dispatched before that say nothing.
	Stall
)

// Event is something that has happened. Only the fields that its Kind names
// count. What pointers point to is not changed afterwards.
type Event struct {
	Kind             Kind
	Reason           Reason
	Flow             FlowID
	Group            GroupID
	Version          uint32
	Kappa            uint32
	Count            int32
	Samples          int32
	Cmd              *Cmd
	Entitlement      *Entitlement
	GroupEntitlement *GroupEntitlement
	Settings         *Settings
	Units            Unit
	Completed        Unit
	Latency          int64 // ns, sum of Samples
	Until            Instant
}

// Phase is the rule by which a command was dispatched.
type Phase uint8

const (
	PhaseReserve Phase = iota + 1 // its reservation was due
	PhaseFloor                    // its floor was due
	PhaseQuantum                  // it goes on with a sequential run
	PhaseShare                    // its flow has the lowest virtual time
	PhaseZero                     // zero shares, and nobody else can go
)

// Dispatch is a command that is to be sent now.
type Dispatch struct {
	Cmd   *Cmd
	Flow  FlowID
	Phase Phase
	Cost  Unit
}
