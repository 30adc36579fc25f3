// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"fmt"
	"time"

	"pathgate/backends"
)

// Events is told what happens, for people and policies. Event must not block
// and must not call the Manager or a Device; it may be called on any goroutine,
// with no lock held.
type Events interface{ Event(e Event) }

// EventKind is the kind of an Event.
type EventKind uint8

// Kinds of events, with the fields that they set beside Time and Device.
const (
	// PathUp: a path is used, at once (Health Up) or while no other one is there
	// (Marginal). Path, Health, Reason.
	PathUp EventKind = iota + 1
	// PathDown: a path is not used any more. Path, Health, Loss, Reason.
	PathDown
	// PathQuarantined: a path leads where it should not. An alarm. Path, Reason.
	PathQuarantined
	// PathDisabled, PathEnabled: an administrator. Path.
	PathDisabled
	PathEnabled
	// PathSlow: a command went over its deadline, of which Duration is the age, or
	// the path is slower than its siblings. Path, Reason.
	PathSlow
	// Failover: requests that were in flight on Path when it went down have all
	// been sent on another one or ended. Count of them, Duration since the loss.
	Failover
	// Failback: Path has been stable for the failback delay and is used again.
	Failback
	// NoPaths: all paths are down. Reason tells what happens to requests. Masked is the
	// rule for which there is none; 0: they were lost.
	NoPaths
	// Restored: a path is there again; Duration without, Count of requests held.
	Restored
	// GhostHeld: a change may still run on Path; its range is held. Count.
	GhostHeld
	// FenceStart, FenceDone, FenceFailed: Path, Method, Count of ghosts,
	// Duration, Held (writes that waited), Reason.
	FenceStart
	FenceDone
	FenceFailed
	// DeviceAdded, DeviceChanged, DeviceGone: Reason.
	DeviceAdded
	DeviceChanged
	DeviceGone
	// FlushLost: acknowledged writes may be lost with a target's cache; the next
	// flush fails. Reason.
	FlushLost
	// LoginFailed: a session could not be made, told once until it could. Path
	// is adapter and target number, Loss, Reason.
	LoginFailed
	// DiscoveryFailed: likewise, for SendTargets at a portal.
	DiscoveryFailed
	// ReservationTaken: the LUN is reserved for this gateway. Path, Reason.
	ReservationTaken
	// ReservationLost: it was, and is not any more. An alarm. Path, Reason.
	ReservationLost
	// ReservationConflicts: others hold it, or are registered beside us; or the
	// target does none. Reason.
	ReservationConflicts
	// PathRemoved: a path has left its device: its LUN, or its portal, has been gone
	// for long, or another logical unit is there. Path, Reason.
	PathRemoved
	// TargetRemoved: a target portal is not listed any more, and nothing leads over
	// it. Path is adapter and target number, Reason.
	TargetRemoved
	// TargetMoved: a target portal has sent us to another one for good, where the
	// session is now. An alarm, told once. Path is adapter and target number, Reason.
	TargetMoved
	// SpaceLow: what a thin LUN is allocated from is nearly used up. An alarm, told
	// once for all paths. Reason.
	SpaceLow
	// GroupSwitch: requests go over other target port groups than before. Method
	// tells how that came, Duration how long there was none. Reason.
	GroupSwitch
	// GroupSwitchFailed: the target was asked to make a group active, and it is not.
	// Reason.
	GroupSwitchFailed
	// StoreFailed: something could not be kept. An alarm. Reason.
	StoreFailed
	// PathMasked: a claim rule has taken a path out of its device, or keeps a LUN from
	// becoming one. PathUnmasked: none does any more. Path, Reason; Device if known.
	PathMasked
	PathUnmasked
	// ComponentLost: paths failed together, and Cause and Object are what they have in
	// common. Told once. Count of paths, Reason; Device if the cause is a LUN.
	ComponentLost
	// ComponentBack: some of it works again; Count of paths that do, Duration.
	ComponentBack
	// SelectorChanged: an administrator has the paths selected in another way. Reason.
	SelectorChanged
	// PathUnreliable: too many requests have failed on a path that works. Path, Reason.
	PathUnreliable
	// DeviceSuspended: an administrator has the device send no requests. DeviceResumed:
	// it goes on; Count of requests that had waited, Duration. QueueingChanged: what
	// requests do without a path was ordered. Reason.
	DeviceSuspended
	DeviceResumed
	QueueingChanged
)

var eventNames = [...]string{
	"", "path-up", "path-down", "path-quarantined", "path-disabled",
	"path-enabled", "path-slow", "failover", "failback", "all-paths-down", "restored",
	"ghost-held", "fence-start", "fence-done", "fence-failed", "device-added",
	"device-changed", "device-gone", "flush-lost", "login-failed", "discovery-failed",
	"reservation-taken", "reservation-lost", "reservation-conflict", "path-removed", "target-removed", "target-moved", "space-low",
	"group-switch", "group-switch-failed", "store-failed",
	"path-masked", "path-unmasked",
	"component-lost", "component-back",
	"selector-changed",
	"path-unreliable",
	"device-suspended", "device-resumed", "queueing-changed",
}

// String gives the name as the event stream shows it.
func (k EventKind) String() string {
	if k == 0 || int(k) >= len(eventNames) {
		return fmt.Sprintf("event(%d)", uint8(k))
	}
	return eventNames[k]
}

// Event is one thing that happened. Fields that do not belong to Kind are zero.
type Event struct {
	Time   time.Time
	Kind   EventKind
	Device string // canonical name
	Path   string // "vmhba0:0:2"
	Health Health
	Loss   backends.LossClass
	Cause  Cause
	Object string // what broke: an adapter, a portal, ...
	// Reason is for people; text from targets in it is quoted.
	Reason   string
	Method   string // "relogin+lun-reset", "preempt+lun-reset", "preempt-and-abort", "timed"
	Count    int
	Held     int
	Masked   int
	Duration time.Duration
}
