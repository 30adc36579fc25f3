// SPDX-License-Identifier: Apache-2.0

package netserve

import (
	"sync"
	"time"
)

// Pace bounds how fast something goes on that costs whoever asks for it next to nothing:
// Burst units at once, and Rate more per second. Safe for concurrent use.
type Pace struct {
	Rate, Burst float64

	mu   sync.Mutex
	left float64
	at   time.Time // of the last refill; zero: full
}

// Take takes n units, also when there are none, and tells how long to wait until they
// are paid for.
func (p *Pace) Take(now time.Time, n float64) (wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at.IsZero() {
		p.left = p.Burst
	} else {
		p.left = min(p.left+p.Rate*now.Sub(p.at).Seconds(), p.Burst)
	}
	p.at = now
	if p.left -= n; p.left >= 0 {
		return 0
	}
	return time.Duration(-p.left / p.Rate * float64(time.Second))
}
