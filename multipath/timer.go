// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"context"
	"fmt"
	"time"

	"pathgate/backends"
)

const (
	// stallAfter: a timer that fires later than this says that we stalled.
	stallAfter = 100 * time.Millisecond
	// stallGrace is given then to the answers that wait in the sockets.
	stallGrace = 200 * time.Millisecond
)

// dueLocked has the timer look at t at the latest. On the way of a request it
// costs two comparisons: deadlines only grow, so it wakes the timer goroutine
// when that waits for nothing.
func (d *Device) dueLocked(out *outbox, t time.Time) {
	if d.timerOn && !t.Before(d.nextDue) {
		return
	}
	d.nextDue, d.timerOn, out.wake = t, true, true
}

func (d *Device) wakeTimer() {
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// run is the device's timer goroutine: one timer for all that waits here.
func (d *Device) run(ctx context.Context) {
	var b backends.Batch
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		d.mu.Lock()
		next := d.nextDue
		if !d.timerOn || !d.nextWake.IsZero() && d.nextWake.Before(next) {
			next = d.nextWake
		}
		d.mu.Unlock()
		var fire <-chan time.Time
		if !next.IsZero() {
			timer.Reset(time.Until(next))
			fire = timer.C
		}
		select {
		case <-ctx.Done():
			return
		case <-d.kick:
			continue
		case <-fire:
		}
		d.tick(&b, time.Now(), next)
		b.Run()
	}
}

// tick does what is due at now. The timer was set to planned.
func (d *Device) tick(b *backends.Batch, now, planned time.Time) {
	out := newOutbox()
	d.mu.Lock()
	if now.Sub(planned) > stallAfter {
		d.graceTo = now.Add(stallGrace)
	}
	d.wakeTasksLocked(now)
	// From here on dueLocked collects the next time.
	d.timerOn = false
	if now.Before(d.graceTo) {
		d.dueLocked(out, d.graceTo)
	} else {
		d.overdueLocked(b, out, now)
		d.expireLocked(b, out, now)
	}
	d.judgeLatencyLocked(b, out, now)
	for _, p := range d.paths {
		d.tickPathLocked(b, out, p, now)
	}
	d.tickGroupsLocked(b, out, now)
	d.quiesceLocked(b, out, now)
	d.pumpLocked(b, out, now)
	out.wake = false // run looks at nextDue itself
	d.mu.Unlock()
	d.send(b, out)
}

// wakeTasksLocked lets go the parked tasks whose back-off is over.
func (d *Device) wakeTasksLocked(now time.Time) {
	if d.nextWake.IsZero() || now.Before(d.nextWake) {
		return
	}
	d.nextWake = time.Time{}
	for t := d.firstTask; t != nil; t = t.next {
		switch {
		case t.wake.IsZero():
		case !now.Before(t.wake):
			t.wake = time.Time{}
			d.queueLocked(t)
		case d.nextWake.IsZero() || t.wake.Before(d.nextWake):
			d.nextWake = t.wake
		}
	}
}

// overdueLocked looks for commands over their deadline. Each path's list is in
// the order of sending, so it looks at little more than those.
func (d *Device) overdueLocked(b *backends.Batch, out *outbox, now time.Time) {
	for _, p := range d.paths {
		for a := p.first; a != nil; {
			next := a.next
			limit := d.timers.Command
			if a.req.Op == backends.Flush {
				limit = d.timers.Request // it may have much to write
			}
			due := a.started.Add(limit)
			switch {
			case a.aborting || a.dropped || !p.live:
			case a.late:
				d.stuckLocked(b, out, a, a.started.Add(max(d.timers.Request, 2*limit)), now)
			case now.Before(due):
				d.dueLocked(out, due)
				if a.req.Op != backends.Flush {
					next = nil
				}
			default:
				d.lateLocked(b, out, a, now)
			}
			a = next
		}
	}
}

// stuckLocked is for a command that neither its answer nor ABORT TASK has ended. What it
// was for has gone on elsewhere or failed by due, and the target keeps a tag and a place
// in its window for it, which only the end of the session gives back.
func (d *Device) stuckLocked(b *backends.Batch, out *outbox, a *attempt, due, now time.Time) {
	if now.Before(due) {
		d.dueLocked(out, due)
		return
	}
	a.dropped = true
	age := now.Sub(a.started).Round(time.Millisecond)
	d.healthLocked(b, out, a.path, EventFault, fmt.Sprintf("no answer to a %v for %v, nor to its ABORT TASK", a.req.Op, age), now)
	out.drops = append(out.drops, a.path.port)
}

// lateLocked handles a command over its deadline on a session that lives (rule
// 6(a)): abort it, and go on elsewhere meanwhile.
func (d *Device) lateLocked(b *backends.Batch, out *outbox, a *attempt, now time.Time) {
	p, t := a.path, a.t
	a.late = true
	age := now.Sub(a.started)
	if !d.healthLocked(b, out, p, EventSlow, fmt.Sprintf("no answer to a %v for %v", a.req.Op, age.Round(time.Millisecond)), now) {
		out.event(Event{Kind: PathSlow, Device: d.name, Path: p.name, Health: p.health, Duration: age})
	}
	d.faultLocked(b, out, p, now)
	d.abortLocked(out, a)
	if t == nil || t.ending || a.req.Op == backends.CompareAndWrite {
		return
	}
	t.tried = t.tried.With(p.slot)
	if d.usableLocked()&^t.tried&^d.avoidServerLocked(t) == 0 {
		return // nowhere to go: it stays with this attempt
	}
	a.t = nil
	t.live--
	t.result = backends.Result{Class: backends.Transport, Sent: backends.SentSome}
	d.routeLocked(b, out, t, now)
}

// expireLocked ends the requests whose time is over: that of all requests
// while a path lives, what each may wait for one while none does.
func (d *Device) expireLocked(b *backends.Batch, out *outbox, now time.Time) {
	if d.downLocked() {
		d.expireWaitsLocked(b, out, now)
		return
	}
	for t := d.firstTask; t != nil; {
		if d.heldLocked(t) {
			t = t.next
			continue
		}
		if now.Before(t.deadline) {
			d.dueLocked(out, t.deadline) // those behind it have later ones
			return
		}
		next := t.next
		if t.parts == 0 {
			d.finishLocked(b, out, t, d.timeoutLocked(t), now)
		}
		t = next
	}
}

// timeoutLocked is what a request over its deadline ends with.
func (d *Device) timeoutLocked(t *task) backends.Result {
	if t.live == 0 && t.result.Class != 0 {
		return t.result
	}
	return d.giveUpLocked(t, backends.Transport)
}

// tickPathLocked does what is due for one path.
func (d *Device) tickPathLocked(b *backends.Batch, out *outbox, p *Path, now time.Time) {
	d.compareLocked(p, now)
	d.probationLocked(b, out, p, now)
	d.checkLocked(out, p, now)
	switch {
	case p.sweepAt.IsZero():
	case now.Before(p.sweepAt):
		d.dueLocked(out, p.sweepAt)
	default:
		p.sweepAt = time.Time{}
		for a := p.first; a != nil && a.started.Before(p.sweepOf); a = a.next {
			a.swept = true
			d.abortLocked(out, a)
		}
	}
}
