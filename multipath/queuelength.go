// SPDX-License-Identifier: Apache-2.0

package multipath

// queueLength takes the path with the fewest requests in flight, with the new one,
// per weight. On a tie it takes the path that was taken longest ago.
// Source: dm-ps-queue-length.c ql_select_path.
type queueLength struct {
	offered
	queue [maxPaths]uint64
}

func (s *queueLength) Select(q Demand) int {
	best := -1
	for set := s.set &^ q.Tried; set != 0; set &= set - 1 {
		slot := set.first()
		if best < 0 || s.shorter(slot, best) {
			best = slot
		}
	}
	return s.take(best)
}

// shorter compares by multiplying crosswise, as serviceTime.sooner.
func (s *queueLength) shorter(a, b int) bool {
	l, r := (s.queue[a]+1)*s.weight[b], (s.queue[b]+1)*s.weight[a]
	if l != r {
		return l < r
	}
	return s.taken[a] < s.taken[b]
}

func (s *queueLength) Start(slot int, _ uint64) { s.queue[slot]++ }

func (s *queueLength) End(slot int, _ uint64, _ Answer) { s.queue[slot]-- }
