// SPDX-License-Identifier: Apache-2.0

package share

// Verdict is what was decided about a command.
type Verdict uint8

const (
	Dispatched Verdict = iota + 1
	Queued
)

// Reason is why a command waits: the first that applies.
type Reason uint8

const (
	NoPath          Reason = iota + 1 // none is usable
	Fence                             // held below: an old write is not fenced yet
	Busy                              // held below, for another reason of the device's
	Limit                             // a limit is reached
	OverEntitlement                   // the flow has had more than its entitlement
	Priority                          // capacity is short, and a higher priority takes it
	WindowFull                        // next in turn, but enough is in flight
	Share                             // another flow is ahead
)

// Bucket names a limit.
type Bucket uint8

const (
	NoBucket Bucket = iota
	OpsTotal
	BytesTotal
	OpsRead
	BytesRead
	OpsWrite
	BytesWrite
	PeakOpsTotal
	PeakBytesTotal
	PeakOpsRead
	PeakBytesRead
	PeakOpsWrite
	PeakBytesWrite
)

// NoFlow is the FlowID of no flow.
const NoFlow = ^FlowID(0)

// Explain is one decision: why a command was dispatched, or why it waits.
type Explain struct {
	// Seq counts the records of a Core from 1. 0: no decision (nothing waits).
	Seq  uint64
	Time Instant
	Flow FlowID
	Tag  uint64
	// Phase is set when it was dispatched, Reason when it waits.
	Verdict Verdict
	Phase   Phase
	Reason  Reason
	// Held: OverEntitlement in strict mode, with the window open.
	Held bool
	// GroupLimit: the Limit is the group's.
	GroupLimit bool
	// Bucket is which Limit; Until is when it has room.
	Bucket Bucket
	Until  Instant
	// Lead is how far the flow's virtual time is ahead of V, in CU.
	Lead Unit
	// Use and Entitlement are in millionths of the capacity now; both 0 while it
	// is not known.
	Use, Entitlement uint32
	// InFlight and Depth are the window, in CU. Capacity is in CU/s.
	InFlight, Depth Unit
	Capacity        int64
	// Ahead is the flow that goes first, for Priority and Share; else NoFlow.
	Ahead FlowID
	// Version is that of the settings in force.
	Version uint32
}
