// SPDX-License-Identifier: Apache-2.0

package devicetest

import (
	"sync"

	"pathgate/backends"
)

// ear is the observer of a LUN. A request leaves its window by Park or PathDown
// and comes back by Unpark or Redrive, in strict alternation.
type ear struct {
	s *suite

	mu     sync.Mutex
	of     map[*backends.Request]backends.QueueKind // last event; 0: none
	ended  map[*backends.Request]bool
	counts [backends.Redrive + 1]int

	refusing backends.PathWait
}

// QueueEvent takes an event.
func (e *ear) QueueEvent(_ *backends.Batch, ev backends.QueueEvent) {
	e.mu.Lock()
	defer e.mu.Unlock()
	last := e.of[ev.Request]
	ok := false
	switch ev.Kind {
	case backends.Park:
		ok = (last == 0 || last == backends.Unpark || last == backends.Redrive) && ev.Reason != 0
	case backends.PathDown:
		ok = last == 0 || last == backends.Unpark || last == backends.Redrive
	case backends.Unpark:
		ok = last == backends.Park
	case backends.Redrive:
		ok = last == backends.PathDown
	}
	if !ok {
		e.s.errorf("%v of a %v after %v (reason %v)", ev.Kind, ev.Request.Op, last, ev.Reason)
	}
	if e.ended[ev.Request] {
		e.s.errorf("%v of a request that has completed", ev.Kind)
	}
	e.of[ev.Request] = ev.Kind
	if int(ev.Kind) < len(e.counts) {
		e.counts[ev.Kind]++
	}
}

// CapacityChanged takes the capacity.
func (e *ear) CapacityChanged(_ *backends.Batch, now, nominal float64) {
	if now < 0 || nominal < now {
		e.s.errorf("capacity %v of %v", now, nominal)
	}
}

// Refusing is told changes only.
func (e *ear) Refusing(_ *backends.Batch, upTo backends.PathWait) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.refusing == upTo {
		e.s.errorf("refusing up to %v is told twice", upTo)
	}
	e.refusing = upTo
}

// completed notes the end of r.
func (e *ear) completed(r *backends.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended == nil {
		e.ended = map[*backends.Request]bool{}
	}
	e.ended[r] = true
}

// left counts the events by which requests left their window.
func (e *ear) left() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.counts[backends.Park] + e.counts[backends.PathDown]
}
