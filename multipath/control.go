// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"fmt"
	"slices"
	"time"

	"pathgate/backends"
)

// Abort implements backends.Device. What was not sent ends at once. What was is
// aborted at the target; if the target does not confirm that, the session of a
// change is dropped, and its range stays held until it is fenced.
func (d *Device) Abort(b *backends.Batch, r *backends.Request) {
	out := newOutbox()
	now := time.Now()
	d.mu.Lock()
	if t, ok := r.Lower.(*task); ok && t.req == r {
		d.endLocked(b, out, t, now)
	}
	d.pumpLocked(b, out, now)
	d.mu.Unlock()
	d.send(b, out)
}

// endLocked has t end soon.
func (d *Device) endLocked(b *backends.Batch, out *outbox, t *task, now time.Time) {
	if t.parts > 0 {
		for p := d.firstTask; p != nil; {
			next := p.next
			if p.parent == t {
				d.endLocked(b, out, p, now) // the last one may end t: it stands before all
			}
			p = next
		}
		return
	}
	if t.live == 0 {
		d.finishLocked(b, out, t, d.giveUpLocked(t, backends.Aborted), now)
		return
	}
	t.ending = true
	for _, p := range d.paths {
		for a := p.first; a != nil; a = a.next {
			if a.t == t {
				d.abortLocked(out, a)
			}
		}
	}
}

// abortLocked sends ABORT TASK for a, once at a time.
func (d *Device) abortLocked(out *outbox, a *attempt) {
	if a.aborting || a.done || !a.path.live {
		return // a lost session ends it anyway
	}
	a.aborting = true
	a.tm.Function, a.tm.Task, a.tm.Timeout, a.tm.Response = backends.AbortTask, &a.req, d.timers.Abort, 0
	out.aborts = append(out.aborts, a)
}

// abortDone takes the answer to an ABORT TASK.
func (a *attempt) abortDone(b *backends.Batch, tm *backends.TaskManagement) {
	d := a.d
	out := newOutbox()
	now := time.Now()
	d.mu.Lock()
	a.aborting = false
	if a.done {
		d.freeAttemptLocked(a)
	} else {
		d.abortFailedLocked(b, out, a, tm.Response, now)
	}
	d.pumpLocked(b, out, now)
	d.mu.Unlock()
	d.send(b, out)
}

// abortFailedLocked goes on when an ABORT TASK has not ended a: rule 6(b) for
// what may change the medium, and patience for the rest.
func (d *Device) abortFailedLocked(b *backends.Batch, out *outbox, a *attempt, r backends.TMResponse, now time.Time) {
	p, t := a.path, a.t
	switch r {
	case backends.TMLost, backends.TMComplete, backends.TMNoTask:
		return // its end is on the way
	case backends.TMNoLUN:
		d.healthLocked(b, out, p, EventRefused, "ABORT TASK: the LUN does not exist", now)
	case backends.TMRefused, backends.TMDataOwed, backends.TMTimeout:
	}
	switch {
	case !p.live:
	case a.req.Op.Changes() || t != nil && !t.ending:
		d.healthLocked(b, out, p, EventFault, fmt.Sprintf("ABORT TASK: %v", r), now)
		out.drops = append(out.drops, p.port)
	case t != nil: // a read that its client does not want any more
		d.finishLocked(b, out, t, backends.Result{Class: backends.Aborted, Sent: backends.SentSome}, now)
	}
}

// reset is a Reset that has not ended.
type reset struct {
	left  map[*task]bool // not completed
	notes int            // completed, but not delivered
	res   backends.Result
	done  func(b *backends.Batch, res backends.Result)
}

// Reset implements backends.Device.
func (d *Device) Reset(b *backends.Batch, done func(b *backends.Batch, res backends.Result)) {
	out := newOutbox()
	now := time.Now()
	r := &reset{left: map[*task]bool{}, res: backends.Done(), done: done}
	d.mu.Lock()
	var list []*task
	for t := d.firstTask; t != nil; t = t.next {
		if t.parent == nil {
			r.left[t] = true
			list = append(list, t)
		}
	}
	for _, g := range d.ghosts {
		if g.over == "" {
			r.res.Class, r.res.Sent = backends.Transport, backends.SentSome
		}
	}
	if len(list) == 0 {
		b.Defer(resetNote{d, r})
		r.notes = 1
	} else {
		d.resets = append(d.resets, r)
	}
	for _, t := range list {
		if r.left[t] { // the end of one may end others
			d.endLocked(b, out, t, now)
		}
	}
	d.pumpLocked(b, out, now)
	d.mu.Unlock()
	d.send(b, out)
}

// resetsLocked notes for every Reset that waits that t has completed with res.
// It counts as done when the completion was delivered.
func (d *Device) resetsLocked(b *backends.Batch, t *task, res backends.Result) {
	for _, r := range d.resets {
		if !r.left[t] {
			continue
		}
		delete(r.left, t)
		r.notes++
		if res.Sent == backends.SentSome {
			r.res.Class, r.res.Sent = backends.Transport, backends.SentSome
		}
		b.Defer(resetNote{d, r})
	}
}

// resetNote runs behind the completion of a request that r waits for.
type resetNote struct {
	d *Device
	r *reset
}

// RunBatch implements backends.Runner.
func (n resetNote) RunBatch(b *backends.Batch) {
	d, r := n.d, n.r
	d.mu.Lock()
	r.notes--
	last := r.notes == 0 && len(r.left) == 0
	if last {
		d.resets = slices.DeleteFunc(d.resets, func(o *reset) bool { return o == r })
	}
	d.mu.Unlock()
	if last {
		r.done(b, r.res)
	}
}

// Close implements backends.Device: it drains for Timers.Drain, or not at all
// while no path lives, and then ends what is left with Aborted. The range of a
// change that is in flight then stays held. The paths stay with the Manager. The
// error is always nil.
func (d *Device) Close() error {
	var b backends.Batch
	out := newOutbox()
	d.mu.Lock()
	d.closed = true
	d.resumeLocked(&b, out, "closed", time.Now())
	d.tellRefusingLocked(&b)
	if d.downLocked() {
		d.failWaitingLocked(&b, out, time.Now())
		d.pumpLocked(&b, out, time.Now())
	}
	idle := d.idle
	if d.ntasks+d.closing > 0 && idle == nil {
		idle = make(chan struct{})
		d.idle = idle
	}
	d.mu.Unlock()
	d.send(&b, out)
	b.Run()
	if idle == nil {
		return nil
	}
	timer := time.NewTimer(d.timers.Drain)
	defer timer.Stop()
	select {
	case <-idle:
		return nil
	case <-timer.C:
	}
	out = newOutbox()
	now := time.Now()
	d.mu.Lock()
	for t := d.firstTask; t != nil; {
		next := t.next
		if t.parts == 0 {
			d.finishLocked(&b, out, t, d.giveUpLocked(t, backends.Aborted), now)
		}
		t = next
	}
	d.pumpLocked(&b, out, now)
	d.mu.Unlock()
	d.send(&b, out)
	b.Run()
	<-idle
	return nil
}

// closeNote runs behind a completion, for Close.
type closeNote struct{ d *Device }

// RunBatch implements backends.Runner.
func (n closeNote) RunBatch(*backends.Batch) {
	d := n.d
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closing--
	if d.ntasks+d.closing == 0 && d.idle != nil {
		close(d.idle)
		d.idle = nil
	}
}
