// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"time"

	"pathgate/backends"
)

// roundRobin takes the paths in turn, one request each: the next higher slot
// after the one last taken, from the lowest again after the highest. There are
// no ties. Weights are ignored. Source: the patent, par. 0115.
type roundRobin struct {
	set  PathSet
	last int // slot taken last, -1 at the start
}

func (s *roundRobin) Add(slot int, _ uint32) { s.set = s.set.With(slot) }

func (s *roundRobin) Remove(slot int) { s.set = s.set.Without(slot) }

func (s *roundRobin) Select(_ *backends.Origin, _ uint64, tried PathSet) int {
	set := s.set &^ tried
	if set == 0 {
		return -1
	}
	// 2<<63 is 0, so that nothing is higher than slot 63.
	if higher := set &^ (PathSet(2)<<max(s.last, 0) - 1); s.last >= 0 && higher != 0 {
		set = higher
	}
	s.last = set.first()
	return s.last
}

func (s *roundRobin) Start(int, uint64) {}

func (s *roundRobin) End(int, uint64, time.Duration) {}
