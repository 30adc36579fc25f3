// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"time"

	"pathgate/backends"
)

// task is a request of ours from Submit to its completion. Guarded by the
// device's lock.
type task struct {
	req        *backends.Request
	prev, next *task // all tasks, in order of arrival

	c        *change // for one that may change the medium
	off, end uint64
	deadline time.Time

	tried  PathSet         // paths that failed it
	last   int             // slot of the last attempt, -1
	pin    int             // slot + 1 of the path to try again; 0: any
	tries  uint8           // on that path, for bounded SAME
	others uint8           // changes of path after failures that allow one only
	waits  uint8           // back-offs in all
	again  bool            // it was sent again after a RESERVATION CONFLICT
	live   int             // attempts in flight that would end it
	sent   bool            // at least once
	queued bool            // in Device.ready
	result backends.Result // of the last failed attempt

	parked  backends.ParkReason // 0: not parked
	told    bool                // the observer was told Park
	downed  *Path               // it was in flight there when it went down, and is not sent again yet
	wake    time.Time           // ParkBusy, ParkFull, ParkTransition: when to try again
	since   time.Time           // of the first of a row of BUSY
	fencing bool                // it ends when its ghosts are fenced
	ending  bool                // Abort was asked for

	server *server          // a flush, or the flush after a write without FUA: only there
	seq    uint64           // of server, when the flush was sent
	phase2 bool             // that flush
	parent *task            // of a part of a flush
	parts  int              // of a flush that has parts
	own    backends.Request // of a part
}

// attempt is one sending of a task on one path. Its request is the session's
// while it is in flight. It outlives its task when the task ends first.
type attempt struct {
	req  backends.Request
	d    *Device
	t    *task // nil: the task has gone on without it
	c    *change
	path *Path

	prev, next *attempt // on the path, in the order of sending
	started    time.Time
	gen        uint64
	bytes      uint64
	tm         backends.TaskManagement
	aborting   bool // tm was sent and has not ended
	late       bool // over its deadline
	dropped    bool // its session is to end, since nothing else ends it
	swept      bool // aborted since a reset of ours may have ended it
	done       bool // completed; waits for tm
}

// Complete implements backends.Completer: the session is done with it.
func (a *attempt) Complete(b *backends.Batch, _ *backends.Request, res backends.Result) {
	d := a.d
	out := newOutbox()
	now := time.Now()
	d.mu.Lock()
	d.attemptDoneLocked(b, out, a, res, now)
	d.pumpLocked(b, out, now)
	d.mu.Unlock()
	d.send(b, out)
}

// takeLocked takes what a brought. The device supplies read buffers at
// completion, so no two attempts ever share one.
func (t *task) takeLocked(a *attempt) {
	r := t.req
	r.Attempt = a.req.Attempt
	switch r.Op {
	case backends.Read:
		r.Data.Move(&a.req.Data)
	case backends.BlockStatus:
		r.Extents = append(r.Extents[:0], a.req.Extents...)
	case backends.Write, backends.Flush, backends.Unmap, backends.WriteZeroes,
		backends.CompareAndWrite, backends.Verify, backends.Cache:
	}
}

// linkLocked puts a at the end of its path's list.
func (a *attempt) linkLocked() {
	p := a.path
	a.prev = p.last
	if p.last != nil {
		p.last.next = a
	} else {
		p.first = a
	}
	p.last = a
	p.inflight++
	p.bytes += a.bytes
}

func (a *attempt) unlinkLocked() {
	p := a.path
	if a.prev != nil {
		a.prev.next = a.next
	} else {
		p.first = a.next
	}
	if a.next != nil {
		a.next.prev = a.prev
	} else {
		p.last = a.prev
	}
	a.prev, a.next = nil, nil
	p.inflight--
	p.bytes -= a.bytes
}

func (d *Device) newTaskLocked(r *backends.Request, now time.Time) *task {
	t := d.freeTask
	if t == nil {
		t = new(task)
	} else {
		d.freeTask = t.next
		t.next = nil
	}
	t.req, t.off, t.end, t.last = r, r.Offset, r.Offset+r.Length, -1
	t.deadline = now.Add(d.timers.Request)
	t.prev = d.lastTask
	if d.lastTask != nil {
		d.lastTask.next = t
	} else {
		d.firstTask = t
	}
	d.lastTask = t
	d.ntasks++
	return t
}

func (d *Device) freeTaskLocked(t *task) {
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		d.firstTask = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		d.lastTask = t.prev
	}
	d.ntasks--
	*t = task{next: d.freeTask}
	d.freeTask = t
}

func (d *Device) newAttemptLocked() *attempt {
	a := d.freeAttempt
	if a == nil {
		a = &attempt{d: d}
		a.req.Completer = a
		a.tm.Done = a.abortDone
		return a
	}
	d.freeAttempt = a.next
	a.next = nil
	return a
}

// freeAttemptLocked takes a back, when neither its request nor its task
// management function is with the session any more.
func (d *Device) freeAttemptLocked(a *attempt) {
	if a.aborting || !a.done {
		return
	}
	a.req.Reset()
	a.req.Completer = a
	a.t, a.c, a.path, a.late, a.dropped, a.swept, a.done = nil, nil, nil, false, false, false, false
	a.next = d.freeAttempt
	d.freeAttempt = a
}
