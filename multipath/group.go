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

// pathsChangedLocked chooses the group in use anew: the usable paths of the
// highest rank. It has to follow every change of what usableLocked looks at.
func (d *Device) pathsChangedLocked(b *backends.Batch, out *outbox, now time.Time) {
	best, set := -1, PathSet(0)
	for _, p := range d.paths {
		if !p.usableLocked() {
			continue
		}
		switch r := p.rankLocked(); {
		case r > best:
			best, set = r, PathSet(0).With(p.slot)
		case r == best:
			set = set.With(p.slot)
		}
	}
	for _, p := range d.paths {
		switch {
		case set.Has(p.slot) && !d.inUse.Has(p.slot):
			d.sel.Add(p.slot, 1)
		case !set.Has(p.slot) && d.inUse.Has(p.slot):
			d.sel.Remove(p.slot)
		}
	}
	d.inUse = set
	d.tellCapacityLocked(b, false) // before anything is sent again
	out.change |= d.informLocked()
	d.checkDownLocked(b, out, now)
	if set == 0 {
		return
	}
	for t := d.firstTask; t != nil; t = t.next {
		switch t.parked {
		case backends.ParkNoPath, backends.ParkReset, backends.ParkBusy, backends.ParkFull, backends.ParkTransition:
			if t.wake.IsZero() || t.parked == backends.ParkTransition {
				d.queueLocked(t)
			}
		case 0, backends.ParkFence, backends.ParkOrder:
		}
	}
}
