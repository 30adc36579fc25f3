// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"time"

	"pathgate/backends"
)

// accessLocked applies e to p's access state. What a command was refused with
// (HAZARDS section 5, 2/04/0A-0C) asks for the states of all groups.
func (d *Device) accessLocked(b *backends.Batch, out *outbox, p *Path, e AccessEvent, now time.Time) {
	changed := d.setAccessLocked(out, p, e, now)
	switch e {
	case SenseStandby, SenseUnavailable, SenseTransition:
		d.askLocked(out, p, now)
	case ReportOptimized, ReportNonOptimized, ReportLBADependent, ReportStandby,
		ReportUnavailable, ReportTransitioning, ReportOffline, TransitionOver, Served:
	}
	if changed {
		d.pathsChangedLocked(b, out, now)
	}
}

// setAccessLocked is accessLocked for several paths in a step: the caller has
// what follows done once, if it tells that something has changed.
func (d *Device) setAccessLocked(out *outbox, p *Path, e AccessEvent, now time.Time) bool {
	a, changed := nextAccess(p.access, e)
	if !changed {
		return false
	}
	rises := a.Serves() && !p.access.Serves()
	p.access, p.accessAt = a, now
	d.settleLocked(p)
	p.rememberLocked("access "+a.String(), now)
	out.event(Event{Kind: DeviceChanged, Device: d.name, Path: p.name, Reason: "access " + a.String()})
	if rises && p.unread {
		p.proving = true // it has failed, and could not be read from until now
	}
	if !a.Serves() || p.proving {
		out.kick(p.port)
	}
	return true
}

// servedLocked notes that a, a data command, has ended well: a state that was told
// before it was sent and says that it cannot is out of date.
func (d *Device) servedLocked(b *backends.Batch, out *outbox, a *attempt, now time.Time) {
	if p := a.path; !p.access.Serves() && a.started.After(p.accessAt) {
		d.accessLocked(b, out, p, Served, now)
	}
}
