// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"pathgate/backends"
	"pathgate/internal/scsi"
)

// taskState is where a task is in its unit's task set. Guarded by Unit.mu.
//
//	free -Begin-> collecting -Submit-> dormant -may run-> running -result-> ending -> free
//	                  \________________abort________________________________/
type taskState uint8

const (
	taskFree       taskState = iota // in no task set
	taskCollecting                  // Begin let it in; Data-Out is on its way
	taskDormant                     // waits for older tasks, by its attribute
	taskRunning                     // with the device, or being carried out
	taskEnding                      // its end is decided, CommandDone comes
)

// abortKind tells who wanted a task to end.
type abortKind uint8

const (
	notAborted  abortKind = iota
	abortSilent           // its own nexus, or TAS is 0: no response
	abortStatus           // another nexus, and TAS is 1: TASK ABORTED
	abortErased           // the medium is being erased: NOT READY
)

// task is what the device server knows of a command in a task set. It is part
// of the Command and used again with it.
type task struct {
	c *Command
	l *link
	e *entry

	demand demand // what the CDB asks for; written by the entry's check

	// req is the request to the device, or job has several. Nil: none.
	req     backends.Request
	job     *job
	cleanup func() // gives back what run holds; nil: nothing

	credit int64 // payload bytes taken from the grant
	ghost  bool  // its request may still run below, in a range that the device holds

	// Guarded by u.mu:
	prev, next *task
	state      taskState
	aborted    abortKind
	withDevice bool // req or job is to be aborted by the device
	holds      int  // Device.Abort calls under way
	late       bool // it ended meanwhile; the last hold goes on with it
	barriers   []*barrier
}

// taskSet is the tasks of a unit, in order; one for all nexuses (TST 0). Guarded
// by Unit.mu.
type taskSet struct {
	first, last *task
	// special counts tasks that make others wait: ordered and head of queue.
	special int
}

func (s *taskSet) add(t *task) {
	t.prev, t.next = nil, nil
	if t.c.Attribute == HeadOfQueue {
		t.next = s.first
		if s.first != nil {
			s.first.prev = t
		} else {
			s.last = t
		}
		s.first = t
		s.special++
		return
	}
	t.prev = s.last
	if s.last != nil {
		s.last.next = t
	} else {
		s.first = t
	}
	s.last = t
	if t.c.Attribute == Ordered {
		s.special++
	}
}

func (s *taskSet) remove(t *task) {
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		s.first = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	} else {
		s.last = t.prev
	}
	t.prev, t.next = nil, nil
	if t.c.Attribute == Ordered || t.c.Attribute == HeadOfQueue {
		s.special--
	}
}

// enable makes every dormant task running that may run now, and appends it to
// ready (SAM-5, Task set management): head of queue at once, ordered when
// nothing is older, simple when no ordered or head of queue task is older.
func (s *taskSet) enable(ready []*task) []*task {
	blocked := false
	for t := s.first; t != nil; t = t.next {
		may := true
		switch t.c.Attribute {
		case HeadOfQueue:
		case Ordered:
			may = t.prev == nil
		default:
			may = !blocked
		}
		if t.state == taskDormant && may {
			t.state = taskRunning
			ready = append(ready, t)
		}
		blocked = blocked || t.c.Attribute == Ordered || t.c.Attribute == HeadOfQueue
	}
	return ready
}

// start makes a submitted task running if it may, else dormant.
func (s *taskSet) start(t *task, ready []*task) []*task {
	if s.special == 0 {
		t.state = taskRunning
		return append(ready, t)
	}
	t.state = taskDormant
	return s.enable(ready)
}

// RunBatch ends a task whose end was decided with a lock held, or without the
// device.
func (t *task) RunBatch(b *backends.Batch) { t.end(b) }

// end takes t, whose result is written, out of the task set, lets go what waited
// for it, and tells the completer.
func (t *task) end(b *backends.Batch) {
	u := t.l.u
	u.mu.Lock()
	t.state, t.withDevice = taskEnding, false
	if t.holds > 0 {
		t.late = true
		u.mu.Unlock()
		return
	}
	ordered := u.tasks.special > 0
	u.tasks.remove(t)
	t.state = taskFree
	var ready []*task
	if ordered {
		ready = u.tasks.enable(nil)
	}
	u.mu.Unlock()

	c, grant, credit, barriers, ghost := t.c, t.l.grant, t.credit, t.barriers, t.ghost
	t.barriers, t.job = nil, nil
	if t.cleanup != nil {
		t.cleanup()
		t.cleanup = nil
	}
	t.req.Reset()
	c.Completer.CommandDone(b, c) // c is the transport's from here on
	grant.Give(credit)
	for _, bar := range barriers {
		if ghost {
			bar.held.Store(true)
		}
		bar.down(b)
	}
	if len(ready) > 0 {
		runTasks(b, ready, nil)
	}
}

// runTasks carries out tasks that became running. Plain requests go to their
// device in one call for each run of tasks on one unit. It gives back reqs, the
// scratch, empty.
func runTasks(b *backends.Batch, ready []*task, reqs []*backends.Request) []*backends.Request {
	for len(ready) > 0 {
		u, n := ready[0].l.u, 0
		for n < len(ready) && ready[n].l.u == u && ready[n].plain() {
			n++
		}
		if n == 0 {
			ready[0].e.run(b, ready[0])
			ready = ready[1:]
			continue
		}
		reqs = reqs[:0]
		u.mu.Lock()
		for _, t := range ready[:n] {
			if t.aborted != notAborted {
				t.settleAs(backends.Failed(backends.Aborted), t.aborted)
				b.Defer(t)
				continue
			}
			t.withDevice = true
			reqs = append(reqs, &t.req)
		}
		u.mu.Unlock()
		u.cfg.Device.Submit(b, reqs)
		clear(reqs)
		ready = ready[n:]
	}
	return reqs[:0]
}

// plain prepares t's one request to the device; false when it takes none, or
// more than that.
func (t *task) plain() bool {
	d := &t.demand
	if d.op == 0 || d.bytes == 0 || d.fua && d.op == backends.Read {
		return false
	}
	if limit := t.l.u.geometry.Load().limit(d.op); limit != 0 && d.bytes > limit {
		return false
	}
	r := &t.req
	r.Op, r.FUA, r.Offset, r.Length = d.op, d.fua, d.offset, d.bytes
	r.Origin, r.Completer = &t.l.origin, t
	if d.dir == scsi.DataOut {
		r.Data.AppendRange(t.c.Out, 0, int(d.length))
	}
	return true
}

// Complete takes the result of t's one request.
func (t *task) Complete(b *backends.Batch, r *backends.Request, res backends.Result) {
	if res.OK() && r.Op == backends.Read {
		if uint64(r.Data.Len()) != r.Length {
			res = backends.Failed(backends.Transport) // never a short read (promise P8)
		} else {
			t.c.In.Move(&r.Data)
		}
	}
	t.settle(res)
	t.end(b)
}

// finish ends t, which was carried out inside Submit.
func (t *task) finish(b *backends.Batch, res backends.Result) {
	t.settle(res)
	b.Defer(t)
}
