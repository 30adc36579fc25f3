// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

// request gives the next task management request.
func (f *fake) request() wire.TaskManagementRequest {
	for {
		h, _ := f.recv()
		if h.Opcode() != wire.OpTaskManagementRequest {
			continue
		}
		p, err := wire.DecodeTaskManagementRequest(&h)
		if err != nil {
			f.t.Errorf("bad task management request: %v", err)
		}
		return p
	}
}

func (f *fake) respond(itt wire.InitiatorTaskTag, r wire.TaskResponse) {
	f.send(&wire.TaskManagementResponse{Response: r, ITT: itt, Numbers: f.status()}, nil)
}

func abort1(q *backends.Request) *backends.TaskManagement {
	return &backends.TaskManagement{Function: backends.AbortTask, Task: q}
}

// TestAbortResponses: only a confirmation ends the task; else it stays, and its
// own answer counts.
func TestAbortResponses(t *testing.T) {
	for response, want := range map[wire.TaskResponse]backends.TMResponse{
		wire.FunctionComplete: backends.TMComplete, wire.TaskDoesNotExist: backends.TMNoTask,
		wire.LUNDoesNotExist: backends.TMNoLUN, wire.FunctionNotSupported: backends.TMRefused,
		wire.FunctionRejected: backends.TMRefused, 99: backends.TMRefused,
	} {
		r := newRig(t, func(f *fake) {
			c, _ := f.command()
			p := f.request()
			f.respond(p.ITT, response)
			if want != backends.TMComplete && want != backends.TMNoTask {
				f.sendData(c, make([]byte, 4096))
			}
			f.disk(make([]byte, 4096))
		})
		r.waitUp()
		q := read4k()
		ch := r.submit(q)
		if got := wait1(t, r.tmf(abort1(q)), "response"); got != want {
			t.Errorf("%v: got %v, want %v", response, got, want)
		}
		o := wait1(t, ch, "completion")
		wantClass := backends.OK
		if want == backends.TMComplete || want == backends.TMNoTask {
			wantClass = backends.Aborted
		}
		if o.res.Class != wantClass {
			t.Errorf("%v: got %+v, want %v", response, o.res, wantClass)
		}
		if res := r.do(read4k()); !res.OK() {
			t.Errorf("%v: the session does not live on: %+v", response, res)
		}
		r.close()
	}
}

// TestAbortWaiting: a request that was never sent is aborted without a word.
func TestAbortWaiting(t *testing.T) {
	r := newRig(t, func(f *fake) {
		c, _ := f.command()
		h, _ := f.recv()
		t.Errorf("the initiator sent %v after %v", h.Opcode(), c.ITT)
	}, withWindow(1))
	r.waitUp()
	first, second := read4k(), read4k()
	r.submit(first)
	ch := r.submit(second)
	if got := wait1(t, r.tmf(abort1(second)), "response"); got != backends.TMComplete {
		t.Errorf("got %v", got)
	}
	if o := wait1(t, ch, "completion"); o.res.Class != backends.Aborted || o.res.Sent != backends.SentNone {
		t.Errorf("got %+v", o.res)
	}
	if got := wait1(t, r.tmf(abort1(second)), "response"); got != backends.TMNoTask {
		t.Errorf("again: got %v", got)
	}
	if n, _ := r.s.Load(); n != 1 {
		t.Errorf("%d outstanding, want 1", n)
	}
}

// TestAbortOwed: a write that the target waits for data of is not aborted, and no
// data is sent for it any more, whatever the target asks for.
func TestAbortOwed(t *testing.T) {
	aborted := make(chan struct{})
	r := newRig(t, func(f *fake) {
		c, _ := f.command()
		<-aborted
		f.send(&wire.R2T{LUN: c.LUN, ITT: c.ITT, TTT: 1, Numbers: f.numbers(), BufferOffset: 4096, DesiredDataTransferLength: 4096}, nil)
		c, _ = f.command() // the read, and no Data-Out before it
		f.sendData(c, make([]byte, 4096))
		f.recv()
	})
	r.waitUp()
	q := writeBig()
	ch := r.submit(q)
	if got := wait1(t, r.tmf(abort1(q)), "response"); got != backends.TMDataOwed {
		t.Errorf("got %v", got)
	}
	if got := wait1(t, r.tmf(&backends.TaskManagement{Function: backends.LUNReset}), "response"); got != backends.TMDataOwed {
		t.Errorf("reset: got %v", got)
	}
	close(aborted)
	if res := r.do(read4k()); !res.OK() {
		t.Errorf("got %+v", res)
	}
	r.n.Relogin(backends.Route{})
	if o := wait1(t, ch, "completion"); o.res.Sent != backends.SentSome || !q.Attempt.DataOwed {
		t.Errorf("got %+v %+v", o.res, q.Attempt)
	}
}

// TestResetEndsTasks: what a confirmed LUN RESET has ended completes as aborted,
// on that LUN only, and what was sent after it does not.
func TestResetEndsTasks(t *testing.T) {
	arrived := make(chan struct{})
	r := newRig(t, func(f *fake) {
		f.command()
		other, _ := f.command()
		close(arrived)
		p := f.request()
		later, _ := f.command()
		f.respond(p.ITT, wire.FunctionComplete)
		f.sendData(later, make([]byte, 4096))
		f.sendData(other, make([]byte, 4096))
		f.disk(nil)
	})
	l := r.waitUp()
	s1, s2 := r.s, r.n.Session(2)
	s2.SetGeometry(l.Generation, testGeometry)
	ended := r.submit(read4k())
	r.s = s2
	other := r.submit(read4k())
	r.s = s1
	<-arrived // a reset overtakes what still waits to be sent for other LUNs
	done := r.tmf(&backends.TaskManagement{Function: backends.LUNReset})
	later := r.submit(read4k())
	if got := wait1(t, done, "response"); got != backends.TMComplete {
		t.Errorf("got %v", got)
	}
	if o := wait1(t, ended, "completion"); o.res.Class != backends.Aborted || o.res.Sent != backends.SentAnswered {
		t.Errorf("got %+v", o.res)
	}
	for _, ch := range []<-chan outcome{later, other} {
		if o := wait1(t, ch, "completion"); !o.res.OK() {
			t.Errorf("got %+v", o.res)
		}
	}
}

// TestTMFTimeout: each function has its own timer, and a late response is
// swallowed. A second ABORT TASK of a task replaces the first.
func TestTMFTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(f *fake) {
			c, _ := f.command()
			first, second := f.request(), f.request()
			d, _ := f.command()
			f.respond(first.ITT, wire.TaskDoesNotExist)
			f.respond(second.ITT, wire.TaskDoesNotExist)
			f.sendData(d, make([]byte, 4096))
			f.sendData(c, make([]byte, 4096))
			f.disk(nil)
		})
		r.waitUp()
		q := read4k()
		ch := r.submit(q)
		first := r.tmf(abort1(q))
		start := time.Now()
		second := r.tmf(abort1(q))
		if got := <-first; got != backends.TMTimeout || time.Since(start) != 0 {
			t.Errorf("first: got %v after %v", got, time.Since(start))
		}
		if got := <-second; got != backends.TMTimeout || time.Since(start) != time.Second {
			t.Errorf("second: got %v after %v", got, time.Since(start))
		}
		if res := r.do(read4k()); !res.OK() {
			t.Errorf("with late responses: %+v", res)
		}
		if o := <-ch; !o.res.OK() {
			t.Errorf("the task's own answer: %+v", o.res)
		}
		r.close()
	})
}

// TestTMFLost: functions end with the session, after its requests.
func TestTMFLost(t *testing.T) {
	r := newRig(t, func(f *fake) {
		f.command()
		f.request()
	})
	r.waitUp()
	q := read4k()
	ch := r.submit(q)
	done := r.tmf(&backends.TaskManagement{Function: backends.AbortTask, Task: q, Timeout: time.Minute})
	if got := wait1(t, done, "response"); got != backends.TMLost {
		t.Errorf("got %v", got)
	}
	if o := wait1(t, ch, "completion"); o.res.Sent != backends.SentSome {
		t.Errorf("got %+v", o.res)
	}
	if got := wait1(t, r.tmf(abort1(q)), "response"); got != backends.TMLost {
		t.Errorf("while down: got %v", got)
	}
}

// TestManyAborts: tasks that aborts have ended cost a session neither its tags nor
// its life, and no tag comes twice.
func TestManyAborts(t *testing.T) {
	const aborts = maxTombs + maxEnded + 100
	seen := map[wire.InitiatorTaskTag]bool{}
	r := newRig(t, func(f *fake) {
		for range aborts {
			c, _ := f.command()
			if seen[c.ITT] {
				t.Errorf("tag %#x is used again", uint32(c.ITT))
			}
			seen[c.ITT] = true
			f.respond(f.request().ITT, wire.FunctionComplete)
		}
		f.disk(make([]byte, 4096))
	})
	r.waitUp()
	for i := range aborts {
		q := read4k()
		ch := r.submit(q)
		if got := wait1(t, r.tmf(abort1(q)), "response"); got != backends.TMComplete {
			t.Fatalf("abort %d: %v", i, got)
		}
		if o := wait1(t, ch, "completion"); o.res.Class != backends.Aborted {
			t.Fatalf("abort %d: %+v", i, o.res)
		}
	}
	if res := r.do(read4k()); !res.OK() {
		t.Errorf("afterwards: %+v", res)
	}
	if n := len(r.n.(*nexus).conn.Load().tasks.slots); n > maxEnded+10 {
		t.Errorf("%d slots in use", n)
	}
}

// TestLateTMFReject: a function that nobody waits for any more may be rejected.
func TestLateTMFReject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(f *fake) {
			h, _ := f.recv()
			<-time.After(2 * time.Second)
			f.send(&wire.Reject{Reason: wire.RejectTooManyImmediate, Numbers: f.status()}, h[:])
			f.disk(make([]byte, 4096))
		}, func(c *Config, _ *wire.Settings, _ *rigOptions) { c.Timeouts.NOPTimeout = time.Minute })
		r.waitUp()
		if got := <-r.tmf(&backends.TaskManagement{Function: backends.LUNReset}); got != backends.TMTimeout {
			t.Errorf("got %v", got)
		}
		if res := r.do(read4k()); !res.OK() {
			t.Errorf("after the rejection: %+v", res)
		}
		r.close()
	})
}
