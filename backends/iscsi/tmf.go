// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

// tmfDone delivers the end of a task management function as deferred work.
type tmfDone struct{ f *backends.TaskManagement }

// RunBatch implements backends.Runner.
func (d tmfDone) RunBatch(b *backends.Batch) { d.f.Done(b, d.f) }

func endTMF(b *backends.Batch, f *backends.TaskManagement, r backends.TMResponse) {
	f.Response = r
	b.Defer(tmfDone{f})
}

// TMF implements backends.Session.
func (s *session) TMF(b *backends.Batch, f *backends.TaskManagement) {
	c := s.n.conn.Load()
	if c == nil {
		endTMF(b, f, backends.TMLost)
		return
	}
	c.mu.Lock()
	var err error
	switch {
	case c.state != connLive || c.leave.sent:
		endTMF(b, f, backends.TMLost)
	case f.Function == backends.AbortTask:
		err = c.abortLocked(b, s, f)
	case f.Function == backends.LUNReset || f.Function == backends.TargetReset:
		err = c.resetLocked(b, s, f)
	default:
		endTMF(b, f, backends.TMRefused)
	}
	c.mu.Unlock()
	if err != nil {
		c.fail(err)
		return
	}
	c.wakeWatch()
	b.Touch(c.queue)
}

// abortLocked aborts one request of s. Data of the task is stopped first, for
// good; a task that the target still waits for data of is not aborted, because
// that would prove nothing (HAZARDS section 4 rules 5 and 8).
func (c *conn) abortLocked(b *backends.Batch, s *session, f *backends.TaskManagement) error {
	match := func(w *waiter) bool { return w.req != nil && w.req == f.Task }
	if w, ok := s.wait.remove(match); ok {
		c.endWaiter(b, s, w, backends.Failed(backends.Aborted))
		endTMF(b, f, backends.TMComplete)
		return nil
	}
	t := c.taskOf(s, f.Task)
	if t == nil {
		endTMF(b, f, backends.TMNoTask)
		return nil
	}
	t.stuck = true
	if t.write && t.end > c.queue.Sent() {
		removed, _ := c.queue.Remove(t.queueTag())
		t.owed = t.owed || removed > 0
	}
	if t.owed || t.write && t.queued < t.edtl {
		endTMF(b, f, backends.TMDataOwed)
		return nil
	}
	if err := c.supersedeLocked(b, t.itt); err != nil {
		return err
	}
	return c.sendTMFLocked(b, s, f, wire.AbortTask, t, t.end)
}

// taskOf finds the task of r, which must be of s.
func (c *conn) taskOf(s *session, r *backends.Request) *task {
	if r == nil {
		return nil
	}
	for _, t := range c.tasks.slots {
		if t.kind == kindRequest && t.req == r && t.sess == s {
			return t
		}
	}
	return nil
}

// supersedeLocked ends the wait for an earlier ABORT TASK of the same task: a
// target may never answer it, and only the last one counts (rule 9).
func (c *conn) supersedeLocked(b *backends.Batch, itt uint32) error {
	for _, t := range c.tasks.slots {
		if t.kind == kindTMF && t.tmf.Function == backends.AbortTask && t.ref == itt {
			endTMF(b, t.tmf, backends.TMTimeout)
			return c.entombLocked(t)
		}
	}
	return nil
}

// resetLocked resets s's logical unit, or the target. It is refused while tasks
// that it would end are owed data.
func (c *conn) resetLocked(b *backends.Batch, s *session, f *backends.TaskManagement) error {
	sent := c.queue.Sent()
	var after uint64
	for _, t := range c.tasks.slots {
		if hit(t, s, f) && t.owes(sent) {
			endTMF(b, f, backends.TMDataOwed)
			return nil
		}
		if t.kind != kindFree && (f.Function == backends.TargetReset || t.sess == s) {
			after = max(after, t.end)
		}
	}
	fn := wire.LogicalUnitReset
	if f.Function == backends.TargetReset {
		fn = wire.TargetWarmReset
	}
	return c.sendTMFLocked(b, s, f, fn, nil, after)
}

// hit tells whether a reset f asked for on s ends t.
func hit(t *task, s *session, f *backends.TaskManagement) bool {
	return (t.kind == kindRequest || t.kind == kindExec) && (f.Function == backends.TargetReset || t.sess == s)
}

// sendTMFLocked adds the request. It is immediate: it needs no room in the window,
// and it overtakes what waits in the send queue, but for what it is about: that
// ends before position after. RFC 7143 11.5 (Task Management Function Request).
func (c *conn) sendTMFLocked(b *backends.Batch, s *session, f *backends.TaskManagement, fn wire.TaskFunction, ref *task, after uint64) error {
	t := c.tasks.get()
	if t == nil {
		endTMF(b, f, backends.TMRefused)
		return nil
	}
	t.kind, t.tmf, t.sess, t.cmdSN = kindTMF, f, s, c.win.next
	t.deadline = c.deadline(f.Timeout)
	c.timeLocked(t)
	p := wire.TaskManagementRequest{
		Immediate:         true,
		Function:          fn,
		LUN:               s.field,
		ITT:               wire.InitiatorTaskTag(t.itt),
		ReferencedTaskTag: wire.NoTag,
		CmdSN:             c.win.next,
		ExpStatSN:         c.expStatSN,
	}
	if ref != nil {
		t.ref = ref.itt
		p.ReferencedTaskTag, p.RefCmdSN = wire.InitiatorTaskTag(ref.itt), ref.cmdSN
	}
	p.Encode(c.header())
	c.appendUrgentLocked(after)
	return nil
}

// tmResponse ends a task management function, and the tasks that it has ended.
// RFC 7143 11.6 (Task Management Function Response).
func (c *conn) tmResponse(b *backends.Batch) error {
	p, err := wire.DecodeTaskManagementResponse(&c.rx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tasks.find(p.ITT)
	switch {
	case t == nil || t.kind != kindTMF && !t.isTMF:
		return errNoTask("Task Management Function Response", p.ITT)
	case t.kind == kindLate:
		c.unentombLocked(t)
	default:
		r := responseOf(p.Response)
		if r == backends.TMComplete || r == backends.TMNoTask && t.tmf.Function == backends.AbortTask {
			c.endByLocked(b, t)
		}
		endTMF(b, t.tmf, r)
		c.dropLocked(t)
	}
	c.acknowledgeLocked(b, p.Numbers, true)
	return nil
}

// endByLocked completes what the function f has ended. Those tasks' tags are
// never used again in this session.
func (c *conn) endByLocked(b *backends.Batch, f *task) {
	res := backends.Result{Class: backends.Aborted, Sent: backends.SentAnswered}
	for _, t := range c.tasks.slots {
		if f.tmf.Function == backends.AbortTask {
			if t.kind != kindRequest || t.itt != f.ref {
				continue
			}
		} else if !hit(t, f.sess, f.tmf) || !t.cmdSN.Less(f.cmdSN) {
			continue
		}
		c.reportLocked(b, t, res, 0)
		c.untimeLocked(t)
		c.tasks.retire(t)
	}
}

func responseOf(r wire.TaskResponse) backends.TMResponse {
	switch r {
	case wire.FunctionComplete:
		return backends.TMComplete
	case wire.TaskDoesNotExist:
		return backends.TMNoTask
	case wire.LUNDoesNotExist:
		return backends.TMNoLUN
	case wire.TaskStillAllegiant, wire.ReassignmentNotSupported, wire.FunctionNotSupported,
		wire.FunctionAuthorizationFailed, wire.FunctionSucceeded, wire.FunctionRejected:
		return backends.TMRefused
	}
	return backends.TMRefused
}
