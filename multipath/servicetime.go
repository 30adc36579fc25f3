// SPDX-License-Identifier: Apache-2.0

package multipath

// commandBytes is what a command costs beside its payload, so that commands
// without any count too.
const commandBytes = 512

// serviceTime takes the path on which the request would be done first: least
// bytes pending, with those of the request, per weight. On a tie it takes the
// path that was taken longest ago, which makes it round-robin at depth 1.
// Source: dm-ps-service-time.c st_compare_load; the patent, par. 0104, 0115.
type serviceTime struct {
	offered
	pending [maxPaths]uint64 // bytes, with commandBytes for each command
}

func (s *serviceTime) Select(q Demand) int {
	best := -1
	for set := s.set &^ q.Tried; set != 0; set &= set - 1 {
		slot := set.first()
		if best < 0 || s.sooner(slot, best, q.Bytes) {
			best = slot
		}
	}
	return s.take(best)
}

// sooner compares a/weight(a) with b/weight(b) by multiplying crosswise. Pending
// bytes are below 2^40 and weights below 2^20, so nothing overflows.
func (s *serviceTime) sooner(a, b int, n uint64) bool {
	l, r := (s.pending[a]+n)*s.weight[b], (s.pending[b]+n)*s.weight[a]
	if l != r {
		return l < r
	}
	return s.taken[a] < s.taken[b]
}

func (s *serviceTime) Start(slot int, n uint64) { s.pending[slot] += n + commandBytes }

func (s *serviceTime) End(slot int, n uint64, _ Answer) { s.pending[slot] -= n + commandBytes }
