// SPDX-License-Identifier: Apache-2.0

package multipath

// roundRobin takes the paths in turn, so many requests or bytes on each: then the
// next higher slot, from the lowest again after the highest. A path of twice the
// lowest weight has turns of twice the length. There are no ties.
// Source: the patent, par. 0115; dm-ps-round-robin.c; PSP_RR iops and bytes.
type roundRobin struct {
	offered
	// ops and bytes are the length of a turn, whichever ends first; 0: not bounded.
	ops, bytes uint64
	last       int    // whose turn it is, -1 at the start
	doneOps    uint64 // in this turn
	doneBytes  uint64
}

func (s *roundRobin) Select(q Demand) int {
	set := s.set &^ q.Tried
	if set == 0 {
		return -1
	}
	if s.last < 0 || !set.Has(s.last) || s.over() {
		s.doneOps, s.doneBytes = 0, 0
		// 2<<63 is 0, so that nothing is higher than slot 63.
		if higher := set &^ (PathSet(2)<<max(s.last, 0) - 1); s.last >= 0 && higher != 0 {
			set = higher
		}
		s.last = set.first()
	}
	s.doneOps++
	s.doneBytes += q.Bytes
	return s.last
}

// over tells whether the turn of last has ended.
func (s *roundRobin) over() bool {
	n := s.turns(s.last)
	return s.ops > 0 && s.doneOps >= s.ops*n || s.bytes > 0 && s.doneBytes >= s.bytes*n
}

// turns is the weight of slot against the lowest, rounded.
func (s *roundRobin) turns(slot int) uint64 {
	least := s.weight[slot]
	for set := s.set; set != 0; set &= set - 1 {
		least = min(least, s.weight[set.first()])
	}
	return (s.weight[slot] + least/2) / least
}

func (s *roundRobin) Start(int, uint64) {}

func (s *roundRobin) End(int, uint64, Answer) {}
