// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"math/bits"
	"time"
)

// leastLatency takes the path that would have answered first, by what it took lately:
// the mean time for one request, times the requests in flight with the new one,
// per weight. On a tie it takes the path that was taken longest ago.
//
// The time for one request is that from its sending, or from the answer before it
// where it was queued behind that, to its answer. A path that has had no request for
// the time of a resample gets one, and the answer to that counts alone, or what was
// slow once would never be seen to be fast again.
// Source: dm-ps-historical-service-time.c; PSP_RR latency, which samples anew too.
type leastLatency struct {
	offered
	resample time.Duration
	path     [maxPaths]pathPast
}

// pathPast is what a path has done.
type pathPast struct {
	mean   uint64 // of about 16 requests, ns; never 0
	known  bool   // mean was measured since the path was offered or sampled anew
	queue  uint64
	asked  time.Time // a request was sent on it
	answer time.Time // the last one
}

func (s *leastLatency) Add(l Line) {
	if !s.set.Has(l.Slot) { // as good as the best until it is known
		best := uint64(0)
		for set := s.set; set != 0; set &= set - 1 {
			if p := &s.path[set.first()]; p.known && (best == 0 || p.mean < best) {
				best = p.mean
			}
		}
		s.path[l.Slot].mean, s.path[l.Slot].known = max(best, 1), false
	}
	s.offered.Add(l)
}

func (s *leastLatency) Select(q Demand) int {
	best := -1
	for set := s.set &^ q.Tried; set != 0; set &= set - 1 {
		slot := set.first()
		if p := &s.path[slot]; p.queue == 0 && q.Now.Sub(p.asked) >= s.resample {
			best, p.known = slot, false
			break
		}
		if best < 0 || s.sooner(slot, best) {
			best = slot
		}
	}
	if best >= 0 {
		s.path[best].asked = q.Now
	}
	return s.take(best)
}

func (s *leastLatency) sooner(a, b int) bool {
	p, o := &s.path[a], &s.path[b]
	h, l := bits.Mul64(p.mean*(p.queue+1), s.weight[b])
	i, m := bits.Mul64(o.mean*(o.queue+1), s.weight[a])
	if h != i || l != m {
		return h < i || h == i && l < m
	}
	return s.taken[a] < s.taken[b]
}

func (s *leastLatency) Start(slot int, _ uint64) { s.path[slot].queue++ }

func (s *leastLatency) End(slot int, _ uint64, a Answer) {
	p := &s.path[slot]
	p.queue--
	from := a.Began
	if p.answer.After(from) {
		from = p.answer
	}
	p.answer = a.Ended
	if !a.OK {
		return // how soon it fails says nothing
	}
	took := uint64(max(a.Ended.Sub(from), 1))
	if p.known {
		took = max(p.mean-p.mean/16+took/16, 1)
	}
	p.mean, p.known = took, true
}
