// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"math/rand/v2"
	"time"
)

// DelayFault is a device that hands chosen requests on later. Changes that
// overlap stay in order. Make it with NewDelayFault; Close closes the device
// below too.
type DelayFault struct {
	gate
	choose chooser

	delay, jitter time.Duration // guarded by gate.mu
}

// NewDelayFault wraps d. It delays nothing until Set.
func NewDelayFault(d Device) *DelayFault {
	f := &DelayFault{}
	f.open(d, f)
	return f
}

// Set delays the requests that rule chooses by delay, and by up to jitter more;
// nil: none. What waits already keeps its time.
func (f *DelayFault) Set(rule *FaultRule, delay, jitter time.Duration) {
	f.mu.Lock()
	f.delay, f.jitter = delay, jitter
	f.mu.Unlock()
	f.choose.set(rule)
}

// Counts tells what it did.
func (f *DelayFault) Counts() FaultCounts {
	c := f.choose.get()
	c.Waiting = f.waiting()
	return c
}

func (f *DelayFault) inOrder() bool { return false }

func (f *DelayFault) arrive(now time.Time, w *gateWaiter) bool {
	if !f.choose.hit(w.r) {
		return false
	}
	w.due = now.Add(f.delay)
	if f.jitter > 0 {
		w.due = w.due.Add(rand.N(f.jitter))
	}
	return true
}

func (f *DelayFault) ready(now time.Time, w *gateWaiter) (bool, time.Duration) {
	wait := w.due.Sub(now)
	return wait <= 0, wait
}

var _ Device = (*DelayFault)(nil)
