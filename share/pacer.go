// SPDX-License-Identifier: Apache-2.0

package share

import (
	"context"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Pacer is the clock and the timer of all Disks of a process. It wakes each at
// the instant that its core asked for, and watches for stalls of the process
// while some Disk has commands that wait. When all are idle nothing wakes up.
// Safe for concurrent use. Make it with NewPacer; without Run nothing that waits
// for a time goes on.
type Pacer struct {
	base  time.Time
	ctx   any
	after func()
	kick  chan struct{}
	// seen is when the timer last ran, while it watches for stalls; else far in
	// the future.
	seen atomic.Int64

	mu      sync.Mutex
	queue   []*Disk // heap by pacing.at
	watched []*Disk
	sleeps  Instant // until when Run sleeps; 0: it does not
}

// heartbeat is how often the Pacer looks whether the process stood still.
const heartbeat = time.Millisecond

// never is later than every Instant.
const never = Instant(math.MaxInt64 / 2)

// pacing is what the Pacer keeps of a Disk.
type pacing struct {
	at    atomic.Int64 // Instant of the next turn; never: none. Written with Pacer.mu
	index int          // in the queue; -1: not in it
}

func (x *pacing) init() {
	x.at.Store(int64(never))
	x.index = -1
}

// NewPacer makes the timer. Its own pulls are made with ctx, and after each
// round of them after is called, unless nil, with no lock held: there what was
// collected in ctx can be done.
func NewPacer(ctx any, after func()) *Pacer {
	p := &Pacer{base: time.Now(), ctx: ctx, after: after, kick: make(chan struct{}, 1)}
	p.seen.Store(int64(never))
	return p
}

// Now is the time by the clock that all Disks of the Pacer go by.
func (p *Pacer) Now() Instant { return Instant(time.Since(p.base)) + 1 }

// Time gives the wall-clock time of t.
func (p *Pacer) Time(t Instant) time.Time { return p.base.Add(time.Duration(t - 1)) }

// late tells for how long, in ns, the process must have stood still, if the
// timer watches for that.
func (p *Pacer) late(now Instant) int64 { return int64(now) - p.seen.Load() - int64(heartbeat) }

// Run keeps time until ctx ends. It may be called once.
func (p *Pacer) Run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	defer p.stop()
	var due []*Disk
	for {
		due = p.take(due[:0])
		for _, d := range due {
			d.Pull(p.ctx)
		}
		if len(due) > 0 && p.after != nil {
			p.after()
		}
		clear(due)
		until, beat := p.sleep()
		slept := p.Now()
		timer.Reset(time.Duration(max(until-slept, 0)))
		select {
		case <-ctx.Done():
			return nil
		case <-p.kick:
		case <-timer.C:
		}
		p.woke(max(until, slept), beat)
	}
}

func (p *Pacer) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sleeps = 0
	p.seen.Store(int64(never))
}

// take takes the Disks out of the queue whose time has come.
func (p *Pacer) take(due []*Disk) []*Disk {
	now := p.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sleeps = 0
	for len(p.queue) > 0 && p.queue[0].pace.time() <= now {
		d := p.queue[0]
		p.remove(d)
		due = append(due, d)
	}
	return due
}

// sleep tells until when there is nothing to do, and whether the process is
// watched meanwhile.
func (p *Pacer) sleep() (until Instant, beat bool) {
	now := p.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	until = now + Instant(time.Hour)
	if len(p.queue) > 0 {
		until = min(until, p.queue[0].pace.time())
	}
	if beat = len(p.watched) > 0; beat {
		until = min(until, now+Instant(heartbeat))
		p.seen.Store(int64(now))
	} else {
		p.seen.Store(int64(never))
	}
	p.sleeps = until
	return until, beat
}

// woke looks whether the timer, which was due at that instant, ran too late: then
// so did all else.
func (p *Pacer) woke(due Instant, beat bool) {
	now := p.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !beat {
		return
	}
	for _, d := range p.watched {
		if int64(now-due) > d.guard.Load() {
			d.stall(now)
			p.put(d, now)
		}
	}
	p.seen.Store(int64(now))
}

// arm has d woken at that instant, at the latest.
func (p *Pacer) arm(d *Disk, at Instant) {
	if at >= d.pace.time() {
		return
	}
	p.mu.Lock()
	p.put(d, at)
	wake := p.sleeps > at
	if wake {
		p.sleeps = at
	}
	p.mu.Unlock()
	if wake {
		p.rouse()
	}
}

// wake has d woken now.
func (p *Pacer) wake(d *Disk) { p.arm(d, p.Now()) }

func (p *Pacer) rouse() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// beatFor starts or ends watching for stalls on behalf of d.
func (p *Pacer) beatFor(d *Disk, watch bool) {
	p.mu.Lock()
	at := slices.Index(p.watched, d)
	if watch && at < 0 {
		p.watched = append(p.watched, d)
	} else if !watch && at >= 0 {
		p.watched = slices.Delete(p.watched, at, at+1)
	}
	rouse := watch && p.sleeps > p.Now()+Instant(heartbeat)
	p.mu.Unlock()
	if rouse {
		p.rouse()
	}
}

// time is when d is to be woken.
func (x *pacing) time() Instant { return Instant(x.at.Load()) }

// put sets d's time, if it is earlier than the one it has. mu is held.
func (p *Pacer) put(d *Disk, at Instant) {
	if at >= d.pace.time() {
		return
	}
	d.pace.at.Store(int64(at))
	if d.pace.index < 0 {
		d.pace.index = len(p.queue)
		p.queue = append(p.queue, d)
	}
	p.up(d.pace.index)
}

// remove takes d out of the queue. mu is held.
func (p *Pacer) remove(d *Disk) {
	i, last := d.pace.index, len(p.queue)-1
	p.swap(i, last)
	p.queue[last] = nil
	p.queue = p.queue[:last]
	d.pace.init()
	if i < last {
		p.down(i)
		p.up(i)
	}
}

func (p *Pacer) swap(i, j int) {
	q := p.queue
	q[i], q[j] = q[j], q[i]
	q[i].pace.index, q[j].pace.index = i, j
}

func (p *Pacer) up(i int) {
	for i > 0 && p.queue[i].pace.time() < p.queue[(i-1)/2].pace.time() {
		p.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (p *Pacer) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(p.queue) {
			return
		}
		if c+1 < len(p.queue) && p.queue[c+1].pace.time() < p.queue[c].pace.time() {
			c++
		}
		if p.queue[i].pace.time() <= p.queue[c].pace.time() {
			return
		}
		p.swap(i, c)
		i = c
	}
}
