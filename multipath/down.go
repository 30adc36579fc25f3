// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"time"

	"pathgate/backends"
)

// downLocked tells that no path lives. One that is being proved or reset does.
func (d *Device) downLocked() bool {
	for _, p := range d.paths {
		if p.live && p.health.Carries() && p.mask == 0 {
			return false
		}
	}
	return true
}

// checkDownLocked notes the beginning and the end of all paths being down.
func (d *Device) checkDownLocked(b *backends.Batch, out *outbox, now time.Time) {
	down := d.downLocked()
	if !d.born {
		if d.born = !down; d.born {
			d.downSince, d.waited = time.Time{}, 0
		}
		return
	}
	switch {
	case down && d.downSince.IsZero():
		d.downSince = now
		d.waited = 0
		d.tellDownLocked(out)
		d.expireWaitsLocked(b, out, now)
		if d.closed {
			d.failWaitingLocked(b, out, now)
		}
	case !down && !d.downSince.IsZero():
		held := 0
		deadline := now.Add(d.timers.Request)
		for t := d.firstTask; t != nil; t = t.next {
			if t.live == 0 {
				held++
			}
			t.deadline = deadline
			t.tried = 0
		}
		d.dueLocked(out, deadline)
		out.event(Event{Kind: Restored, Device: d.name, Duration: now.Sub(d.downSince), Count: held})
		d.downSince, d.waited = time.Time{}, 0
	case down && d.downMask != 0 && d.unmaskedDownLocked():
		d.tellDownLocked(out) // it was by a rule, and is a fault now
	}
	d.tellRefusingLocked(b)
}

// failWaitingLocked ends what waits, since no path will come in time.
func (d *Device) failWaitingLocked(b *backends.Batch, out *outbox, now time.Time) {
	class := backends.NoPath
	if d.closed {
		class = backends.Aborted
	}
	for t := d.firstTask; t != nil; {
		next := t.next
		if t.live == 0 && t.parts == 0 {
			d.finishLocked(b, out, t, d.giveUpLocked(t, class), now)
		}
		t = next
	}
}

// checkGoneLocked notes a permanent loss: every path says that there is no such
// logical unit. A path that is down says nothing.
func (d *Device) checkGoneLocked(b *backends.Batch, out *outbox, now time.Time) {
	gone, n := true, 0
	for _, p := range d.paths {
		if !p.left {
			gone = gone && p.health == Quarantined && p.noLUN
			n++
		}
	}
	if n == 0 || gone == d.gone {
		return
	}
	d.gone = gone
	kind, reason := DeviceGone, "no path has this logical unit any more"
	if !gone {
		kind, reason = DeviceAdded, "the logical unit is there again"
	}
	out.event(Event{Kind: kind, Device: d.name, Reason: reason})
	out.change |= d.informLocked()
	if gone && d.suspended == nil {
		d.failWaitingLocked(b, out, now)
	}
	d.tellRefusingLocked(b)
}
