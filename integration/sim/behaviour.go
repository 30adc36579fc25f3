// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"time"

	wire "pathgate/internal/iscsi"
)

// Behaviour is how a target treats what an initiator has left behind: the rows of
// HAZARDS section 4 rule 5, as they were measured.
type Behaviour struct {
	Name string

	// KeepsUnread: after a login with the name and ISID of an older connection, what
	// that one has sent and nobody has read yet is executed all the same. No target
	// was seen to do that; the fence would not hold.
	KeepsUnread bool
	// LoginWaits: such a login is answered when the writes of the older connection
	// that run have ended (LIO). Else it is answered at once (tgtd).
	LoginWaits bool

	// AbortAnswer is the response to ABORT TASK for a write that ran, given when it
	// is done (tgtd 1, LIO 0).
	AbortAnswer wire.TaskResponse
	// AbortUnknown is the response for a tag that is not there (tgtd 1, LIO 0).
	AbortUnknown wire.TaskResponse
	// AbortOwedRuns: ABORT TASK for a write whose data is owed is answered at once
	// with 1, and data that comes later completes the write (tgtd). Else it has no
	// answer, and the connection is closed after DataOutTime (LIO).
	AbortOwedRuns bool
	// DataOutTime is how long owed data may take; 0: for ever.
	DataOutTime time.Duration
	// LastTMFOnly: a second task management function that waits for the same write
	// replaces the first, which is never answered (tgtd).
	LastTMFOnly bool

	// ResetIgnoresRunning: LOGICAL UNIT RESET does not wait for the writes that run.
	// No target was seen to do that; the fence would not hold.
	ResetIgnoresRunning bool
	// ResetQualifier is the second half of 6/29 for other sessions (tgtd 0, LIO 3).
	ResetQualifier byte
	// SilentReset: writes that were read after the reset from connections that were
	// there before it get no unit attention, and run (LIO).
	SilentReset bool
}

// Tgtd is tgtd 1.0.85.
func Tgtd() Behaviour {
	return Behaviour{
		Name: "tgtd", AbortAnswer: wire.TaskDoesNotExist, AbortUnknown: wire.TaskDoesNotExist,
		AbortOwedRuns: true, LastTMFOnly: true,
	}
}

// LIO is the kernel's target of Linux 6.1.
func LIO() Behaviour {
	return Behaviour{
		Name: "lio", LoginWaits: true, AbortAnswer: wire.FunctionComplete, AbortUnknown: wire.FunctionComplete,
		DataOutTime: 3 * time.Second, ResetQualifier: 3, SilentReset: true,
	}
}
