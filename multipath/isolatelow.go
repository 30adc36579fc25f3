// SPDX-License-Identifier: Apache-2.0

package multipath

import "time"

// isolateLow confines VMs of low priority to a few paths, and lets the others roam:
// each request takes, of the paths that its VM may use, the one that serviceTime
// would. The few are those of the lowest weight, of equal ones those of the highest
// slots; one at least is left that they never use, if there are two. A lost one is
// replaced at once; one more is given back after the settle time. Of a request that
// all of the few have failed, the others are tried.
// Source: the patent, par. 0115.
type isolateLow struct {
	load   serviceTime
	below  uint8 // priorities below it are low
	paths  int   // of the few; 0: a quarter
	settle time.Duration
	few    PathSet
	lull   lull
}

func (s *isolateLow) Add(l Line) {
	s.load.Add(l)
	if s.few.Len() < s.want() {
		s.few = s.lightest()
	}
	s.lull.change()
}

func (s *isolateLow) Remove(slot int) {
	s.load.Remove(slot)
	if s.few.Has(slot) || s.few.Len() > s.want() {
		s.few = s.lightest()
	}
}

// want is how many paths the low ones have.
func (s *isolateLow) want() int {
	n := s.load.set.Len()
	want := s.paths
	if want == 0 {
		want = (n + 3) / 4
	}
	return max(min(want, n-1), min(n, 1))
}

func (s *isolateLow) lightest() (few PathSet) {
	rest := s.load.set
	for range s.want() {
		best := rest.last()
		for set := rest; set != 0; set &= set - 1 {
			if slot := set.first(); s.load.heavier(best, slot) {
				best = slot
			}
		}
		few, rest = few.With(best), rest.Without(best)
	}
	return few
}

func (s *isolateLow) Select(q Demand) int {
	if s.lull.over(q.Now, s.settle) {
		s.few = s.lightest()
	}
	if q.VM != nil && q.Priority < s.below {
		low := q
		low.Tried |= ^s.few
		if slot := s.load.Select(low); slot >= 0 {
			return slot
		}
	}
	return s.load.Select(q)
}

func (s *isolateLow) Start(slot int, n uint64) { s.load.Start(slot, n) }

func (s *isolateLow) End(slot int, n uint64, a Answer) { s.load.End(slot, n, a) }
