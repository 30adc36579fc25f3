// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"time"

	"pathgate/backends"
)

// commandBytes is what a command costs beside its payload, so that commands
// without any count too.
const commandBytes = 512

// serviceTime takes the path on which the request would be done first: least
// bytes pending, with those of the request, per weight. On a tie it takes the
// path that was taken longest ago, which makes it round-robin at depth 1.
// Source: dm-ps-service-time.c st_compare_load; the patent, par. 0104, 0115.
type serviceTime struct {
	set  PathSet
	turn uint64
	load [maxPaths]struct {
		pending uint64 // bytes, with commandBytes for each command
		weight  uint64
		taken   uint64 // turn
	}
}

func (s *serviceTime) Add(slot int, weight uint32) {
	s.set = s.set.With(slot)
	s.load[slot].weight = uint64(max(weight, 1))
}

func (s *serviceTime) Remove(slot int) { s.set = s.set.Without(slot) }

func (s *serviceTime) Select(_ *backends.Origin, n uint64, tried PathSet) int {
	best := -1
	for set := s.set &^ tried; set != 0; set &= set - 1 {
		slot := set.first()
		if best < 0 || s.sooner(slot, best, n) {
			best = slot
		}
	}
	if best >= 0 {
		s.turn++
		s.load[best].taken = s.turn
	}
	return best
}

// sooner compares a/weight(a) with b/weight(b) by multiplying crosswise. Pending
// bytes are below 2^40 and weights below 2^20, so nothing overflows.
func (s *serviceTime) sooner(a, b int, n uint64) bool {
	x, y := &s.load[a], &s.load[b]
	l, r := (x.pending+n)*y.weight, (y.pending+n)*x.weight
	if l != r {
		return l < r
	}
	return x.taken < y.taken
}

func (s *serviceTime) Start(slot int, n uint64) { s.load[slot].pending += n + commandBytes }

func (s *serviceTime) End(slot int, n uint64, _ time.Duration) {
	s.load[slot].pending -= n + commandBytes
}
