// SPDX-License-Identifier: Apache-2.0

package devicetest

import (
	"sync"

	"pathgate/backends"
)

// testOrder has many overlapping changes outstanding at once, together and in
// turn, and reads between them. At the end the last submitted one is seen
// everywhere; a read sees nothing older than what had completed before it.
func testOrder(s *suite) {
	const depth = 64
	blocks := min(24, s.span/s.block)
	longest := min(8, s.maxTransfer()/s.block)
	id := uint64(0)
	for range 12 {
		last := make([]uint64, blocks) // submitted
		var writes, reads, together []*call
		for range depth {
			from := s.rnd.Uint64N(blocks)
			n := min(1+s.rnd.Uint64N(longest), blocks-from)
			if s.rnd.IntN(4) == 0 {
				c := s.read(from*s.block, n*s.block)
				floor := s.completedFloor(writes, from, n)
				c.then = func(_ *backends.Batch, c *call) { s.checkFloor(c, floor) }
				reads = append(reads, c)
				together = append(together, c)
			} else {
				id++
				c := s.write(from*s.block, n*s.block, id)
				for i := from; i < from+n; i++ {
					last[i] = id
				}
				writes = append(writes, c)
				together = append(together, c)
			}
			if s.rnd.IntN(3) == 0 {
				s.hand.start(together...)
				together = nil
			}
		}
		s.hand.start(together...)
		s.ok(writes...)
		s.ok(reads...)
		for i, want := range last {
			if want != 0 {
				s.expect(uint64(i)*s.block, s.block, want)
			}
		}
	}
}

// completedFloor gives, for each of n blocks, the youngest write that has
// completed by now.
func (s *suite) completedFloor(writes []*call, from, n uint64) []uint64 {
	floor := make([]uint64, n)
	for _, w := range writes {
		if w.ends.Load() == 0 || !w.ended() {
			continue
		}
		for i := range n {
			at := (from + i) * s.block
			if at >= w.Offset && at < w.Offset+w.Length {
				floor[i] = max(floor[i], s.stampOf(w.Data[0].B[:8]))
			}
		}
	}
	return floor
}

// checkFloor wants every block that c read to be whole and no older than floor.
func (s *suite) checkFloor(c *call, floor []uint64) {
	for i, least := range floor {
		if least == 0 || len(c.got) == 0 {
			continue
		}
		if id := s.stampOf(c.got[uint64(i)*s.block:][:s.block]); id < least {
			s.errorf("%v: block %d has number %d, but %d was there before", c, i, id, least)
		}
	}
}

// testConcurrent has several goroutines do everything at once, with aborts,
// each in a part of its own, and compares with the model at the end.
func testConcurrent(s *suite) {
	const hands, rounds, depth = 4, 12, 16
	part := s.span / hands / s.block * s.block
	var wg sync.WaitGroup
	for i := range uint64(hands) {
		h := s.newHand()
		wg.Go(func() {
			for round := range uint64(rounds) {
				var calls []*call
				for k := range uint64(depth) {
					off := i*part + (k*s.block)%part
					switch h.rnd.IntN(5) {
					case 0:
						calls = append(calls, s.read(off, s.block))
					case 1:
						calls = append(calls, s.newCall(backends.Flush, 0, 0, nil))
					default:
						calls = append(calls, s.write(off, s.block, round<<16|k))
					}
				}
				h.start(calls...)
				if c := calls[h.rnd.IntN(depth)]; round%2 == 0 {
					h.abort(c)
				}
				for _, c := range calls {
					<-c.done
					if !c.res.OK() && c.res.Class != backends.Aborted {
						s.errorf("%v: %v", c, c.res.Err())
					}
				}
			}
		})
	}
	s.within("the work of all goroutines", wg.Wait)
}
