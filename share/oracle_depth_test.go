// SPDX-License-Identifier: Apache-2.0

package share

import (
	"math"
	"time"
)

// refDepth is the window.
type refDepth struct {
	room       Unit // in force
	d          float64
	epochAt    Instant
	begun      Instant
	length     int64
	completed  Unit
	samples    int64
	latency    int64 // sum of samples
	stall      Instant
	cb         int64 // mean cost of all, times 256
	limited    bool  // as of the last Step
	waited     bool  // in this epoch
	limitedFor int64
	slowFor    int64
}

func (d *refDepth) configure(c *refCore, old *Settings) {
	s := &c.set
	if old == nil || old.Depth != s.Depth || old.DepthStart != s.DepthStart {
		d.d = float64(s.DepthStart)
	}
	d.length = min(max(16*int64(s.LatencyTarget), int64(50*time.Millisecond)), int64(2*time.Second))
	if old == nil || old.LatencyTarget != s.LatencyTarget {
		d.begin(c.now)
	}
	d.inForce(c)
}

func (d *refDepth) begin(now Instant) {
	d.begun, d.epochAt = now, now+Instant(d.length)
	d.completed, d.samples, d.latency, d.limitedFor = 0, 0, 0, 0
	d.waited = d.limited
}

func (d *refDepth) pass(ns int64) {
	if d.limited {
		d.limitedFor += ns
	}
}

func (d *refDepth) scale(c *refCore, kappa, old uint32) {
	d.d = d.d * float64(kappa) / float64(old)
	d.inForce(c)
}

// inForce rounds the window.
func (d *refDepth) inForce(c *refCore) {
	v := float64(c.set.Depth) * float64(c.lastKappa) / refFull
	if c.set.Depth == 0 {
		d.d = min(max(d.d, float64(c.set.DepthMin)), float64(c.set.DepthMax))
		v = d.d
	}
	d.room = max(1, Unit(math.Round(v)))
}

// epoch ends one.
func (d *refDepth) epoch(c *refCore) {
	elapsed := max(1, int64(c.now-d.begun))
	full := d.limitedFor*10 >= elapsed*9
	if c.set.Capacity == 0 && c.kappa > 0 {
		rate := refMulDiv(int64(d.completed), 1000*refSecond, elapsed)
		if full && c.capacity > 0 {
			c.capacity += int64(math.Round(0.2 * float64(rate-c.capacity)))
		} else {
			c.capacity = max(c.capacity, rate)
		}
		switch {
		case c.kappa == refFull:
			c.nominal, c.whole = c.capacity, true
		case !c.whole:
			c.nominal = refMulDiv(c.capacity, refFull, int64(c.kappa))
		}
		c.nominal = max(c.nominal, c.capacity)
	}
	if c.bound != 0 && c.bound != c.told {
		c.bound++
		if c.sinceTSF++; c.told == 0 && c.sinceTSF >= 16 {
			c.bound = 0
		}
	}
	slow := false
	if d.samples >= 16 {
		slow = full && d.latency/d.samples > 2*int64(c.set.LatencyTarget)
		if c.set.Depth == 0 {
			d.move(c, float64(d.latency)/float64(d.samples))
		}
	}
	if slow {
		d.slowFor += elapsed
	} else {
		d.slowFor = 0
	}
	d.begin(c.now)
}

func (d *refDepth) move(c *refCore, latency float64) {
	target := float64(c.set.LatencyTarget)
	if c.capacity > 0 && d.cb > 256 {
		target += float64(d.cb-256) / 256 * 1e12 / float64(c.capacity)
	}
	g, bf := c.set.DepthGain, c.set.DepthGrowth
	next := (1-g)*d.d + g*(target/max(latency, 1)*d.d+bf*d.d)
	next = min(max(next, float64(c.set.DepthMin)), float64(c.set.DepthMax))
	if next < d.d || d.waited {
		d.d = next
	}
	d.inForce(c)
}
