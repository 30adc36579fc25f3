// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pathgate/integration/stamp"
)

// probeBlock is the size of a probe's requests.
const probeBlock = 4096

// Span is one request of a probe.
type Span struct {
	Begin, End time.Time
	Write      bool
	Err        error
}

// Probe keeps requests in flight on a disk, one per worker, alternately a write and
// a read of it. A worker has a range of its own and goes through it in order, so
// that no request ever waits for another that overlaps it. Safe for concurrent use.
type Probe struct {
	mu    sync.Mutex
	spans []Span
	quit  atomic.Bool
	wg    sync.WaitGroup
	done  atomic.Int64
}

// StartProbe starts workers on the range [off, off+size) of targets. Stop ends them.
func StartProbe(off, size int64, workers int, targets ...stamp.Target) *Probe {
	p := &Probe{}
	part := size / int64(workers) / probeBlock * probeBlock
	for i := range workers {
		p.wg.Go(func() { p.work(targets[i%len(targets)], off+int64(i)*part, part, byte(i)) })
	}
	return p
}

func (p *Probe) work(t stamp.Target, off, size int64, id byte) {
	data, back := make([]byte, probeBlock), make([]byte, probeBlock)
	for n := int64(0); !p.quit.Load(); n++ {
		at := off + n*probeBlock%size
		for i := range data {
			data[i] = id ^ byte(n) ^ byte(n>>8) ^ byte(i)
		}
		if p.one(true, func() error { _, err := t.WriteAt(data, at); return err }) != nil {
			return
		}
		if p.one(false, func() error {
			if _, err := t.ReadAt(back, at); err != nil {
				return err
			}
			if !slices.Equal(back, data) {
				return fmt.Errorf("worker %d read at %d what it did not write", id, at)
			}
			return nil
		}) != nil {
			return
		}
	}
}

// one runs one request and remembers it. A worker ends at its first error.
func (p *Probe) one(write bool, f func() error) error {
	s := Span{Begin: time.Now(), Write: write}
	s.Err = f()
	s.End = time.Now()
	p.mu.Lock()
	p.spans = append(p.spans, s)
	p.mu.Unlock()
	p.done.Add(1)
	return s.Err
}

// Done is how many requests have ended.
func (p *Probe) Done() int64 { return p.done.Load() }

// Stop ends the workers after their requests in flight, and returns every error.
func (p *Probe) Stop() []error {
	p.quit.Store(true)
	p.wg.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, s := range p.spans {
		if s.Err != nil {
			errs = append(errs, s.Err)
		}
	}
	return errs
}

// Longest returns how long the longest took, from at on, of the requests that were in
// flight at a time between at and until, and how many took longer than bar. Those that
// have not ended yet are not known.
func (p *Probe) Longest(at, until time.Time, bar time.Duration) (longest time.Duration, over int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.spans {
		if s.End.After(at) && s.Begin.Before(until) {
			from := s.Begin
			if from.Before(at) {
				from = at
			}
			longest = max(longest, s.End.Sub(from))
			if s.End.Sub(from) > bar {
				over++
			}
		}
	}
	return longest, over
}

// InFlight returns how long after at the last of the requests that were in flight
// then has ended, and how many those were.
func (p *Probe) InFlight(at time.Time) (last time.Duration, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.spans {
		if s.Begin.Before(at) && s.End.After(at) {
			last = max(last, s.End.Sub(at))
			n++
		}
	}
	return last, n
}
