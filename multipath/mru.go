// SPDX-License-Identifier: Apache-2.0

package multipath

// mru takes the path that it took before, until that is not offered any more: then,
// and at the start, the path of the highest weight, of equal ones the lowest slot. It
// does not return. A request that the path has failed goes to another one by itself.
// Source: PSP_MRU with its path ranks.
type mru struct {
	offered
	last int // -1: none
}

func (s *mru) Remove(slot int) {
	s.offered.Remove(slot)
	if slot == s.last {
		s.last = -1
	}
}

func (s *mru) Select(q Demand) int {
	if s.last < 0 {
		s.last = s.heaviest(s.set)
	}
	if s.last >= 0 && q.Tried.Has(s.last) {
		return s.heaviest(s.set &^ q.Tried)
	}
	return s.last
}

func (s *mru) Start(int, uint64) {}

func (s *mru) End(int, uint64, Answer) {}
