// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"sync/atomic"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// barrier is one task management function that waits for tasks.
type barrier struct {
	left atomic.Int64
	held atomic.Bool // a request may still run below
	done Done
}

// newBarrier makes a barrier that its maker holds: it calls down when no task is
// added any more.
func newBarrier(done Done) *barrier {
	bar := &barrier{done: done}
	bar.left.Store(1)
	return bar
}

func (bar *barrier) down(b *backends.Batch) {
	if bar.left.Add(-1) == 0 {
		b.Defer(bar)
	}
}

// RunBatch tells the end.
func (bar *barrier) RunBatch(b *backends.Batch) {
	res := backends.Done()
	if bar.held.Load() {
		res = backends.Failed(backends.Transport)
	}
	bar.done(b, res)
}

// aborts is what is to be done with no lock held to end tasks.
type aborts struct{ ended, asked []*task }

// abortLocked has t end and bar wait for it. by is the nexus that asks; nil:
// none, and no response is sent.
func (u *Unit) abortLocked(t *task, by *Nexus, bar *barrier, out *aborts) {
	kind := abortSilent
	if by != nil && by != t.l.n && u.modes.taskAborted {
		kind = abortStatus
	}
	u.abortAsLocked(t, kind, bar, out)
}

// abortAsLocked is abortLocked for a kind that is known.
func (u *Unit) abortAsLocked(t *task, kind abortKind, bar *barrier, out *aborts) {
	bar.left.Add(1)
	t.barriers = append(t.barriers, bar)
	if t.state == taskEnding {
		return
	}
	if t.aborted == notAborted || t.aborted == abortErased {
		t.aborted = kind
	}
	switch {
	case t.state == taskCollecting, t.state == taskDormant, u.leaveLocked(t):
		t.state = taskEnding
		t.settleAs(backends.Failed(backends.Aborted), t.aborted)
		out.ended = append(out.ended, t)
	case t.withDevice:
		t.holds++
		out.asked = append(out.asked, t)
	}
}

// run ends the tasks. It is called with no lock held.
func (a *aborts) run(b *backends.Batch) {
	for _, t := range a.ended {
		b.Defer(t)
	}
	for _, t := range a.asked {
		u := t.l.u
		if t.job != nil {
			t.job.abort(b)
		} else {
			u.cfg.Device.Abort(b, &t.req)
		}
		u.mu.Lock()
		t.holds--
		late := t.late && t.holds == 0
		t.late = t.late && !late
		u.mu.Unlock()
		if late {
			b.Defer(t)
		}
	}
}

// endLinks ends the tasks of links for good, and what they reserved.
func endLinks(b *backends.Batch, links []*link, done Done) {
	bar := newBarrier(done)
	for _, l := range links {
		var out aborts
		u := l.u
		u.mu.Lock()
		l.gone = true
		u.detachLocked(l)
		for t := u.tasks.first; t != nil; t = t.next {
			if t.l == l {
				u.abortLocked(t, nil, bar, &out)
			}
		}
		u.awaitVisitsLocked(bar, l)
		u.mu.Unlock()
		out.run(b)
	}
	bar.down(b)
}

// AbortTask has c end soon, without a response if it can be stopped; done is
// called when it has left the task set. The caller, the nexus's goroutine, keeps c from
// being used again until AbortTask returns. A command that is not in the task set
// is no error.
func (n *Nexus) AbortTask(b *backends.Batch, c *Command, done Done) {
	bar := newBarrier(done)
	t := &c.task
	if l := t.l; l != nil && l.n == n {
		var out aborts
		l.u.mu.Lock()
		if t.state != taskFree {
			l.u.abortLocked(t, n, bar, &out)
		}
		l.u.mu.Unlock()
		out.run(b)
	}
	bar.down(b)
}

// AbortTaskSet ends all tasks of this nexus on the unit. False: no such unit;
// done is not called then.
func (n *Nexus) AbortTaskSet(b *backends.Batch, lun scsi.LUNField, done Done) bool {
	l := n.find(lun)
	if l == nil {
		return false
	}
	l.u.clear(b, n, func(x *link) bool { return x == l }, newBarrier(done))
	return true
}

// ClearTaskSet ends all tasks on the unit, those of other nexuses too: these get
// the unit attention 2F/00, or TASK ABORTED as status when TAS is set. False: no
// such unit; done is not called then.
func (n *Nexus) ClearTaskSet(b *backends.Batch, lun scsi.LUNField, done Done) bool {
	l := n.find(lun)
	if l == nil {
		return false
	}
	l.u.clear(b, n, func(*link) bool { return true }, newBarrier(done))
	return true
}

// clear ends the tasks of the links that pick picks, for n.
func (u *Unit) clear(b *backends.Batch, n *Nexus, pick func(*link) bool, bar *barrier) {
	var out aborts
	u.mu.Lock()
	for t := u.tasks.first; t != nil; t = t.next {
		if !pick(t.l) {
			continue
		}
		if t.l.n != n && !u.modes.taskAborted {
			t.l.attention.add(scsi.CodeCommandsClearedByOther)
		}
		u.abortLocked(t, n, bar, &out)
	}
	u.mu.Unlock()
	out.run(b)
	bar.down(b)
}

// LogicalUnitReset ends all tasks on the unit, releases a RESERVE, sets mode
// pages to their defaults and gives every nexus the unit attention 29/03.
// Persistent reservations stay. False: no such unit; done is not called then.
func (n *Nexus) LogicalUnitReset(b *backends.Batch, lun scsi.LUNField, done Done) bool {
	l := n.find(lun)
	if l == nil {
		return false
	}
	bar := newBarrier(done)
	l.u.reset(b, n, scsi.CodeDeviceReset, bar)
	bar.down(b)
	return true
}

// TargetWarmReset resets all units of the target; the unit attention is 29/02.
func (n *Nexus) TargetWarmReset(b *backends.Batch, done Done) {
	n.t.reset(b, n, scsi.CodeBusReset, done)
}

// TargetColdReset resets all units of the target; the unit attention is 29/01.
// The transport drops the target's sessions afterwards.
func (n *Nexus) TargetColdReset(b *backends.Batch, done Done) {
	n.t.reset(b, n, scsi.CodePowerOn, done)
}

func (t *Target) reset(b *backends.Batch, n *Nexus, code scsi.SenseCode, done Done) {
	t.mu.Lock()
	units := make([]*Unit, len(t.units))
	for i := range t.units {
		units[i] = t.units[i].Unit
	}
	t.mu.Unlock()
	bar := newBarrier(done)
	for _, u := range units {
		u.reset(b, n, code, bar)
	}
	bar.down(b)
}

// reset is the reset of one unit; bar waits for its tasks.
func (u *Unit) reset(b *backends.Batch, n *Nexus, code scsi.SenseCode, bar *barrier) {
	var out aborts
	u.mu.Lock()
	for t := u.tasks.first; t != nil; t = t.next {
		u.abortLocked(t, n, bar, &out)
	}
	u.awaitVisitsLocked(bar, nil)
	u.setModesLocked(defaultModes())
	u.reserver = nil
	u.levelsLocked()
	for _, l := range u.links {
		l.prevent = false
		l.attention.add(code)
	}
	u.mu.Unlock()
	out.run(b)
}
