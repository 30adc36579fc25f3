// SPDX-License-Identifier: Apache-2.0

package devicetest

import (
	"sync"

	"pathgate/backends"
)

// waiting makes n requests of all common kinds.
func (s *suite) waiting(n uint64) (calls []*call) {
	const id = 2 // of the data; the first fill has 1
	blocks := s.span / s.block
	for i := range n {
		off := i % blocks * s.block
		switch i % 8 {
		case 5:
			calls = append(calls, s.read(off, s.block))
		case 7:
			calls = append(calls, s.newCall(backends.Flush, 0, 0, nil))
		default:
			calls = append(calls, s.write(off, s.block, id))
		}
	}
	return calls
}

// held wants none of calls to have completed, and, of a LUN, events that say
// why. Without this the fault did not happen.
func (s *suite) held(calls []*call, eventsBefore int) {
	for _, c := range calls {
		if c.ended() {
			s.errorf("%v completed while the paths were cut: %v", c, c.res.Class)
			return
		}
	}
	if s.ear != nil && s.ear.left() == eventsBefore {
		s.errorf("%d requests wait, and no event told it", len(calls))
	}
}

func (s *suite) eventsSoFar() int {
	if s.ear == nil {
		return 0
	}
	return s.ear.left()
}

// testCutHeal has requests wait for the paths, and go on.
func testCutHeal(s *suite) {
	s.hand.do(s.write(0, s.block, 1))
	events := s.eventsSoFar()
	s.hooks.Cut()
	calls := s.waiting(100)
	s.hand.start(calls...)
	s.held(calls, events)
	s.hooks.Heal()
	s.ok(calls...)
	s.expect(0, s.block, 2)
}

// testCutLoaded cuts and heals while goroutines work; nobody sees an error, and
// every block has the last write.
func testCutLoaded(s *suite) {
	const hands, depth = 4, 8
	stop := make(chan struct{})
	last := make([][]uint64, hands)
	var wg sync.WaitGroup
	for i := range uint64(hands) {
		h := s.newHand()
		last[i] = make([]uint64, depth)
		wg.Go(func() {
			for id := uint64(1); ; id++ {
				var calls []*call
				for k := range uint64(depth) {
					calls = append(calls, s.write((i*depth+k)*s.block, s.block, id))
					last[i][k] = id
				}
				h.start(calls...)
				for _, c := range calls {
					<-c.done
					if !c.res.OK() {
						s.errorf("%v: %v", c, c.res.Err())
					}
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for i := range uint64(5) {
		s.hooks.Cut()
		probe := s.write((hands*depth+i)*s.block, s.block, 1)
		s.hand.start(probe)
		if probe.ended() {
			s.errorf("%v completed while the paths were cut", probe)
		}
		s.hooks.Heal()
		s.ok(probe)
	}
	close(stop)
	s.within("the work of all goroutines", wg.Wait)
	for i := range last {
		for k, id := range last[i] {
			s.expect(uint64(i*depth+k)*s.block, s.block, id)
		}
	}
}

// testCutAbort aborts what waits: it ends without a path.
func testCutAbort(s *suite) {
	for i := range uint64(16) {
		s.hand.do(s.write(i*s.block, s.block, 1))
	}
	events := s.eventsSoFar()
	s.hooks.Cut()
	calls := s.waiting(16)
	s.hand.start(calls...)
	s.held(calls, events)
	for i, c := range calls {
		if i%2 == 0 {
			s.hand.abort(c)
			s.wait(c)
			if c.res.Class != backends.Aborted {
				s.errorf("%v: %v, want aborted", c, c.res.Class)
			}
		}
	}
	s.hooks.Heal()
	s.wait(calls...)
	for i, c := range calls {
		if i%2 == 1 {
			s.ok(c)
		}
	}
	for i := uint64(0); i < 16; i += 2 {
		s.expect(i*s.block, s.block, 1)
	}
}

// testCutReset ends everything that waits.
func testCutReset(s *suite) {
	events := s.eventsSoFar()
	s.hooks.Cut()
	calls := s.waiting(50)
	s.hand.start(calls...)
	s.held(calls, events)
	s.await("a reset without paths", s.hand.reset(nil))
	s.wait(calls...)
	for _, c := range calls {
		if c.res.Class != backends.Aborted {
			s.errorf("%v: %v, want aborted", c, c.res.Class)
		}
	}
	s.hooks.Heal()
	c := s.write(0, s.block, 3)
	s.hand.start(c)
	s.ok(c)
	s.expect(0, s.block, 3)
}

// testCutClose closes the device while requests wait.
func testCutClose(s *suite) {
	s.hooks.Cut()
	calls := s.waiting(50)
	s.hand.start(calls...)
	s.closeDevice()
	s.wait(calls...)
	for _, c := range calls {
		if c.res.OK() {
			s.errorf("%v: ok without a path", c)
		}
	}
	s.afterClose()
}

// testCutCredits takes credits while nothing moves.
func testCutCredits(s *suite) {
	s.hooks.Cut()
	testCredits(s)
	s.hooks.Heal()
	r := s.read(0, s.block)
	s.hand.start(r)
	s.ok(r)
}
