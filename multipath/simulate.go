// SPDX-License-Identifier: Apache-2.0

package multipath

// Simulation is what would be left of a device without some of its paths, as things
// are now. The rules are those that the device itself goes by (capacityOf).
type Simulation struct {
	// Without are the paths that are taken away, Left those that I/O would go over, by
	// name.
	Without []string
	Left    []string
	// Access and Health are those of the group that would be in use; empty without one.
	Access, Health string
	Before, After  Capacity
}

// Simulate tells what would be left of the device without the paths that lost
// selects. Nothing changes.
func (d *Device) Simulate(lost func(PathInfo) bool) Simulation {
	d.mu.Lock()
	paths, list := d.pathsLocked(), d.standingsLocked() // in the same order
	d.mu.Unlock()
	var gone PathSet // by their places there
	for slot := range paths {
		if lost(paths[slot]) {
			gone = gone.With(slot)
		}
	}
	s := Simulation{Before: capacityOf(list)}
	s.After = lose(list, gone)
	for slot := range paths {
		p := &paths[slot]
		if gone.Has(slot) {
			s.Without = append(s.Without, p.Name)
		}
		if list[slot].used {
			s.Left = append(s.Left, p.Name)
			s.Access, s.Health = p.Access, p.Health
		}
	}
	return s
}

// lose takes the paths of gone out of list, chooses the group in use anew, and gives
// the capacity then.
func lose(list []standing, gone PathSet) Capacity {
	best := -1
	for slot := range list {
		s := &list[slot]
		s.usable = s.usable && !gone.Has(slot)
		if s.usable {
			best = max(best, s.rank)
		}
	}
	for slot := range list {
		list[slot].used = list[slot].usable && list[slot].rank == best
	}
	return capacityOf(list)
}
