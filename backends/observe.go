// SPDX-License-Identifier: Apache-2.0

package backends

import "fmt"

// LUN is a Device that holds requests back by itself at times and tells the
// scheduler above it when.
type LUN interface {
	Device
	// Observe has o told every queue event and the capacity; once, before the
	// first Submit.
	Observe(o Observer)
}

// Observer is the scheduler's ear. All methods are called with the device's
// lock held: they record and return, and call nothing of the device. Work that
// follows is left to b.Defer. For one request the events come in order, after
// its Submit and before its completion is delivered.
type Observer interface {
	QueueEvent(b *Batch, ev QueueEvent)
	// CapacityChanged tells that the usable bandwidth went to now out of
	// nominal, in parts of any unit (paths weighted by their limits);
	// 0 <= now <= nominal. It comes with the change of a path's state, before a
	// Redrive that follows from it, and again when the observer is set.
	CapacityChanged(b *Batch, now, nominal float64)
	// Refusing tells that the LUN ends at once the requests with a PathWait of upTo
	// and less, since no path will come in time; 0: none any more, WaitForever: all.
	// Those that wait above are to be handed down while it does, or they would wait
	// for ever.
	Refusing(b *Batch, upTo PathWait)
}

// QueueEvent tells what became of a request that the device was given.
type QueueEvent struct {
	Kind    QueueKind
	Reason  ParkReason // for Park
	Request *Request
	// Behind is the range that a write is held for (ParkFence).
	Behind Range
}

// QueueKind is the kind of a QueueEvent.
type QueueKind uint8

const (
	// Park: the request is held back and leaves the window.
	Park QueueKind = iota + 1
	// Unpark: it goes on its way and is in the window again.
	Unpark
	// PathDown: it was in flight on a path that went down: it leaves the window
	// until Redrive.
	PathDown
	// Redrive: it was sent again. No new charge, no latency sample.
	Redrive
)

// String gives the name for people.
func (k QueueKind) String() string {
	switch k {
	case Park:
		return "park"
	case Unpark:
		return "unpark"
	case PathDown:
		return "path-down"
	case Redrive:
		return "redrive"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// ParkReason tells why a request is held.
type ParkReason uint8

const (
	// ParkNoPath: no path is usable.
	ParkNoPath ParkReason = iota + 1
	// ParkFence: an older write to the range may still run on a lost path.
	ParkFence
	// ParkOrder: an older write to the range is in flight.
	ParkOrder
	// ParkBusy: the target asked to wait (BUSY, becoming ready).
	ParkBusy
	// ParkFull: the target takes no more commands at once (TASK SET FULL). Told for
	// each such answer: what is in flight then is the most that it takes.
	ParkFull
	// ParkTransition: the port group is in transition (ALUA).
	ParkTransition
	// ParkReset: the LUN is being reset to fence old writes.
	ParkReset
	// ParkSuspended: an administrator has suspended the device.
	ParkSuspended
)

// String gives the name as events show it.
func (p ParkReason) String() string {
	switch p {
	case ParkNoPath:
		return "no-path"
	case ParkFence:
		return "fence"
	case ParkOrder:
		return "order"
	case ParkBusy:
		return "busy"
	case ParkFull:
		return "task-set-full"
	case ParkTransition:
		return "transition"
	case ParkReset:
		return "reset"
	case ParkSuspended:
		return "suspended"
	}
	return fmt.Sprintf("reason(%d)", uint8(p))
}
