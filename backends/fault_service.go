// SPDX-License-Identifier: Apache-2.0

package backends

import "time"

// serviceCatchUp is the most of its own lateness that a ServiceFault makes up for.
// After a longer halt of the process the rest is lost, as if the device had been
// idle: else a long halt would be followed by a time without any limit.
const serviceCatchUp = 50 * time.Millisecond

// ServiceFault is a device that does so much work per second and no more: one
// server that takes requests in the order of their arrival, each for as long as its
// cost asks, and a latency after that during which it serves the next (the device of
// SCHEDULER section 6). It takes in any number of requests; what waits for the
// server is in the device, and its observer is told nothing of that.
//
// The times are reckoned from the arrival of what found it idle and not from the
// last timer, and what comes while the device is late counts as having come by as
// much earlier: so the rate over a long time is exact, however coarse timers are.
//
// It is a LUN: its observer is told what the device below tells, and what Tell is
// called with. Make it with NewServiceFault; Close closes the device below too.
type ServiceFault struct {
	gate

	// All of these are guarded by gate.mu.
	rate     int64 // per second; 0: no limit
	latency  time.Duration
	cost     func(*Request) int64
	free     time.Time // when all that has come is served
	rest     int64     // what free lacks, in ns/rate
	late     time.Duration
	lateTill time.Time
	counts   ServiceCounts
	observer Observer
	told     func(b *Batch, o Observer) // the last Tell; nil: none
}

// ServiceCounts tells what a ServiceFault did.
type ServiceCounts struct {
	Requests uint64 // handed on
	Units    int64  // what they cost
	Waiting  int    // in service, or on their way to it and from it
	// Idle is for how long the server had nothing to do between two requests, but
	// for what it made up for later.
	Idle time.Duration
}

// NewServiceFault wraps d. It has no limit until Set; a request costs ServiceCost.
func NewServiceFault(d Device) *ServiceFault {
	f := &ServiceFault{cost: ServiceCost}
	f.open(d, f)
	return f
}

// ServiceCost is one unit for each started 4 KiB of payload, and at least one: the
// consumption units of the patent, par. 0089.
func ServiceCost(r *Request) int64 {
	switch r.Op {
	case Read, Write, CompareAndWrite:
		return max(1, int64((r.Length+4095)/4096))
	default:
		return 1
	}
}

// SetCost has requests that come from now on cost what cost says, in units, not
// negative. It is called with the device's lock held.
func (f *ServiceFault) SetCost(cost func(*Request) int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cost = cost
}

// Set sets the rate in units per second, up to 10^9, 0: no limit, and the latency.
// What the server has not done yet is done at the new rate.
func (f *ServiceFault) Set(rate int64, latency time.Duration) {
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	stretch := func(t time.Time) time.Time {
		left := t.Sub(now)
		switch {
		case left <= 0:
			return t
		case rate == 0:
			return now
		}
		return now.Add(time.Duration(float64(left) * float64(f.rate) / float64(rate)))
	}
	for _, w := range f.line {
		w.due = stretch(w.due)
	}
	f.free, f.rest = stretch(f.free), 0
	f.rate, f.latency = rate, latency
	f.wake()
}

// Tell tells the observer, and one that is set later, that now of the nominal
// bandwidth is usable, as a path manager does. The rate stays.
func (f *ServiceFault) Tell(now, nominal float64) {
	var b Batch
	f.mu.Lock()
	f.told = func(b *Batch, o Observer) { o.CapacityChanged(b, now, nominal) }
	if f.observer != nil {
		f.told(&b, f.observer)
	}
	f.mu.Unlock()
	b.Run()
}

// Observe has o told what the device below tells, and the capacity by Tell.
func (f *ServiceFault) Observe(o Observer) {
	var b Batch
	f.mu.Lock()
	f.observer = o
	if f.told != nil {
		f.told(&b, o)
	}
	f.mu.Unlock()
	b.Run()
	if lun, ok := f.Device.(LUN); ok {
		lun.Observe(o)
	}
}

// Counts tells what it did.
func (f *ServiceFault) Counts() ServiceCounts {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.counts
	c.Waiting = len(f.line)
	return c
}

func (f *ServiceFault) inOrder() bool { return true }

// arrive puts the request behind what has come before. Its due time is the end of
// its service, without the latency. What is aborted has used its time.
func (f *ServiceFault) arrive(now time.Time, w *gateWaiter) bool {
	if now.Before(f.lateTill) {
		now = now.Add(-f.late)
	}
	if f.free.Before(now) {
		if !f.free.IsZero() {
			f.counts.Idle += now.Sub(f.free)
		}
		f.free, f.rest = now, 0
	}
	cost := f.cost(w.r)
	if f.rate > 0 {
		ns := cost*int64(time.Second) + f.rest
		f.free, f.rest = f.free.Add(time.Duration(ns/f.rate)), ns%f.rate
	}
	w.due = f.free
	if f.rate == 0 && f.latency == 0 && len(f.line) == 0 {
		f.count(w.r)
		return false
	}
	return true
}

// ready lets the first go that is served. How late the last one of a round is, is
// how late the device is.
func (f *ServiceFault) ready(now time.Time, w *gateWaiter) (bool, time.Duration) {
	late := now.Sub(w.due.Add(f.latency))
	if late < 0 {
		return false, -late
	}
	f.late = min(late, serviceCatchUp)
	f.lateTill = now.Add(f.late)
	f.count(w.r)
	return true, 0
}

func (f *ServiceFault) count(r *Request) {
	f.counts.Requests++
	f.counts.Units += f.cost(r)
}

var _ LUN = (*ServiceFault)(nil)
