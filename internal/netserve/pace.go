// SPDX-License-Identifier: Apache-2.0

package netserve

import (
	"maps"
	"math"
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
	wait, _ = p.Join(now, n, math.MaxInt64)
	return wait
}

// Join is Take for who waits for no longer than most: else nothing is taken, and ok is
// false. So there is no debt that those who come later would wait for without end.
func (p *Pace) Join(now time.Time, n float64, most time.Duration) (wait time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refillLocked(now)
	if left := p.left - n; left < 0 {
		wait = time.Duration(-left / p.Rate * float64(time.Second))
	}
	if wait > most {
		return 0, false
	}
	p.left -= n
	return wait, true
}

func (p *Pace) refillLocked(now time.Time) {
	if p.at.IsZero() {
		p.left = p.Burst
	} else {
		p.left = min(p.left+p.Rate*now.Sub(p.at).Seconds(), p.Burst)
	}
	p.at = now
}

// rested tells whether p is as it was when nobody had taken anything.
func (p *Pace) rested(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refillLocked(now)
	return p.left == p.Burst
}

// Paces is a pace for each peer, below one for all of them: one that asks for much
// waits alone. Safe for concurrent use. Make it with NewPaces.
type Paces struct {
	rate, burst float64

	mu   sync.Mutex
	own  map[string]*Pace
	rest *Pace // of peers that have none of their own
	all  Pace
}

// NewPaces takes the rate and the burst of each peer, and those of all.
func NewPaces(rate, burst, allRate, allBurst float64) *Paces {
	return &Paces{
		rate: rate, burst: burst, own: make(map[string]*Pace),
		rest: &Pace{Rate: rate, Burst: burst}, all: Pace{Rate: allRate, Burst: allBurst},
	}
}

// Join takes a unit for peer, if that does not have to wait for longer than most. What is
// refused for all of them counts for the peer nevertheless.
func (p *Paces) Join(now time.Time, peer string, most time.Duration) (wait time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if wait, ok = p.peerLocked(now, peer).Join(now, 1, most); !ok {
		return 0, false
	}
	all, ok := p.all.Join(now, 1, most)
	return max(wait, all), ok
}

// peerLocked gives the pace of a peer.
func (p *Paces) peerLocked(now time.Time, peer string) *Pace {
	if own := p.own[peer]; own != nil {
		return own
	}
	if len(p.own) >= maxPeers {
		maps.DeleteFunc(p.own, func(_ string, own *Pace) bool { return own.rested(now) })
		if len(p.own) >= maxPeers {
			return p.rest
		}
	}
	own := &Pace{Rate: p.rate, Burst: p.burst}
	p.own[peer] = own
	return own
}
