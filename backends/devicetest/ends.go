// SPDX-License-Identifier: Apache-2.0

package devicetest

import (
	"sync"

	"pathgate/backends"
)

// testAbort aborts writes at once, late, and twice. What an abort has ended
// does not show up later, over a younger write to the same block.
func testAbort(s *suite) {
	blocks := min(32, s.span/s.block)
	stopped := 0
	for round := range uint64(20) {
		var old, young []*call
		for i := range blocks {
			s.hand.do(s.write(i*s.block, s.block, 1))
			c := s.write(i*s.block, s.block, 2)
			s.hand.submit(c)
			if (i+round)%4 != 0 {
				s.hand.abort(c)
				s.hand.abort(c)
			}
			s.hand.b.Run()
			old = append(old, c)
		}
		s.wait(old...)
		for i, c := range old {
			off := uint64(i) * s.block
			switch {
			case c.res.OK():
				s.expect(off, s.block, 2)
			case c.res.Class != backends.Aborted:
				s.errorf("%v: %v, want aborted or ok", c, c.res.Class)
			case c.res.Sent == backends.SentNone:
				stopped++
				s.expect(off, s.block, 1)
			}
			s.hand.abort(c) // it has completed: nothing happens
			young = append(young, s.write(off, s.block, 3))
		}
		s.hand.start(young...)
		s.ok(young...)
		s.expect(0, blocks*s.block, 3)
	}
	s.t.Logf("%d writes were stopped", stopped)
}

// testReset has it end what was submitted before, and that only. done may
// overtake completions that are in the batch of another goroutine.
func testReset(s *suite) {
	const depth = 200
	blocks := s.span / s.block
	for range 10 {
		var before, after []*call
		for i := range uint64(depth) {
			before = append(before, s.write(i%blocks*s.block, s.block, 1))
			after = append(after, s.write(i%blocks*s.block, s.block, 2))
		}
		s.hand.submit(before...)
		done := s.hand.reset(nil)
		s.hand.start(after...)
		s.await("the reset", done)
		s.wait(before...)
		for _, c := range before {
			if !c.res.OK() && c.res.Class != backends.Aborted {
				s.errorf("%v: %v, want aborted or ok", c, c.res.Class)
			}
		}
		s.ok(after...)
		s.expect(0, min(depth, blocks)*s.block, 2)
	}
}

func testResetIdle(s *suite) {
	s.await("a reset of an idle device", s.hand.reset(func(res backends.Result) {
		if !res.OK() {
			s.errorf("reset of an idle device: %v", res.Class)
		}
	}))
	r := s.read(0, s.block)
	s.hand.start(r)
	s.ok(r)
}

// testCloseLoaded closes the device while goroutines submit. Everything ends,
// and what comes after Close is Aborted.
func testCloseLoaded(s *suite) {
	var wg sync.WaitGroup
	stop := make(chan struct{})
	var begun sync.WaitGroup
	for i := range uint64(4) {
		h := s.newHand()
		begun.Add(1)
		wg.Go(func() {
			for k := uint64(0); ; k++ {
				c := s.write((i+4*k)%(s.span/s.block)*s.block, s.block, 1)
				r := s.read(0, s.block)
				h.start(c, r)
				if k == 3 {
					begun.Done()
				}
				<-c.done
				<-r.done
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	begun.Wait()
	s.closeDevice()
	close(stop)
	s.within("what was submitted while the device was closed", wg.Wait)
	s.mu.Lock()
	for _, c := range s.calls {
		if c.ended() && !c.res.OK() && c.res.Class != backends.Aborted {
			s.errorf("%v: %v, want ok or aborted", c, c.res.Class)
		}
	}
	s.mu.Unlock()
	s.afterClose()
}

// afterClose wants Aborted for whatever comes now.
func (s *suite) afterClose() {
	late := []*call{s.read(0, s.block), s.newCall(backends.Flush, 0, 0, nil)}
	s.hand.start(late...)
	s.wait(late...)
	for _, c := range late {
		if c.res.Class != backends.Aborted || c.res.Sent != backends.SentNone {
			s.errorf("%v after Close: %v, sent %v; want aborted, none", c, c.res.Class, c.res.Sent)
		}
	}
	s.hand.abort(late[0])
	s.await("a reset after Close", s.hand.reset(nil))
}

func testCloseTwice(s *suite) {
	r := s.read(0, s.block)
	s.hand.start(r)
	s.ok(r)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := s.dev.Close(); err != nil {
				s.errorf("close: %v", err)
			}
		})
	}
	s.within("Close, three times", wg.Wait)
	s.afterClose()
}

// testWatch watches and stops, twice. What a change tells depends on the device.
func testWatch(s *suite) {
	stop := s.dev.Watch(func(backends.Change) { s.dev.Info() })
	other := s.dev.Watch(func(backends.Change) {})
	stop()
	stop()
	other()
}
