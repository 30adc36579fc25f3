// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"math/rand/v2"
	"time"

	"pathgate/backends"
)

// Pauses between attempts to log in.
const (
	firstPause  = 100 * time.Millisecond
	maxPause    = 5 * time.Second
	deniedPause = 60 * time.Second // somebody has to change something first
	// steady is how long a session has to live for the next loss to count as the
	// first again: two nexuses that kick each other out do not spin.
	steady = 5 * time.Second
)

// backoff gives the pauses: doubling up to a bound, with jitter, so that the
// nexuses of a host do not return in step. The zero value is ready.
type backoff struct {
	jitter func(n int64) int64 // nil: math/rand
	pause  time.Duration       // of the last failure, before jitter
	last   time.Duration       // the pause that runs now; 0: until it is interrupted
}

// reset starts again after a session that lived for d.
func (f *backoff) reset(d time.Duration) {
	if d >= steady {
		f.pause = 0
	}
}

// next gives the pause after a failure of class c: at least three quarters of the
// nominal time, at most five. absent tells that the portal answered and does not
// know the target. One that starts listens before its targets are there, so such a
// failure is not for long at first; while it lasts, writes may wait for a fence.
func (f *backoff) next(c backends.LossClass, absent bool) time.Duration {
	limit := maxPause
	if absent {
		limit = deniedPause
	}
	f.pause = min(max(2*f.pause, firstPause), limit)
	p := f.pause
	if c == backends.LossDenied && !absent {
		return deniedPause + f.spread(deniedPause/4)
	}
	return p*3/4 + f.spread(p/2)
}

// spread gives a random time below d.
func (f *backoff) spread(d time.Duration) time.Duration {
	if f.jitter != nil {
		return time.Duration(f.jitter(int64(d)))
	}
	return time.Duration(rand.Int64N(int64(d)))
}
