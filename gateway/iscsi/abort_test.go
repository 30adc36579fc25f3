// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
	spc "pathgate/internal/scsi"
)

// stuck is a disk whose requests wait, and cannot be aborted, until they are let go.
type stuck struct {
	*backends.Memory
	mu   sync.Mutex
	on   bool
	held []*backends.Request
	open int // credits of a connection; 0: the memory disk's
}

func (d *stuck) Submit(b *backends.Batch, reqs []*backends.Request) {
	d.mu.Lock()
	if d.on {
		d.held = append(d.held, reqs...)
		reqs = nil
	}
	d.mu.Unlock()
	d.Memory.Submit(b, reqs)
}

func (d *stuck) Grant(o *backends.Origin) *backends.Grant {
	if d.open > 0 {
		return backends.NewGrant(d.open)
	}
	return d.Memory.Grant(o)
}

func (d *stuck) hold() {
	d.mu.Lock()
	d.on = true
	d.mu.Unlock()
}

func (d *stuck) waiting() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.held)
}

// release carries out what waits.
func (d *stuck) release() {
	d.mu.Lock()
	held := d.held
	d.on, d.held = false, nil
	d.mu.Unlock()
	var b backends.Batch
	d.Memory.Submit(&b, held)
	b.Run()
}

// manage sends an immediate task management request.
func (r *raw) manage(p wire.TaskManagementRequest) wire.InitiatorTaskTag {
	r.tb.Helper()
	p.Immediate, p.ITT, p.CmdSN = true, r.tag(), r.cmdSN
	if !p.Function.NamesTask() {
		p.ReferencedTaskTag = wire.NoTag
	}
	r.pdu(p, nil)
	return p.ITT
}

// managed reads the response to itt and demands its code.
func (r *raw) managed(itt wire.InitiatorTaskTag, want wire.TaskResponse) {
	r.tb.Helper()
	h, _ := r.expect(wire.OpTaskManagementResponse)
	p, err := wire.DecodeTaskManagementResponse(h)
	if err != nil || p.ITT != itt || p.Response != want {
		r.tb.Errorf("got %v for tag %d (%v), want %v for %d", p.Response, p.ITT, err, want, itt)
	}
}

func TestB19AbortTask(t *testing.T) {
	b := offer(t, Config{MaxBurstLength: 4096, MaxOutstandingR2T: 1})
	r := b.session(t)
	abort := func(itt wire.InitiatorTaskTag, sn wire.Serial) wire.InitiatorTaskTag {
		return r.manage(wire.TaskManagementRequest{Function: wire.AbortTask, ReferencedTaskTag: itt, RefCmdSN: sn})
	}
	r.managed(abort(4711, r.cmdSN.Prev()), wire.TaskDoesNotExist)
	r.managed(abort(4711, r.cmdSN.Add(1000)), wire.TaskDoesNotExist)
	r.managed(abort(r.itt+1, r.cmdSN), wire.TaskDoesNotExist) // itself
	// In the window, before the request, and never come: its place is filled.
	hole := r.next()
	r.managed(abort(4711, hole), wire.FunctionComplete)
	c := r.command([]byte{0})
	r.pdu(c, nil)
	if p, _ := r.status(c.ITT); p.ExpCmdSN != c.CmdSN.Next() {
		t.Errorf("ExpCmdSN %v after the hole, want %v", p.ExpCmdSN, c.CmdSN.Next())
	}
	// With an R2T open: late data is dropped, and never carried out.
	keep := noise(7, 8192)
	r.transfer(0, keep)
	w := r.scsiWrite(0, 16)
	r.pdu(w, nil)
	q := r.r2t(w.ITT)
	other := w
	other.LUN[1] = 9
	r.managed(r.manage(wire.TaskManagementRequest{Function: wire.AbortTask, ReferencedTaskTag: w.ITT, RefCmdSN: w.CmdSN, LUN: other.LUN}), wire.TaskDoesNotExist)
	r.managed(abort(w.ITT, w.CmdSN), wire.FunctionComplete)
	r.answer(q, make([]byte, 8192), 4096)
	r.ping()
	r.blocks(0, keep)
	// One that waits for its turn.
	r.next()
	held := r.scsiWrite(0, 1)
	r.pdu(held, make([]byte, 512))
	r.managed(abort(held.ITT, held.CmdSN), wire.FunctionComplete)
	// The hole before it, too; then all goes on.
	r.managed(abort(4711, held.CmdSN.Prev()), wire.FunctionComplete)
	c = r.command([]byte{0})
	r.pdu(c, nil)
	r.good(c.ITT)
	r.blocks(0, keep)
	_ = r.conn.Close()
	b.idle(t)
}

// P9: task management is answered when the tasks have really ended, and they end
// without an answer.
func TestB20AnsweredWhenDone(t *testing.T) {
	for _, f := range []wire.TaskFunction{
		wire.AbortTask, wire.AbortTaskSet, wire.ClearTaskSet, wire.LogicalUnitReset, wire.TargetWarmReset,
	} {
		t.Run(f.String(), func(t *testing.T) {
			d := &stuck{Memory: memory(t)}
			b := serve(t, Config{MaxBurstLength: 4096}, newSource().add(t, testTarget, d))
			r := b.session(t)
			d.hold()
			w := r.scsiWrite(0, 1)
			r.pdu(w, make([]byte, 512))
			eventually(t, "the write is with the device", func() bool { return d.waiting() == 1 })
			var owed wire.SCSICommand
			if f != wire.AbortTask {
				owed = r.scsiWrite(64, 16)
				r.pdu(owed, nil)
				r.r2t(owed.ITT)
				r.r2t(owed.ITT)
			}
			itt := r.manage(wire.TaskManagementRequest{Function: f, ReferencedTaskTag: w.ITT, RefCmdSN: w.CmdSN})
			r.ping() // and no answer to the function before this one
			if d.waiting() == 0 {
				t.Fatal("the device has let go")
			}
			d.release()
			r.good(w.ITT) // nothing could stop it
			want := wire.FunctionComplete
			if f == wire.AbortTask {
				want = wire.TaskDoesNotExist // any more: one of the two has won
			}
			r.managed(itt, want)
			if f != wire.AbortTask {
				r.pdu(wire.DataOut{Final: true, ITT: owed.ITT, TTT: 1}, make([]byte, 512)) // late
			}
			r.attention()
			_ = r.conn.Close()
			b.idle(t)
		})
	}
}

// P9: a task that does not end within the time is told so, never success.
func TestP09TooLate(t *testing.T) {
	d := &stuck{Memory: memory(t)}
	b := serve(t, Config{TaskTimeout: 50 * time.Millisecond}, newSource().add(t, testTarget, d))
	r := b.session(t)
	d.hold()
	w := r.scsiWrite(0, 1)
	r.pdu(w, make([]byte, 512))
	eventually(t, "the write is with the device", func() bool { return d.waiting() == 1 })
	itt := r.manage(wire.TaskManagementRequest{Function: wire.LogicalUnitReset})
	r.managed(itt, wire.FunctionRejected)
	d.release()
	r.good(w.ITT)
	r.attention() // no second answer
	_ = r.conn.Close()
	b.idle(t)
}

func TestB21Functions(t *testing.T) {
	b := offer(t, Config{})
	r := b.session(t)
	for f, want := range map[wire.TaskFunction]wire.TaskResponse{
		wire.TaskReassign: wire.ReassignmentNotSupported, wire.ClearACA: wire.FunctionNotSupported,
		wire.QueryTask: wire.FunctionRejected, wire.ITNexusReset: wire.FunctionRejected,
		0: wire.FunctionRejected, 13: wire.FunctionRejected, 127: wire.FunctionRejected,
	} {
		r.managed(r.manage(wire.TaskManagementRequest{Function: f, ReferencedTaskTag: 3}), want)
	}
	for _, f := range []wire.TaskFunction{wire.AbortTaskSet, wire.ClearTaskSet, wire.LogicalUnitReset} {
		r.managed(r.manage(wire.TaskManagementRequest{Function: f, LUN: wire.LUNField{0, 77}}), wire.LUNDoesNotExist)
	}
	// Not immediate: it takes its turn.
	p := wire.TaskManagementRequest{Function: wire.AbortTaskSet, ITT: r.tag(), ReferencedTaskTag: wire.NoTag, CmdSN: r.next()}
	r.pdu(p, nil)
	r.managed(p.ITT, wire.FunctionComplete)
	r.attention()
}

// A reset from one session ends the tasks of the other, which is told by a unit
// attention, and whose window opens again.
func TestB20OtherSessions(t *testing.T) {
	d := backends.NewHoldFault(memory(t))
	b := serve(t, Config{QueueDepth: 2}, newSource().add(t, testTarget, d))
	r, other := b.session(t), b.dial(t)
	other.isid[5]++
	other.login(nil)
	other.attention()
	d.Hold(&backends.FaultRule{})
	for range 2 {
		c := other.scsiWrite(0, 1)
		other.pdu(c, make([]byte, 512))
	}
	other.ping()
	eventually(t, "both are with the device", func() bool { return d.Counts().Waiting == 2 })
	r.managed(r.manage(wire.TaskManagementRequest{Function: wire.LogicalUnitReset}), wire.FunctionComplete)
	h, _ := other.expect(wire.OpNOPIn) // news of the window
	if h.ITT() != wire.NoTag || h.TTT() != wire.NoTag || h.MaxCmdSN() != other.cmdSN.Next() && h.MaxCmdSN() != other.cmdSN {
		t.Errorf("NOP-In %x", *h)
	}
	d.Release()
	c := other.command([]byte{0})
	other.pdu(c, nil)
	other.check(c.ITT, spc.CodeDeviceReset)
	other.attention()
	r.attention()
	other.blocks(0, make([]byte, 512))
	_ = r.conn.Close()
	_ = other.conn.Close()
	b.idle(t)
}

// TARGET COLD RESET ends all sessions of the target, when it was answered.
func TestColdReset(t *testing.T) {
	s := newSource().add(t, testTarget, memory(t)).add(t, testTarget+"2", memory(t))
	b := serve(t, Config{}, s)
	r, other, far := b.session(t), b.dial(t), b.dial(t)
	other.isid[5]++
	other.login(nil)
	far.login(func(s *wire.Settings) { s.TargetName = testTarget + "2" })
	r.managed(r.manage(wire.TaskManagementRequest{Function: wire.TargetColdReset}), wire.FunctionComplete)
	r.closed()
	other.closed()
	far.ping()
	again := b.dial(t)
	again.login(nil)
	again.attention()
}

// P10: a login that reinstates a session is answered when the writes of the old one
// have ended; P11: the new one is told that something was lost.
func TestB23Reinstatement(t *testing.T) {
	d := &stuck{Memory: memory(t)}
	b := serve(t, Config{}, newSource().add(t, testTarget, d))
	old := b.session(t)
	d.hold()
	w := old.scsiWrite(0, 1)
	old.pdu(w, bytes.Repeat([]byte{1}, 512))
	eventually(t, "the write is with the device", func() bool { return d.waiting() == 1 })
	r := b.dial(t)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		r.login(nil)
	}()
	old.closed() // the old connection goes first
	select {
	case <-answered:
		t.Error("the login was answered while the old write was running")
	case <-time.After(50 * time.Millisecond): // gives a wrong answer time to come
	}
	d.release()
	<-answered
	c := r.command([]byte{0})
	r.pdu(c, nil)
	if p, sense := r.status(c.ITT); p.Status != uint8(spc.StatusCheckCondition) || sense.ASC != 0x29 {
		t.Errorf("status %#x, %v; want a reset", p.Status, sense)
	}
	r.attention()
	if list := b.Sessions(); len(list) != 1 {
		t.Errorf("%d sessions", len(list))
	}
	_ = r.conn.Close()
	b.idle(t)
}

// A login waits for the old tasks no longer than a login may take.
func TestB23ReinstatementThatDoesNotEnd(t *testing.T) {
	d := &stuck{Memory: memory(t)}
	b := serve(t, Config{LoginTimeout: 200 * time.Millisecond}, newSource().add(t, testTarget, d))
	old := b.session(t)
	d.hold()
	old.pdu(old.scsiWrite(0, 1), make([]byte, 512))
	eventually(t, "the write is with the device", func() bool { return d.waiting() == 1 })
	r := b.dial(t)
	r.loginPDU(wire.OperationalNegotiation, wire.FullFeaturePhase, r.fast())
	r.refusedWith(wire.LoginServiceUnavailable)
	d.release()
	b.idle(t)
	b.session(t).ping()
}

// Sessions with another ISID, target or portal group stay.
func TestReinstatementIsExact(t *testing.T) {
	s := newSource().add(t, testTarget, memory(t)).add(t, testTarget+"2", memory(t))
	b := serve(t, Config{}, s)
	r, isid, target := b.session(t), b.dial(t), b.dial(t)
	isid.isid[0]++
	isid.login(nil)
	target.login(func(s *wire.Settings) { s.TargetName = testTarget + "2" })
	for _, x := range []*raw{r, isid, target} {
		x.ping()
	}
	if list := b.Sessions(); len(list) != 3 || list[0].TSIH == list[1].TSIH || list[1].TSIH == list[2].TSIH {
		t.Errorf("%+v", list)
	}
}
