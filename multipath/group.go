// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"fmt"
	"math"
	"time"

	"pathgate/backends"
)

// streakLimit failures in a row take a path down, whatever a checker says.
const streakLimit = 3

// maxFailback bounds the failback delay of a path that fails again and again.
const maxFailback = 4 * time.Minute

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

// downLocked tells that no path lives. One that is being proved or reset does.
func (d *Device) downLocked() bool {
	for _, p := range d.paths {
		if p.live && p.health.Carries() {
			return false
		}
	}
	return true
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
			if t.wake.IsZero() {
				d.queueLocked(t)
			}
		case 0, backends.ParkFence, backends.ParkOrder:
		}
	}
}

// checkDownLocked notes the beginning and the end of all paths being down.
func (d *Device) checkDownLocked(b *backends.Batch, out *outbox, now time.Time) {
	down := d.downLocked()
	if !d.born {
		d.born = !down
		return
	}
	switch {
	case down && d.downSince.IsZero():
		d.downSince = now
		rule := "requests wait"
		switch apd := d.rule.AllPathsDown; {
		case apd.Fail:
			rule = "requests fail"
		case apd.For > 0:
			rule = fmt.Sprintf("requests wait for %v", apd.For)
			d.dueLocked(out, now.Add(apd.For))
		}
		out.event(Event{Kind: NoPaths, Device: d.name, Reason: rule})
		if d.rule.AllPathsDown.Fail || d.closed {
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
		d.downSince, d.expired = time.Time{}, false
	}
	d.tellRefusingLocked(b)
}

// refusesLocked tells whether requests without a path end at once.
func (d *Device) refusesLocked() bool {
	return d.gone || d.downLocked() && (d.closed || d.born && (d.rule.AllPathsDown.Fail || d.expired))
}

// tellRefusingLocked tells the observer when that has changed: what waits there
// ends here.
func (d *Device) tellRefusingLocked(b *backends.Batch) {
	if r := d.refusesLocked(); r != d.refusing {
		d.refusing = r
		if d.obs != nil {
			d.obs.Refusing(b, r)
		}
	}
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

// healthLocked applies e to p and does what follows; it tells whether the
// state has changed.
func (d *Device) healthLocked(b *backends.Batch, out *outbox, p *Path, e HealthEvent, reason string, now time.Time) bool {
	was := p.health
	h, changed := nextHealth(was, e)
	if h == Marginal && (e == EventSlow || changed) {
		p.stableAt = now.Add(min(d.timers.Failback<<min(p.fails, 8), maxFailback))
		d.dueLocked(out, p.stableAt)
	}
	if !changed {
		if h == Down || h == Quarantined {
			p.reason = reason // the latest
		}
		return false
	}
	p.health, p.reason, p.changed, p.streak = h, reason, now, 0
	ev := Event{Device: d.name, Path: p.name, Health: h, Reason: reason}
	switch h {
	case Up:
		ev.Kind = PathUp
		if was == Marginal {
			ev.Kind = Failback
			p.reason = ""
		}
	case Marginal:
		ev.Kind = PathUp
		if was == Up {
			ev.Kind = PathSlow
		}
	case Down:
		ev.Kind = PathDown
		if now.Sub(p.stableAt) > maxFailback {
			p.fails = 0
		} else if p.fails < math.MaxUint8 {
			p.fails++
		}
		out.kick(p.port)
	case Quarantined:
		ev.Kind = PathQuarantined
		out.kick(p.port)
	case Disabled:
		ev.Kind = PathDisabled
	case Unknown:
		ev.Kind = PathEnabled
		out.kick(p.port)
	}
	out.event(ev)
	d.pathsChangedLocked(b, out, now)
	return true
}

// accessLocked applies e to p's access state.
func (d *Device) accessLocked(b *backends.Batch, out *outbox, p *Path, e AccessEvent, now time.Time) {
	a, changed := nextAccess(p.access, e)
	if !changed {
		return
	}
	p.access = a
	d.settleLocked(p)
	out.event(Event{Kind: DeviceChanged, Device: d.name, Path: p.name, Reason: "access " + a.String()})
	if a.Priority() == 0 {
		out.kick(p.port)
	}
	d.pathsChangedLocked(b, out, now)
}

// effectLocked applies what the end of an attempt says about its path.
func (d *Device) effectLocked(b *backends.Batch, out *outbox, p *Path, v verdict, res backends.Result, now time.Time) {
	if v.flushLost {
		d.loseLocked(out, p, d.serverOf(p), "deferred error "+res.Sense.String())
	}
	switch v.effect {
	case effectNone, effectRecheck, effectSlower:
		// A unit attention comes as one, too: there it has its effect.
		if res.OK() {
			p.streak = 0
			if p.access.Priority() == 0 {
				d.accessLocked(b, out, p, Served, now)
			}
		}
	case effectStreak:
		if p.streak++; p.streak >= streakLimit {
			d.healthLocked(b, out, p, EventFault, fmt.Sprintf("%d failures in a row, last %v", p.streak, res.Err()), now)
		}
	case effectFault:
		d.healthLocked(b, out, p, EventFault, res.Err().Error(), now)
	case effectRefuse:
		p.noLUN = res.Class == backends.NoPath || v.class == backends.NoPath
		d.healthLocked(b, out, p, EventRefused, res.Err().Error(), now)
		d.checkGoneLocked(b, out, now)
	case effectStandby:
		d.accessLocked(b, out, p, SenseStandby, now)
	case effectUnavailable:
		d.accessLocked(b, out, p, SenseUnavailable, now)
	case effectTransition:
		if p.facts.portGroups {
			d.accessLocked(b, out, p, SenseTransition, now)
		}
	}
}

// checkGoneLocked notes a permanent loss: every path says that there is no such
// logical unit. A path that is down says nothing.
func (d *Device) checkGoneLocked(b *backends.Batch, out *outbox, now time.Time) {
	gone := len(d.paths) > 0
	for _, p := range d.paths {
		gone = gone && p.health == Quarantined && p.noLUN
	}
	if gone == d.gone {
		return
	}
	d.gone = gone
	kind, reason := DeviceGone, "no path has this logical unit any more"
	if !gone {
		kind, reason = DeviceAdded, "the logical unit is there again"
	}
	out.event(Event{Kind: kind, Device: d.name, Reason: reason})
	out.change |= d.informLocked()
	if gone {
		d.failWaitingLocked(b, out, now)
	}
	d.tellRefusingLocked(b)
}

// countLocked keeps the path's counters.
func (p *Path) countLocked(a *attempt, res backends.Result, elapsed time.Duration) {
	if !res.OK() {
		p.errors++
		return
	}
	switch {
	case a.req.Op == backends.Read:
		p.reads++
		p.readB += a.bytes
	case a.req.Op.Changes():
		p.writes++
		p.writeB += a.bytes
	}
	p.latencies++
	if p.latencies == 1 {
		p.latency = elapsed
	}
	p.latency += (elapsed - p.latency) / 16
}
