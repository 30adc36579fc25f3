// SPDX-License-Identifier: Apache-2.0

package devicetest

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/internal/buffer"
)

// Hooks tell the suite what else it may do with a device. The zero Hooks: no
// more than the contract says.
type Hooks struct {
	// Cut breaks every way to the medium and Heal mends them, both for sure when
	// they return: in between, requests wait. Nil: not tested.
	Cut, Heal func()
	// Reopen opens the medium again after Close. Nil: it is lost then.
	Reopen func(t *testing.T) backends.Device
	// Patience bounds each wait; 0: 10 s.
	Patience time.Duration
	// Span is how many bytes, from 0, are used; 0: 4 MiB, or the device's size
	// when that is less.
	Span uint64
}

// Open gives a fresh device. It must have the content that it likes: the suite
// reads only what it has written.
type Open func(t *testing.T) (backends.Device, Hooks)

// Run runs the suite as subtests of t.
func Run(t *testing.T, open Open) {
	RunIn(t, func(t *testing.T, f func(*testing.T)) { f(t) }, open)
}

// RunIn runs the suite, each case by in, such as synctest.Test. The device is
// opened and closed inside.
func RunIn(t *testing.T, in func(*testing.T, func(*testing.T)), open Open) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			in(t, func(t *testing.T) { runCase(t, c, open) })
		})
	}
}

// testCase is one promise, or a few that are tested alike.
type testCase struct {
	name string
	// writes: needs a device that is not read-only; cuts: needs Cut and Heal.
	writes, cuts bool
	run          func(s *suite)
}

var cases = []testCase{
	{name: "info", run: testInfo},
	{name: "wrong requests", run: testWrong},
	{name: "read-only", run: testReadOnly},
	{name: "model", writes: true, run: testModel},
	{name: "thousands in one submit", writes: true, run: testThousands},
	{name: "submit inside complete", writes: true, run: testReentrant},
	{name: "order of changes", writes: true, run: testOrder},
	{name: "every goroutine", writes: true, run: testConcurrent},
	{name: "read buffers", writes: true, run: testReadBuffers},
	{name: "write buffers", writes: true, run: testWriteBuffers},
	{name: "flush and FUA", writes: true, run: testFlush},
	{name: "abort", writes: true, run: testAbort},
	{name: "reset", writes: true, run: testReset},
	{name: "reset of nothing", run: testResetIdle},
	{name: "close under load", writes: true, run: testCloseLoaded},
	{name: "close twice", run: testCloseTwice},
	{name: "credits", run: testCredits},
	{name: "watch", run: testWatch},
	{name: "cut and heal", writes: true, cuts: true, run: testCutHeal},
	{name: "cut under load", writes: true, cuts: true, run: testCutLoaded},
	{name: "cut and abort", writes: true, cuts: true, run: testCutAbort},
	{name: "cut and reset", writes: true, cuts: true, run: testCutReset},
	{name: "cut and close", writes: true, cuts: true, run: testCutClose},
	{name: "cut and credits", cuts: true, run: testCutCredits},
}

func runCase(t *testing.T, c testCase, open Open) {
	dev, hooks := open(t)
	s := &suite{t: t, dev: dev, info: dev.Info(), hooks: hooks, seed: rand.Uint64()}
	s.rnd = rand.New(rand.NewPCG(s.seed, 0))
	s.block = uint64(s.info.LogicalBlock)
	if s.hooks.Patience == 0 {
		s.hooks.Patience = 10 * time.Second
	}
	s.span = min(s.info.Size, max(4<<20, 16*s.block))
	if hooks.Span != 0 {
		s.span = min(s.span, hooks.Span)
	}
	s.span = s.span / s.block * s.block
	s.hand = s.newHand()
	if lun, ok := dev.(backends.LUN); ok {
		s.ear = &ear{s: s, of: map[*backends.Request]backends.QueueKind{}}
		lun.Observe(s.ear)
	}
	defer s.finish()
	if c.writes && s.info.Caps.Has(backends.ReadOnly) {
		t.Log("does not apply: the device is read-only")
		return
	}
	if c.cuts && (hooks.Cut == nil || hooks.Heal == nil) {
		t.Log("does not apply: the device has no paths to cut")
		return
	}
	c.run(s)
}

// suite is one case on one device.
type suite struct {
	t     *testing.T
	dev   backends.Device
	info  backends.Info
	hooks Hooks
	span  uint64
	block uint64
	seed  uint64
	rnd   *rand.Rand // of the test's goroutine
	hand  *hand      // likewise
	ear   *ear

	inside sync.Map // goroutine id -> method that it is in

	ending sync.RWMutex // held while a fault is noted
	ended  bool         // the case is over; guarded by ending

	mu    sync.Mutex
	calls []*call
	holds []*buffer.Segment // every payload segment, with a hold of ours
}

// errorf notes a fault together with what repeats the run. A goroutine that did not
// end in time, which was noted, may come here after the case: it is not heard.
func (s *suite) errorf(format string, args ...any) {
	s.t.Helper()
	s.ending.RLock()
	defer s.ending.RUnlock()
	if s.ended {
		return
	}
	s.t.Errorf("seed %d: "+format, append([]any{s.seed}, args...)...)
}

// finish closes the device and checks what holds for every case.
func (s *suite) finish() {
	defer func() {
		s.ending.Lock()
		s.ended = true
		s.ending.Unlock()
	}()
	s.closeDevice()
	s.hand.b.Run()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.calls {
		if n := c.ends.Load(); n != 1 {
			s.errorf("%v completed %d times until the device was closed, want once", c, n)
			return // the payload may be in use still
		}
		c.Data.Release()
	}
	for _, seg := range s.holds {
		if seg.Shared() {
			s.errorf("a payload segment has a holder after the device was closed")
			break
		}
		seg.Release()
	}
}

// closeDevice closes it, with patience.
func (s *suite) closeDevice() {
	s.within("Close", func() {
		if err := s.dev.Close(); err != nil {
			s.errorf("close: %v", err)
		}
	})
}

// within runs f, which may block, and gives up after the patience.
func (s *suite) within(what string, f func()) {
	s.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	s.await(what, done)
}

// await waits for done.
func (s *suite) await(what string, done <-chan struct{}) {
	s.t.Helper()
	timer := time.NewTimer(s.hooks.Patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		s.t.Fatalf("seed %d: %s has not ended after %v", s.seed, what, s.hooks.Patience)
	}
}
