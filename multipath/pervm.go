// SPDX-License-Identifier: Apache-2.0

package multipath

import "time"

// perVM has each VM keep one path, its home: the one that least VMs share the adapter
// of, of equal ones the portal of, of equal ones the path itself, each per weight; on
// a tie the home that it lost, else the lowest slot. A VM whose home is lost gets
// another one at once; when paths or VMs have come or gone, and then nothing has for
// the settle time, VMs that would share less elsewhere move. A request that its home
// has failed, and one of no VM, takes the path that serviceTime would.
// Source: the patent, par. 0079, 0115.
type perVM struct {
	load   serviceTime
	plan   spread
	vms    *vmTable
	seen   uint64 // vms.version that the plan knows
	settle time.Duration
	lull   lull
}

func newPerVM(vms *vmTable, settle time.Duration) *perVM {
	for _, v := range vms.list {
		v.home, v.was = -1, -1
	}
	return &perVM{vms: vms, seen: vms.version, settle: settle}
}

func (s *perVM) Add(l Line) {
	s.load.Add(l)
	s.plan.add(l)
	s.lull.change()
}

func (s *perVM) Remove(slot int) {
	s.load.Remove(slot)
	s.plan.remove(slot)
	for _, v := range s.vms.list {
		if v.home == slot {
			v.home, v.was = -1, slot
		}
	}
	s.lull.change()
}

func (s *perVM) Select(q Demand) int {
	if s.seen != s.vms.version { // some VMs have gone
		s.seen = s.vms.version
		s.plan.count(s.vms.list)
		s.lull.change()
	}
	if s.lull.over(q.Now, s.settle) {
		s.plan.even(s.vms.list)
	}
	if q.VM != nil && q.VM.home < 0 && s.load.set != 0 {
		s.plan.settle(q.VM, s.plan.best(q.VM))
	}
	if q.VM == nil || q.VM.home < 0 || q.Tried.Has(q.VM.home) {
		return s.load.Select(q)
	}
	return s.load.take(q.VM.home)
}

func (s *perVM) Start(slot int, n uint64) { s.load.Start(slot, n) }

func (s *perVM) End(slot int, n uint64, a Answer) { s.load.End(slot, n, a) }
