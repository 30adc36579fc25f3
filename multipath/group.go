// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"time"

	"pathgate/backends"
)

// usableLocked gives the paths that may be given requests, of all groups.
func (d *Device) usableLocked() PathSet {
	var s PathSet
	for _, p := range d.paths {
		if p.usableLocked() {
			s = s.With(p.slot)
		}
	}
	return s
}

// pathsChangedLocked chooses the paths in use anew (choice.go): usable ones of the
// highest rank, but for what the failback rule keeps back. It has to follow every
// change of what usableLocked looks at.
func (d *Device) pathsChangedLocked(b *backends.Batch, out *outbox, now time.Time) {
	d.wishAheadLocked()
	set, by := d.chooseLocked(out, now)
	d.offerLocked(set)
	was := d.inUse
	d.inUse = set
	if set != was {
		d.switchedLocked(out, was, by, now)
	}
	d.moveGroupLocked(out, now)
	d.probationsLocked(out, now)
	d.tellCapacityLocked(b, false) // before anything is sent again
	out.change |= d.informLocked()
	d.checkDownLocked(b, out, now)
	d.checksDueLocked(out, now)
	if set == 0 {
		return
	}
	for t := d.firstTask; t != nil; t = t.next {
		switch t.parked {
		case backends.ParkNoPath, backends.ParkReset, backends.ParkBusy, backends.ParkFull, backends.ParkTransition:
			if t.wake.IsZero() || t.parked == backends.ParkTransition {
				d.queueLocked(t)
			}
		case 0, backends.ParkFence, backends.ParkOrder, backends.ParkSuspended:
		}
	}
}
