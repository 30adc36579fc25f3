// SPDX-License-Identifier: Apache-2.0

package multipath

import "slices"

// Simulation is what would be left of a device without some of its paths, as things
// are now. The rules are those that the device itself goes by: choice, mover and
// capacityOf.
type Simulation struct {
	// Without are the paths that are taken away, Left those that I/O would go over, by
	// name.
	Without []string
	Left    []string
	// Access and Health are those of the group that would be in use; empty without one.
	Access, Health string
	// Moves: the target would be asked to make that group active.
	Moves         bool
	Before, After Capacity
}

// Simulate tells what would be left of the device without the paths that lost
// selects. Nothing changes.
func (d *Device) Simulate(lost func(PathInfo) bool) Simulation {
	d.mu.Lock()
	paths, list := d.pathsLocked(), d.standingsLocked() // in the same order
	d.mu.Unlock()
	var gone PathSet
	for i := range paths {
		if lost(paths[i]) {
			gone = gone.With(list[i].slot)
		}
	}
	s := Simulation{Before: capacityOf(list)}
	d.mu.Lock()
	set := d.chosenWithoutLocked(gone)
	next := d.movedWithoutLocked(gone, set)
	d.mu.Unlock()
	if next != 0 {
		set, s.Moves = next, true
		for i := range list {
			// The target gives the group the part of the one that is lost (settleLocked).
			p := &list[i]
			p.proved = p.proved && !gone.Has(p.slot)
			if next.Has(p.slot) {
				p.priority = Optimized.Priority()
			}
		}
	}
	for i := range list {
		list[i].used = set.Has(list[i].slot)
	}
	s.After = capacityOf(list)
	for i := range paths {
		p := &paths[i]
		if gone.Has(list[i].slot) {
			s.Without = append(s.Without, p.Name)
		}
		if list[i].used {
			s.Left = append(s.Left, p.Name)
			s.Access, s.Health = p.Access, p.Health
		}
	}
	if s.Moves {
		s.Access = Optimized.String()
	}
	return s
}

// chosenWithoutLocked is the paths that would be in use.
func (d *Device) chosenWithoutLocked(gone PathSet) PathSet {
	c := d.choice
	c.alive = false
	for _, p := range d.paths {
		c.alive = c.alive || p.health.Carries() && p.live && p.access.Serves() && p.inGroup(d.pin) && !gone.Has(p.slot)
	}
	list := slices.DeleteFunc(slices.Clone(d.candidatesLocked()), func(p candidate) bool { return gone.Has(p.slot) })
	c.next(list)
	return c.used
}

// movedWithoutLocked is the paths of the group that the target would be asked to make
// active, instead of set; 0: it would not be.
func (d *Device) movedWithoutLocked(gone, set PathSet) (next PathSet) {
	if len(d.groups) == 0 || gone == 0 {
		return 0
	}
	m := d.mover
	goal, ok := m.want(d.groupStatesLocked(gone), set != 0, d.rule.Failback.Mode == FailbackManual)
	if !ok || goal.reason != moveLost && goal.reason != moveStuck {
		return 0
	}
	for _, health := range []Health{Up, Marginal} {
		for _, p := range d.paths {
			if p.live && p.health == health && p.inGroup(goal.group) && !gone.Has(p.slot) {
				next = next.With(p.slot)
			}
		}
		if next != 0 {
			break
		}
	}
	return next
}
