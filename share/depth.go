// SPDX-License-Identifier: Apache-2.0

package share

import (
	"math"
	"time"
)

const (
	// minSamples is how many latencies make an epoch count.
	minSamples = 16
	// slowLatency is for how long the device must be slow to be degraded.
	slowLatency = int64(time.Second)
	// capEpochs: after so many epochs without a TASK SET FULL an unknown bound on
	// commands is dropped.
	capEpochs = 16
)

// window is how much may be in the device at once, and what it is learnt from.
type window struct {
	room Unit // in force
	d    float64
	auto bool

	epochAt, begun Instant
	epochLen       int64
	completed      Unit
	samples        int
	latencySum     int64
	stallEnd       Instant
	stalls         uint64
	meanCost       int64 // of all commands, times 256
	limited        bool  // since the last Step somebody waits for the window
	limitedFor     int64
	waited         bool // somebody did in this epoch
	slowFor        int64

	latency int64 // of the last epoch that counted, ns
	target  int64 // Lt'
	moved   DepthMove
}

func (w *window) configure(s, old *Settings, now Instant) {
	w.auto = s.Depth == 0
	if old == nil || old.Depth != s.Depth || old.DepthStart != s.DepthStart {
		w.d, w.moved = float64(s.Depth), DepthFixed
		if w.auto {
			w.d, w.moved = float64(s.DepthStart), DepthStarted
		}
	}
	if w.auto {
		w.d = min(max(w.d, float64(s.DepthMin)), float64(s.DepthMax))
	}
	w.epochLen = min(max(16*int64(s.LatencyTarget), int64(50*time.Millisecond)), int64(2*time.Second))
	w.target = int64(s.LatencyTarget)
	if old == nil || old.LatencyTarget != s.LatencyTarget {
		w.begin(now)
	}
}

// begin starts an epoch.
func (w *window) begin(now Instant) {
	w.begun, w.epochAt = now, now+Instant(w.epochLen)
	w.completed, w.samples, w.latencySum = 0, 0, 0
	w.limitedFor, w.waited = 0, w.limited
}

// pass counts time, note what it was limited by.
func (w *window) pass(d Instant) {
	if w.limited {
		w.limitedFor += int64(d)
	}
}

func (w *window) note(limited bool) {
	w.limited = limited
	w.waited = w.waited || limited
}

func (w *window) sample(n int, sum int64) {
	w.samples += n
	w.latencySum += sum
}

func (w *window) stalled(until Instant) {
	if until > w.stallEnd {
		w.stallEnd = until
		w.stalls++
	}
}

// scale follows a path event.
func (w *window) scale(kappa, old uint32) {
	w.moved = DepthPath
	if w.auto {
		w.d = w.d * float64(kappa) / float64(old)
	}
}

// scaleWindow puts the window in force.
func (c *Core) scaleWindow() {
	w := &c.depth
	d := w.d
	if w.auto {
		d = min(max(d, float64(c.set.DepthMin)), float64(c.set.DepthMax))
		w.d = d
	} else if c.ablation&depthUnscaled == 0 {
		d = d * float64(c.plan.lastKappa) / fullKappa
	}
	w.room = max(1, Unit(math.Round(d)))
}

// epoch ends one and moves the window by the law of PARDA (FAST'09, section
// 3.2), which is told here what a large command may take.
func (c *Core) epoch() {
	w := &c.depth
	elapsed := max(int64(c.now-w.begun), 1)
	c.learn(elapsed)
	if c.cap != 0 && c.cap != c.most {
		c.cap++
		if c.capSince++; c.most == 0 && c.capSince >= capEpochs {
			c.cap = 0
		}
	}
	lt := float64(c.set.LatencyTarget)
	if c.plan.ceff > 0 && w.meanCost > 256 {
		lt += float64(w.meanCost-256) / 256 * 1e12 / float64(c.plan.ceff)
	}
	w.target = int64(lt)
	switch {
	case w.samples < minSamples:
		if w.auto {
			w.moved = DepthDiscarded
		}
	default:
		w.latency = w.latencySum / int64(w.samples)
		if w.auto {
			c.moveWindow(lt, float64(w.latencySum)/float64(w.samples))
		}
	}
	if w.limitedFor*10 >= elapsed*9 && w.samples >= minSamples && w.latency > 2*int64(c.set.LatencyTarget) {
		w.slowFor += elapsed
	} else {
		w.slowFor = 0
	}
	w.begin(c.now)
}

func (c *Core) moveWindow(lt, latency float64) {
	w, s := &c.depth, &c.set
	d := (1-s.DepthGain)*w.d + s.DepthGain*(lt/max(latency, 1)*w.d+s.DepthGrowth*w.d)
	d = min(max(d, float64(s.DepthMin)), float64(s.DepthMax))
	switch {
	case d > w.d && !w.waited:
		w.moved = DepthIdle
		return
	case d > w.d:
		w.moved = DepthGrew
	case d < w.d:
		w.moved = DepthShrank
	}
	w.d = d
	c.scaleWindow()
}

// learn takes the epoch's rate as what the device can do.
func (c *Core) learn(elapsed int64) {
	p, w := &c.plan, &c.depth
	if p.fixed > 0 || p.kappa == 0 {
		return
	}
	rate := speed(w.completed, elapsed)
	full := w.limitedFor*10 >= elapsed*9
	p.full = p.full || full && rate > 0
	if full && p.ceff > 0 {
		p.ceff += Speed(math.Round(0.2 * float64(rate-p.ceff)))
	} else {
		p.ceff = max(p.ceff, rate)
	}
	switch {
	case p.kappa == fullKappa:
		p.cnom, p.whole = p.ceff, true
	case !p.whole:
		p.cnom = Speed(mulDiv(int64(p.ceff), fullKappa, int64(p.kappa)))
	}
	p.cnom = max(p.cnom, p.ceff)
}

func duration(i Instant) time.Duration { return time.Duration(i) }
