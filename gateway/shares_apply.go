// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"maps"
	"reflect"
	"slices"
)

// Device makes a LUN or file known and has apply called with its plan: once before
// Device returns, and then whenever the plan has changed, until stop; a call that has
// begun when stop is called may end after it. A device that is there already takes
// over names and medium of d; several may apply its plan.
func (s *Shares) Device(d ShareDevice, apply func(LUNPlan)) (stop func()) {
	s.changes.Lock()
	defer s.changes.Unlock()
	s.mu.Lock()
	s.state.devices[d.Name] = d
	s.mu.Unlock()
	s.replan() // the plan, if d changed it, goes to those who had it
	s.mu.Lock()
	stop = register(s, s.lunAppliers, d.Name, &apply)
	p := s.lunPlans[d.Name]
	s.mu.Unlock()
	apply(p)
	return stop
}

// Disk has apply called with a disk's plan, likewise.
func (s *Shares) Disk(disk string, apply func(DiskPlan)) (stop func()) {
	s.changes.Lock()
	defer s.changes.Unlock()
	s.mu.Lock()
	stop = register(s, s.diskAppliers, disk, &apply)
	p := s.diskPlan[disk]
	s.mu.Unlock()
	apply(p)
	return stop
}

// register adds an applier; s.mu is held.
func register[T any](s *Shares, all map[string]map[*func(T)]bool, name string, apply *func(T)) (stop func()) {
	if all[name] == nil {
		all[name] = map[*func(T)]bool{}
	}
	all[name][apply] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(all[name], apply)
	}
}

// Place tells where disks lie, by full name: all their parts, in the order of the
// disk, as soon as all are known; none takes the disk away. Disks that are not named
// stay where they are. Unknown ones are left out.
func (s *Shares) Place(parts map[string][]SharePart) {
	s.changes.Lock()
	defer s.changes.Unlock()
	s.mu.Lock()
	for name, p := range parts {
		if d := s.byName[name]; d != nil {
			d.parts = slices.Clone(p)
		}
	}
	s.mu.Unlock()
	s.replan()
}

// replan makes all plans anew and hands out those that are not as before. Limiters
// come before the flows that lose a limit, and go after the flows that got one.
// s.changes is held, s.mu is not.
func (s *Shares) replan() {
	s.mu.Lock()
	version := s.version + 1
	var first, last []DiskPlan
	for _, d := range s.state.disks {
		p := s.state.planDisk(d)
		old := s.diskPlan[d.name]
		if p.Version = old.Version; reflect.DeepEqual(p, old) {
			continue
		}
		p.Version, s.version = version, version
		s.diskPlan[d.name] = p
		if p.Limiter != nil {
			first = append(first, p)
		} else {
			last = append(last, p)
		}
	}
	var luns []LUNPlan
	for _, name := range slices.Sorted(maps.Keys(s.state.devices)) {
		p := s.state.planLUN(s.state.devices[name])
		old := s.lunPlans[name]
		if p.Version = old.Version; reflect.DeepEqual(p, old) {
			continue
		}
		p.Version, s.version = version, version
		s.lunPlans[name] = p
		luns = append(luns, p)
	}
	calls := callsFor(s.diskAppliers, first, func(p DiskPlan) string { return p.Disk })
	calls = append(calls, callsFor(s.lunAppliers, luns, func(p LUNPlan) string { return p.Device })...)
	calls = append(calls, callsFor(s.diskAppliers, last, func(p DiskPlan) string { return p.Disk })...)
	s.mu.Unlock()
	for _, call := range calls {
		call()
	}
}

func callsFor[T any](all map[string]map[*func(T)]bool, plans []T, name func(T) string) (calls []func()) {
	for _, p := range plans {
		for apply := range all[name(p)] {
			calls = append(calls, func() { (*apply)(p) })
		}
	}
	return calls
}
