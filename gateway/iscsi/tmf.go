// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"errors"
	"slices"
	"time"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
	spc "pathgate/internal/scsi"
)

// errReset is why the sessions of a target end after TARGET COLD RESET.
var errReset = errors.New("target cold reset")

// function is one task management function that is being carried out. It is answered
// once: when the tasks that it covers have really ended, or when that takes too
// long.
type function struct {
	s         *session
	itt       wire.InitiatorTaskTag
	immediate bool
	cold      bool // TARGET COLD RESET
	// What it covers: the task with the number only, or all up to the number upto, of
	// lun or of all units.
	only, upto uint64
	everywhere bool
	lun        wire.LUNField
	code       wire.TaskResponse // what it is answered with, in session.waiting

	// Guarded by session.mu:
	timer    *time.Timer
	answered bool
	next     *function // another ABORT TASK of the same task
	tooLate  bool      // ABORT TASK: the task has answered by itself
}

// taskManagement begins a task management function. RFC 7143 11.5 (Task Management
// Function Request).
func (s *session) taskManagement(p *pdu) error {
	r, err := wire.DecodeTaskManagementRequest(&p.bhs)
	if err != nil {
		return err
	}
	f := &function{s: s, itt: r.ITT, immediate: r.Immediate, lun: r.LUN, everywhere: !r.Function.NamesLUN()}
	s.mu.Lock()
	f.upto = s.accepted
	crowded := r.Immediate && s.immediate >= maxImmediate
	switch {
	case crowded:
	case r.Immediate:
		s.immediate++
	default:
		s.win.enter()
	}
	if !crowded {
		f.timer = time.AfterFunc(s.c.srv.cfg.TaskTimeout, f.late)
	}
	s.mu.Unlock()
	if crowded {
		return s.reject(p, wire.RejectTooManyImmediate)
	}
	s.taken(p)
	lun := spc.LUNField(r.LUN)
	exists := true
	if !s.mayReset(&r) {
		f.answer(&s.batch, wire.FunctionAuthorizationFailed)
		return nil
	}
	switch r.Function {
	case wire.AbortTask:
		s.abortTask(f, &r)
	case wire.AbortTaskSet:
		s.endUnbegun(&r)
		exists = s.nexus.AbortTaskSet(&s.batch, lun, f.done)
	case wire.ClearTaskSet:
		s.endUnbegun(&r)
		exists = s.nexus.ClearTaskSet(&s.batch, lun, f.done)
	case wire.LogicalUnitReset:
		s.endUnbegun(&r)
		exists = s.nexus.LogicalUnitReset(&s.batch, lun, f.done)
	case wire.TargetWarmReset:
		s.endUnbegun(&r)
		s.nexus.TargetWarmReset(&s.batch, f.done)
	case wire.TargetColdReset:
		f.cold = true
		s.endUnbegun(&r)
		s.nexus.TargetColdReset(&s.batch, f.done)
	case wire.TaskReassign:
		f.answer(&s.batch, wire.ReassignmentNotSupported)
	case wire.ClearACA: // no unit ever has an auto contingent allegiance
		f.answer(&s.batch, wire.FunctionNotSupported)
	case wire.QueryTask, wire.QueryTaskSet, wire.ITNexusReset, wire.QueryAsynchronousEvent: // need iSCSIProtocolLevel 2
		f.answer(&s.batch, wire.FunctionRejected)
	default:
		f.answer(&s.batch, wire.FunctionRejected)
	}
	switch {
	case !exists:
		f.answer(&s.batch, wire.LUNDoesNotExist)
	case r.Immediate && clearsSet(r.Function):
		s.fence(&r)
	}
	return nil
}

// mayReset tells whether the initiator may end tasks of others, if r asks for that.
func (s *session) mayReset(r *wire.TaskManagementRequest) bool {
	switch r.Function {
	case wire.ClearTaskSet, wire.LogicalUnitReset:
		return s.nexus.MayReset(spc.LUNField(r.LUN), false)
	case wire.TargetWarmReset, wire.TargetColdReset:
		return s.nexus.MayReset(spc.LUNField{}, true)
	default:
		return true
	}
}

// done is told that the tasks have ended. Against one that may still run below
// there is no success.
func (f *function) done(b *backends.Batch, res backends.Result) {
	code := wire.FunctionComplete
	if !res.OK() {
		code = wire.FunctionRejected
	}
	s := f.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if !f.answered && !s.quiet && res.OK() {
		s.silenceEndedLocked(b, f)
	}
	if !f.answered && !s.quiet && s.coveredLocked(f) {
		f.code = code
		s.waiting = append(s.waiting, f)
		return
	}
	f.answerLocked(b, code)
}

// coveredLocked tells whether a task that f covers has not left the session. The
// device server is through with it, but its end may just be told on another
// goroutine; its answer comes before that of f.
func (s *session) coveredLocked(f *function) (covered bool) {
	s.tasks.each(func(t *task) {
		covered = covered || (t.state == taskCollecting || t.state == taskRunning) && f.covers(t)
	})
	return covered
}

// covers tells whether f is for t.
func (f *function) covers(t *task) bool {
	if f.only != 0 {
		return t.number == f.only
	}
	return t.number <= f.upto && (f.everywhere || sameUnit(t.lun, f.lun))
}

// sameUnit tells whether two LUN fields name one unit, in any form of its number.
func sameUnit(a, b wire.LUNField) bool {
	if a == b {
		return true
	}
	m, err := spc.LUNField(a).LUN()
	n, other := spc.LUNField(b).LUN()
	return err == nil && other == nil && m == n
}

// silenceEndedLocked ends the tasks that f covers and whose answer waits for data: they
// came to their end by themselves just before f could stop them. After the answer of f
// there is none.
func (s *session) silenceEndedLocked(b *backends.Batch, f *function) {
	s.tasks.each(func(t *task) {
		if t.state == taskEnded && f.covers(t) {
			s.silentLocked(b, t)
		}
	})
}

// late is called by the timer.
func (f *function) late() {
	var b backends.Batch
	f.answer(&b, wire.FunctionRejected)
	b.Run()
}

// answer sends the response, once. RFC 7143 11.6 (Task Management Function
// Response).
func (f *function) answer(b *backends.Batch, code wire.TaskResponse) {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	f.answerLocked(b, code)
}

func (f *function) answerLocked(b *backends.Batch, code wire.TaskResponse) {
	s := f.s
	if f.answered {
		return
	}
	f.answered = true
	f.timer.Stop()
	if f.tooLate && code == wire.FunctionComplete {
		code = wire.TaskDoesNotExist
	}
	if f.immediate {
		s.immediate--
	} else {
		s.win.leave()
		s.win.open()
	}
	if s.quiet {
		return
	}
	var h wire.BHS
	wire.TaskManagementResponse{Response: code, ITT: f.itt, Numbers: s.statusLocked()}.Encode(&h)
	s.sendLocked(&h, nil)
	b.Touch(s.c.out)
	if f.cold && code == wire.FunctionComplete {
		s.over = errReset
		b.Defer(f)
	}
}

// RunBatch ends the sessions of a target that was reset, this one when its answer
// has left.
func (f *function) RunBatch(*backends.Batch) {
	s, srv := f.s, f.s.c.srv
	var others []*conn
	srv.mu.Lock()
	for key, o := range srv.sessions {
		if key.target == s.key.target && o != s {
			others = append(others, o.c)
		}
	}
	srv.mu.Unlock()
	for _, c := range others {
		c.kill(errReset)
	}
	_ = s.c.nc.SetReadDeadline(time.Unix(1, 0)) // wakes the goroutine, which sees over
}

// abortTask aborts one task. RFC 7143 11.6.1 (Response), ABORT TASK. When the task
// answers before it could be stopped there is no such task any more: initiators take
// Function Complete for the promise of no answer.
func (s *session) abortTask(f *function, r *wire.TaskManagementRequest) {
	s.mu.Lock()
	t := s.tasks.find(r.ReferencedTaskTag)
	if t != nil && !sameUnit(t.lun, r.LUN) {
		t = nil
	}
	if t != nil && !t.immediate && t.cmdSN != r.RefCmdSN {
		s.mu.Unlock()
		f.answer(&s.batch, wire.FunctionRejected) // it runs, and it is not the one that is meant
		return
	}
	begun := t != nil && t.state != taskHeld && t.state != taskEnded
	if begun {
		f.only = t.number
		f.next, t.aborters = t.aborters, f
	}
	switch {
	case t == nil || begun:
	case t.state == taskHeld:
		s.voidHeld(t)
		s.silentLocked(&s.batch, t)
	default:
		s.silentLocked(&s.batch, t)
	}
	lost := t == nil && s.win.place(r.RefCmdSN) != placeOutside && r.RefCmdSN.Less(r.CmdSN)
	s.mu.Unlock()
	switch {
	case begun:
		s.nexus.AbortTask(&s.batch, &t.cmd, f.done)
	case t != nil:
		f.answer(&s.batch, wire.FunctionComplete)
	case lost: // it has not come, and counts as received from now on
		s.plug(r.RefCmdSN)
		f.answer(&s.batch, wire.FunctionComplete)
	default:
		f.answer(&s.batch, wire.TaskDoesNotExist)
	}
}

// plug fills the place of a command that will not come.
func (s *session) plug(sn wire.Serial) {
	i, found := slices.BinarySearchFunc(s.held, sn, compareHeld)
	if found {
		return
	}
	h := pdu{held: true}
	wire.SCSICommand{Final: true, CmdSN: sn}.Encode(&h.bhs)
	s.held = slices.Insert(s.held, i, h)
}

// voidHeld takes t from the request that waits for its turn.
func (s *session) voidHeld(t *task) {
	for i := range s.held {
		if s.held[i].task == t {
			s.held[i].task = nil
		}
	}
}

// endUnbegun ends the tasks that r covers and the device server does not know: those
// that wait for their turn, or only for data after their end. Tasks sent after r
// are not covered.
func (s *session) endUnbegun(r *wire.TaskManagementRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tasks.each(func(t *task) {
		if t.state != taskHeld && t.state != taskEnded || r.Function.NamesLUN() && !sameUnit(t.lun, r.LUN) || !t.immediate && !t.cmdSN.Less(r.CmdSN) {
			return
		}
		s.voidHeld(t)
		s.silentLocked(&s.batch, t)
	})
}

// silentLocked ends a task that the device server does not know, without an answer.
func (s *session) silentLocked(b *backends.Batch, t *task) {
	s.placeLocked(t)
	s.freeLocked(b, t)
}
