// SPDX-License-Identifier: Apache-2.0

package shares

import (
	"slices"
	"sync"
	"time"
)

const (
	// beat is how often a Clock looks whether it gets its turn, and lateBeat by how
	// much it has to be late for that to count.
	beat     = 5 * time.Millisecond
	lateBeat = 10 * time.Millisecond
)

// Clock is the time of one test, since its start, and knows when this process did not
// get its turn. Safe for concurrent use. Make it with NewClock.
type Clock struct {
	begin time.Time
	quit  chan struct{}
	done  sync.WaitGroup

	mu    sync.Mutex
	halts []halt
}

// halt is a time in which nothing of this process ran.
type halt struct{ from, to time.Duration }

// NewClock starts a clock. Stop ends it.
func NewClock() *Clock {
	c := &Clock{begin: time.Now(), quit: make(chan struct{})}
	c.done.Go(c.run)
	return c
}

// Now is the time since the start, monotonic.
func (c *Clock) Now() time.Duration { return time.Since(c.begin) }

// At is the instant of a time of this clock.
func (c *Clock) At(d time.Duration) time.Time { return c.begin.Add(d) }

// Stop ends it. What it knows stays.
func (c *Clock) Stop() {
	close(c.quit)
	c.done.Wait()
}

// Sleep waits until the clock shows at.
func (c *Clock) Sleep(at time.Duration) {
	timer := time.NewTimer(at - c.Now())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.quit:
	}
}

// Until waits until ok says yes, and gives when; false: not within limit.
func (c *Clock) Until(limit time.Duration, ok func() bool) (at time.Duration, in bool) {
	for from := c.Now(); ; c.Sleep(c.Now() + time.Millisecond) {
		if ok() {
			return c.Now(), true
		}
		if c.Now() > from+limit {
			return c.Now(), false
		}
	}
}

func (c *Clock) run() {
	tick := time.NewTimer(beat)
	defer tick.Stop()
	for last := c.Now(); ; {
		select {
		case <-tick.C:
		case <-c.quit:
			return
		}
		now := c.Now()
		c.beat(last, now)
		last = now
		tick.Reset(beat)
	}
}

// beat notes that nothing ran between last+beat and now, if that is long.
func (c *Clock) beat(last, now time.Duration) {
	if now-last-beat < lateBeat {
		return
	}
	c.mu.Lock()
	c.halts = append(c.halts, halt{last + beat, now})
	c.mu.Unlock()
}

// Halted is for how long this process stood still between from and to.
func (c *Clock) Halted(from, to time.Duration) (sum time.Duration) {
	c.mu.Lock()
	list := slices.Clone(c.halts)
	c.mu.Unlock()
	for _, h := range list {
		sum += max(0, min(h.to, to)-max(h.from, from))
	}
	return sum
}
