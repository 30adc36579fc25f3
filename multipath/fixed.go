// SPDX-License-Identifier: Apache-2.0

package multipath

// fixed takes the preferred path, and returns to it as soon as it is there again.
// Without it, and of several that are preferred, it takes the path of the highest
// weight, of equal ones the lowest slot.
// Source: PSP_FIXED; multipath-tools' prioritizers weightedpath and iet.
type fixed struct {
	offered
	preferred string  // pattern of path names; "": none
	first     PathSet // that match it
}

func (s *fixed) Add(l Line) {
	s.offered.Add(l)
	s.first = s.first.Without(l.Slot)
	if matchPath(s.preferred, l.Name) {
		s.first = s.first.With(l.Slot)
	}
}

func (s *fixed) Select(q Demand) int {
	set := s.set &^ q.Tried
	if set&s.first != 0 {
		set &= s.first
	}
	return s.heaviest(set)
}

// heaviest gives the path of set that comes first, -1 if it is empty.
func (o *offered) heaviest(set PathSet) int {
	best := -1
	for ; set != 0; set &= set - 1 {
		if slot := set.first(); best < 0 || o.heavier(slot, best) {
			best = slot
		}
	}
	return best
}

func (s *fixed) Start(int, uint64) {}

func (s *fixed) End(int, uint64, Answer) {}
