// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"slices"
	"time"
)

// candidate is a usable path as the choice of the group in use sees it.
type candidate struct {
	slot int
	rank int // those of the highest rank are used together
	// chosen: it is in the port group that a person chose.
	chosen bool
}

// choice is which paths are used, and which are waited for. It is a core of its
// own: no clock, no lock. The caller holds the device's.
type choice struct {
	// level is the rank of the paths in use, or that were in use last.
	level int
	used  PathSet
	// left are paths that were left since their group became one of less worth,
	// though they live. When they are worth more again that is a failback.
	left PathSet
	// pinned: a person has chosen a group. alive: it is not lost, though no path of it
	// may be usable for a moment.
	pinned, alive bool
}

// next chooses anew. better are the paths that would be used but for the failback
// rule, or for the pin; 0: none.
//
//   - A pin holds while a path of its group can be used.
//   - Paths in use that have become worth more are followed at once, and so is what
//     was never left: a failover that gets to its end.
//   - With nothing left in use at its level the best there is is taken.
//   - What was left stays so until back is called.
func (c *choice) next(list []candidate) (better PathSet) {
	if len(list) == 0 {
		c.used, c.pinned = 0, c.pinned && c.alive
		return 0
	}
	top, pin := -1, -1
	at := func(rank int, chosen bool) (set PathSet) {
		for _, p := range list {
			if p.rank == rank && (p.chosen || !chosen) {
				set = set.With(p.slot)
			}
		}
		return set
	}
	rises := false
	for _, p := range list {
		top = max(top, p.rank)
		if p.chosen {
			pin = max(pin, p.rank)
		}
		rises = rises || c.used.Has(p.slot) && p.rank > c.level
	}
	c.pinned = c.pinned && (pin >= 0 || c.alive)
	chosen := c.pinned && pin >= 0
	level := top
	switch stay := at(c.level, false); {
	case chosen:
		level = pin
	case rises || stay == 0 || top <= c.level:
	default:
		for _, p := range list {
			if p.rank > c.level && !c.left.Has(p.slot) {
				stay = 0
			}
		}
		if stay != 0 {
			level = c.level
		}
	}
	c.level, c.used = level, at(level, chosen)
	c.left &^= c.used
	for _, p := range list {
		if p.rank > level {
			better = better.With(p.slot)
		}
	}
	return better
}

// back ends the wait for what was left, and a person's choice.
func (c *choice) back() { c.left, c.pinned = 0, false }

// leave notes paths that were in use at a level and are worth less now.
func (c *choice) leave(set PathSet) { c.left |= set }

// failback is when better paths are gone back to. Guarded by the device's lock.
type failback struct {
	due   time.Time // zero: nothing waits, or for something else than a time
	waits bool      // better paths are there
	calm  bool      // for little load
	fails uint8     // groups left in short order, less one
	at    time.Time // of the last one
}

// groupFellLocked counts how often the group in use is left in short order.
func (d *Device) groupFellLocked(now time.Time) {
	f := &d.failback
	if f.at.IsZero() || now.Sub(f.at) > maxFailback {
		f.fails = 0
	} else if f.fails < 8 {
		f.fails++
	}
	f.at = now
}

// returnLocked decides by the rule when better paths are gone back to; true: now.
func (d *Device) returnLocked(out *outbox, better PathSet, now time.Time) bool {
	f := &d.failback
	rule := d.rule.Failback
	switch {
	case better == 0:
		f.waits, f.due, f.calm = false, time.Time{}, false
		return false
	case f.waits:
	case rule.Mode == FailbackImmediate && d.choice.pinned:
		f.waits, f.due = true, now.Add(d.timers.Failback) // else it would be undone in this step
	default:
		f.waits, f.due, f.calm = true, now.Add(rule.after(d.timers, f.fails)), rule.Mode == FailbackConditional
	}
	if !d.mayReturnLocked(out, now) {
		return false
	}
	f.waits, f.due, f.calm = false, time.Time{}, false
	return true
}

// mayReturnLocked tells whether the time of what waits has come, and has the timer
// look when it does.
func (d *Device) mayReturnLocked(out *outbox, now time.Time) bool {
	f, due := &d.failback, d.failback.due
	if !f.waits {
		return false
	}
	switch d.rule.Failback.Mode {
	case FailbackManual:
		return false
	case FailbackConditional:
		from, ok := d.calm.since(d, now)
		if !ok {
			return false // calmLocked has the timer look
		}
		if at := from.Add(d.rule.Failback.Quiet); at.After(due) {
			due = at
		}
	case FailbackDelayed, FailbackImmediate:
	}
	if now.Before(due) {
		d.dueLocked(out, due)
		return false
	}
	return true
}

// chooseLocked chooses the paths in use anew; by is what made it so: a method of
// GroupSwitch.
func (d *Device) chooseLocked(out *outbox, now time.Time) (set PathSet, by string) {
	c := &d.choice
	by = switchTarget
	fell := PathSet(0)
	c.alive = false
	for _, p := range d.paths {
		lives := p.health.Carries() && p.live
		c.alive = c.alive || lives && p.access.Serves() && p.inGroup(d.pin)
		switch {
		case !d.inUse.Has(p.slot):
		case p.health != Up || !p.live:
			by = switchPaths
		case !p.access.Serves() || p.rankLocked() < c.level:
			fell = fell.With(p.slot)
		}
	}
	if fell != 0 {
		d.groupFellLocked(now)
	}
	c.leave(fell)
	better := c.next(d.candidatesLocked())
	switch {
	case d.returnLocked(out, better, now):
		c.back()
		c.next(d.candidates)
		by = switchFailback
	case c.pinned:
		by = switchOperator
	}
	return c.used, by
}

// inGroup tells whether p ends in the port group of that number.
func (p *Path) inGroup(group uint16) bool { return p.facts.hasGroup && p.facts.group == group }

// candidatesLocked lists the usable paths.
func (d *Device) candidatesLocked() []candidate {
	list := d.candidates[:0]
	for _, p := range d.paths {
		if p.usableLocked() {
			list = append(list, candidate{slot: p.slot, rank: p.rankLocked(), chosen: d.choice.pinned && p.inGroup(d.pin)})
		}
	}
	d.candidates = list
	return list
}

// groupsOfLocked lists the port groups that the paths of set end in.
func (d *Device) groupsOfLocked(set PathSet) (ids []uint16) {
	for _, p := range d.paths {
		if set.Has(p.slot) && p.facts.hasGroup && !slices.Contains(ids, p.facts.group) {
			ids = append(ids, p.facts.group)
		}
	}
	slices.Sort(ids)
	return ids
}
