// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"errors"
	"time"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// This file is about logical units whose port group lets little pass: in standby no
// data, in the states below it not even READ CAPACITY. Who they are they tell in
// all of them, so their paths are proved as far as that goes, and once more when
// the group serves.

// own is the state of the port group that f's path ends in.
func (f *facts) own() Access {
	for i := range f.report.groups {
		if g := &f.report.groups[i]; f.hasGroup && g.ID == f.group {
			return accessOf(g.State)
		}
	}
	return Optimized
}

// serves tells whether data may pass.
func (f *facts) serves() bool { return f.own().Serves() }

// asleep tells whether err, of a question behind INQUIRY, is only what the state
// of the port group makes of it (HAZARDS section 5, 2/04/0A-0C).
func (f *facts) asleep(err error) bool {
	var re backends.ResultError
	return f.identity.ID != "" && !f.serves() && errors.As(err, &re) && ofGroup(re.Result.Sense)
}

// ofGroup tells whether s is what the state of a port group is refused with.
func ofGroup(s backends.Sense) bool {
	if !s.Valid {
		return false
	}
	c := scsi.MakeSenseCode(scsi.SenseKey(s.Key), s.ASC, s.ASCQ)
	return c == scsi.CodeAccessTransition || c == scsi.CodePortStandby || c == scsi.CodePortUnavailable
}

// remember fills f with what p's LUN told before it went to sleep.
func (p *Path) remember(f *facts) {
	p.dev.mu.Lock()
	defer p.dev.mu.Unlock()
	old := p.facts
	if old.block == 0 {
		old = p.dev.base // it was found, and never proved
	}
	old.identity, old.vendor, old.product, old.serial = f.identity, f.vendor, f.product, f.serial
	old.implicit, old.explicit, old.hasGroup, old.hasPort = f.implicit, f.explicit, f.hasGroup, f.hasPort
	old.group, old.port, old.report = f.group, f.port, f.report
	*f = old
}

// later has the port scan again, after wait, for a LUN that cannot be measured yet.
func (pt *port) later(lun uint16, err error, wait time.Duration) error {
	if at := time.Now().Add(wait); pt.asleep.IsZero() || at.Before(pt.asleep) {
		pt.asleep = at
	}
	pt.mu.Lock()
	known := pt.told[lun] == err.Error()
	pt.told[lun] = err.Error()
	pt.mu.Unlock()
	if !known {
		pt.m.event(Event{Kind: DeviceChanged, Path: pt.pathName(lun), Reason: "not used yet: " + err.Error()})
	}
	return err
}

// laterDue is wait, or less where later asked for it.
func (pt *port) laterDue(wait time.Duration) time.Duration {
	if pt.asleep.IsZero() {
		return wait
	}
	left := time.Until(pt.asleep)
	if left <= 0 {
		pt.asleep = time.Time{}
		pt.mu.Lock()
		pt.again = true
		pt.mu.Unlock()
		return atOnce
	}
	if wait == 0 {
		return left
	}
	return min(wait, left)
}

// toldLocked is the state that the target told of p's group last.
func (p *Path) toldLocked() AccessEvent {
	if g := p.portGroupLocked(); g != nil {
		return reportEvent(g.access)
	}
	return ReportOptimized
}

// askGroups asks for the port groups' states after a unit attention on p
// (HAZARDS section 5, 6/2A/06 and 6/2A/07). Nil: p is in none.
func (p *Path) askGroups(now time.Time) *outbox {
	d := p.dev
	d.mu.Lock()
	defer d.mu.Unlock()
	if !p.facts.hasGroup {
		return nil
	}
	out := newOutbox()
	d.askLocked(out, p, now)
	return out
}
