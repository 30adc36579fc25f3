// SPDX-License-Identifier: Apache-2.0

package load

import (
	"sync"
	"time"
)

// Report tells of the time since the last mark. Durations are in nanoseconds in JSON.
type Report struct {
	// Gap is the longest time in which no request ended, Longest the longest time that
	// one request was in flight; one that has not ended counts with what it has taken.
	// What was before the mark does not count.
	Gap, Longest time.Duration
	// Oldest is when the oldest request in flight began, after the mark (0: at the mark
	// or before it); negative when there is none.
	Oldest time.Duration
	Since  time.Duration // time since the mark
	Done   int64         // requests that have ended since the mark
	Errors int64         // requests that have failed, since the start
	Failed string        // how the first one failed
}

// Meter measures the requests of one device. Make it with NewMeter. Safe for
// concurrent use.
type Meter struct {
	mu      sync.Mutex
	begun   []time.Time // by worker; zero: none in flight
	mark    time.Time
	last    time.Time // the end of the last request, or the mark
	gap     time.Duration
	longest time.Duration
	done    int64
	errors  int64
	failed  string
}

// NewMeter makes a meter for a number of workers.
func NewMeter(workers int, now time.Time) *Meter {
	return &Meter{begun: make([]time.Time, workers), mark: now, last: now}
}

// Mark forgets what was before now, but for the requests in flight.
func (m *Meter) Mark(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mark, m.last, m.gap, m.longest, m.done = now, now, 0, 0, 0
}

// Begin tells that worker w begins a request.
func (m *Meter) Begin(w int, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.begun[w] = now
}

// End tells that worker w's request has ended.
func (m *Meter) End(w int, now time.Time, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gap = max(m.gap, now.Sub(m.last))
	m.longest = max(m.longest, m.ageLocked(m.begun[w], now))
	m.last, m.begun[w] = now, time.Time{}
	m.done++
	if err == nil {
		return
	}
	if m.errors++; m.errors == 1 {
		m.failed = err.Error()
	}
}

// ageLocked is how long a request that began then has been in flight since the mark.
func (m *Meter) ageLocked(begun, now time.Time) time.Duration {
	if begun.Before(m.mark) {
		begun = m.mark
	}
	return now.Sub(begun)
}

// Report tells of the time since the last mark.
func (m *Meter) Report(now time.Time) Report {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := Report{
		Gap: max(m.gap, now.Sub(m.last)), Longest: m.longest, Oldest: -1, Since: now.Sub(m.mark),
		Done: m.done, Errors: m.errors, Failed: m.failed,
	}
	for _, begun := range m.begun {
		if begun.IsZero() {
			continue
		}
		age := m.ageLocked(begun, now)
		r.Longest = max(r.Longest, age)
		if at := r.Since - age; r.Oldest < 0 || at < r.Oldest {
			r.Oldest = at
		}
	}
	return r
}

// Settled tells that nothing is in flight that began within d of the mark.
func (r Report) Settled(d time.Duration) bool {
	return r.Since > d && (r.Oldest < 0 || r.Oldest > d)
}
