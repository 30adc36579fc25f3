// SPDX-License-Identifier: Apache-2.0

package multipath

// spread is a plan of homes: how many VMs have theirs on each path, adapter and
// portal. Adapters and portals are named by the lowest slot that leads over them.
//
// A move is made only if it makes less what the VM shares, its own part counted on
// both sides, of the adapter or, that being equal, of the portal or the path. So the
// sums over all adapters, portals and paths of n(n+1)/2 per weight, compared in that
// order, fall with every move: the plan comes to rest, and one VM more or less on a
// side moves nobody.
type spread struct {
	set                 PathSet
	lines               [maxPaths]Line
	paths               [maxPaths]crowd
	adapters, portals   [maxPaths]crowd
	adapterOf, portalOf [maxPaths]int
}

// crowd is the VMs on a path, adapter or portal, and how much that carries: as its
// strongest path.
type crowd struct{ vms, weight uint64 }

func (s *spread) add(l Line) {
	s.lines[l.Slot] = l
	s.set = s.set.With(l.Slot)
	s.sum()
}

// remove takes a path away. The caller takes it from the VMs whose home it was.
func (s *spread) remove(slot int) {
	s.set = s.set.Without(slot)
	s.paths[slot].vms = 0
	s.sum()
}

// sum names adapters and portals, and sums up what their paths have.
func (s *spread) sum() {
	for set := s.set; set != 0; set &= set - 1 {
		slot := set.first()
		l, p := &s.lines[slot], &s.paths[slot]
		p.weight = uint64(max(l.Weight, 1))
		s.adapterOf[slot], s.portalOf[slot] = slot, slot
		s.adapters[slot], s.portals[slot] = crowd{}, crowd{}
		for lower := s.set & (1<<slot - 1); lower != 0; lower &= lower - 1 {
			o := lower.first()
			if s.lines[o].Adapter == l.Adapter {
				s.adapterOf[slot] = s.adapterOf[o]
			}
			if s.lines[o].Portal == l.Portal {
				s.portalOf[slot] = s.portalOf[o]
			}
		}
		for _, c := range []*crowd{&s.adapters[s.adapterOf[slot]], &s.portals[s.portalOf[slot]]} {
			c.vms, c.weight = c.vms+p.vms, max(c.weight, p.weight)
		}
	}
}

// count counts homes anew.
func (s *spread) count(list []*VM) {
	for i := range s.paths {
		s.paths[i].vms = 0
	}
	for _, v := range list {
		if v.home >= 0 {
			s.paths[v.home].vms++
		}
	}
	s.sum()
}

// put adds n VMs to a path; n may be -1.
func (s *spread) put(slot int, n int) {
	s.paths[slot].vms += uint64(n)
	s.adapters[s.adapterOf[slot]].vms += uint64(n)
	s.portals[s.portalOf[slot]].vms += uint64(n)
}

// settle gives v a home in place of the one that it has.
func (s *spread) settle(v *VM, slot int) {
	if v.home >= 0 {
		s.put(v.home, -1)
	}
	v.home = slot
	s.put(slot, 1)
}

// even has VMs move until none would share less elsewhere, first of all those that
// may go back to the home that they lost.
func (s *spread) even(list []*VM) {
	for _, v := range list {
		if v.home >= 0 && v.was >= 0 && s.set.Has(v.was) && s.compare(v, v.was, v.home) < 0 {
			s.settle(v, v.was)
		}
	}
	for moved := true; moved; {
		moved = false
		for _, v := range list {
			if v.home < 0 {
				continue
			}
			if to := s.best(v); s.compare(v, to, v.home) < 0 {
				s.settle(v, to)
				moved = true
			}
		}
	}
}

// best is where v would share least. The set is not empty.
func (s *spread) best(v *VM) int {
	best := s.set.first()
	for set := s.set; set != 0; set &= set - 1 {
		slot := set.first()
		if c := s.compare(v, slot, best); c < 0 || c == 0 && slot == v.was {
			best = slot
		}
	}
	return best
}

// compare is below 0 if v would share less at a than at b.
func (s *spread) compare(v *VM, a, b int) int {
	at := func(slot int, of *[maxPaths]int) bool { return v.home >= 0 && of[v.home] == of[slot] }
	if c := less(s.adapters[s.adapterOf[a]], s.adapters[s.adapterOf[b]], at(a, &s.adapterOf), at(b, &s.adapterOf)); c != 0 {
		return c
	}
	if c := less(s.portals[s.portalOf[a]], s.portals[s.portalOf[b]], at(a, &s.portalOf), at(b, &s.portalOf)); c != 0 {
		return c
	}
	return less(s.paths[a], s.paths[b], v.home == a, v.home == b)
}

// less compares what two carry per weight, with the VM that is asked for, which may
// be among them already (in).
func less(x, y crowd, inX, inY bool) int {
	if !inX {
		x.vms++
	}
	if !inY {
		y.vms++
	}
	switch l, r := x.vms*y.weight, y.vms*x.weight; {
	case l < r:
		return -1
	case l > r:
		return 1
	}
	return 0
}
