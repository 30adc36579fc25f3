// SPDX-License-Identifier: Apache-2.0

package backends

import "time"

// Bucket is a token bucket. The zero Bucket has no limit. It is a pure value:
// not safe for concurrent use, and reads no clock.
type Bucket struct {
	rate, burst float64 // tokens per second; most tokens kept
	level       float64
	at          time.Time // of level
}

// Adjust sets the rate, in tokens per second, and how many tokens are kept at
// most (at least 1); rate 0: no limit. The bucket that had no limit is full now.
func (k *Bucket) Adjust(now time.Time, rate, burst float64) {
	k.fill(now)
	if k.rate == 0 {
		k.level = burst
	}
	k.rate, k.burst = rate, max(burst, 1)
	k.level = min(k.level, k.burst)
}

func (k *Bucket) fill(now time.Time) {
	if d := now.Sub(k.at); d > 0 && !k.at.IsZero() {
		k.level = min(k.burst, k.level+k.rate*d.Seconds())
	}
	k.at = now
}

// Take takes n tokens and gives 0, or takes none and tells how long to wait
// before asking again: others may have taken them then. More than the bucket
// holds are given when it is full, and leave a debt, so that a large request
// goes at all and the rate is kept.
func (k *Bucket) Take(now time.Time, n float64) (wait time.Duration) {
	if k.rate == 0 {
		return 0
	}
	k.fill(now)
	if need := min(n, k.burst); k.level < need {
		return max(time.Duration((need-k.level)/k.rate*float64(time.Second)), time.Microsecond)
	}
	k.level -= n
	return 0
}

// RateFault is a device that lets only so many requests and bytes per second
// through, in the order of their arrival. Make it with NewRateFault; Close
// closes the device below too.
type RateFault struct {
	gate
	choose chooser

	requests, bytes Bucket // guarded by gate.mu
}

// NewRateFault wraps d. It has no limit until Set.
func NewRateFault(d Device) *RateFault {
	f := &RateFault{}
	f.choose.set(&FaultRule{})
	f.open(d, f)
	return f
}

// Set limits requests and payload bytes per second; 0: no limit. Up to a tenth
// of a second's worth may come in one burst.
func (f *RateFault) Set(requests, bytes float64) {
	now := time.Now()
	f.mu.Lock()
	f.requests.Adjust(now, requests, requests/10)
	f.bytes.Adjust(now, bytes, bytes/10)
	f.mu.Unlock()
	f.wake()
}

// Counts tells what it did: every request is a hit.
func (f *RateFault) Counts() FaultCounts {
	c := f.choose.get()
	c.Waiting = f.waiting()
	return c
}

func (f *RateFault) inOrder() bool { return true }

func (f *RateFault) arrive(now time.Time, w *gateWaiter) bool {
	f.choose.hit(w.r)
	if len(f.line) > 0 {
		return true
	}
	ok, _ := f.ready(now, w)
	return !ok
}

func (f *RateFault) ready(now time.Time, w *gateWaiter) (bool, time.Duration) {
	if !w.hit {
		if wait := f.requests.Take(now, 1); wait > 0 {
			return false, wait
		}
		w.hit = true // it has its token
	}
	n := float64(0)
	if w.r.Op == Read || w.r.Op == Write || w.r.Op == CompareAndWrite {
		n = float64(w.r.Length)
	}
	wait := f.bytes.Take(now, n)
	return wait == 0, wait
}

var _ Device = (*RateFault)(nil)
