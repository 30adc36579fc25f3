// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"bytes"
	"testing"
	"time"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
	spc "pathgate/internal/scsi"
)

// sessionOf gives the only session of b.
func (b *bench) sessionOf(tb testing.TB) *session {
	tb.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, se := range b.sessions {
		return se
	}
	tb.Fatal("there is no session")
	return nil
}

// P9, B20: commands that an immediate function covers and has overtaken are not carried
// out when they come; what comes for other units, or after it, is.
func TestP09Overtaken(t *testing.T) {
	for _, f := range []wire.TaskFunction{
		wire.AbortTaskSet, wire.ClearTaskSet, wire.LogicalUnitReset, wire.TargetWarmReset,
	} {
		t.Run(f.String(), func(t *testing.T) {
			s := newSource().add(t, testTarget, memory(t)).addLUN(t, testTarget, memory(t))
			b := serve(t, Config{}, s)
			r := b.session(t)
			far := wire.LUNField{0, 1}
			for range 2 { // the unit attention of the other unit
				c := r.command([]byte{0})
				c.LUN = far
				r.pdu(c, nil)
				r.status(c.ITT)
			}
			keep, lost := noise(1, 512), noise(2, 512)
			r.transfer(0, keep)
			first, second, other := r.scsiWrite(0, 1), r.scsiWrite(0, 1), r.scsiRead(0, 1)
			other.LUN = far
			held := r.scsiWrite(0, 1)
			held.Final = false
			r.pdu(held, nil) // it is here already, and waits for its turn
			r.managed(r.manage(wire.TaskManagementRequest{Function: f}), wire.FunctionComplete)
			after := r.scsiWrite(8, 1)
			r.pdu(second, lost) // not its turn
			r.pdu(wire.DataOut{Final: true, ITT: held.ITT, TTT: wire.NoTag}, lost)
			r.pdu(after, lost)
			r.pdu(other, nil)
			r.pdu(first, lost)
			switch f {
			case wire.LogicalUnitReset: // what fails does so before the rest is begun
				r.check(after.ITT, spc.CodeDeviceReset)
				r.readData(other.ITT)
				r.attention()
			case wire.TargetWarmReset:
				r.check(after.ITT, spc.CodeBusReset)
				r.attention()
			default:
				r.readData(other.ITT)
				r.good(after.ITT)
			}
			r.blocks(0, keep)
			se := b.sessionOf(t)
			_ = r.conn.Close()
			b.idle(t)
			if len(se.fences) != 0 {
				t.Errorf("%d fences are left", len(se.fences))
			}
		})
	}
}

// P9, B19: ABORT TASK that names a running task by its tag and another by its CmdSN is
// refused: the one runs, and the other may come.
func TestB19RefCmdSN(t *testing.T) {
	d := &stuck{Memory: memory(t)}
	b := serve(t, Config{}, newSource().add(t, testTarget, d))
	r := b.session(t)
	d.hold()
	w := r.scsiWrite(0, 1)
	r.pdu(w, make([]byte, 512))
	gap := r.next()
	for _, sn := range []wire.Serial{gap, w.CmdSN.Prev(), w.CmdSN.Add(1000)} {
		r.managed(r.manage(wire.TaskManagementRequest{Function: wire.AbortTask, ReferencedTaskTag: w.ITT, RefCmdSN: sn}), wire.FunctionRejected)
	}
	d.release()
	r.good(w.ITT)
	c := r.command([]byte{0})
	c.CmdSN, r.cmdSN = gap, gap.Next()
	r.pdu(c, nil) // its place was not filled
	r.good(c.ITT)
}

// P9: an immediate command is aborted by its tag, whatever RefCmdSN says.
func TestB19AbortImmediate(t *testing.T) {
	d := backends.NewHoldFault(memory(t))
	b := serve(t, Config{}, newSource().add(t, testTarget, d))
	r := b.session(t)
	d.Hold(&backends.FaultRule{})
	c := r.scsiWrite(0, 1)
	c.Immediate, r.cmdSN = true, c.CmdSN
	r.pdu(c, make([]byte, 512))
	r.managed(r.manage(wire.TaskManagementRequest{Function: wire.AbortTask, ReferencedTaskTag: c.ITT, RefCmdSN: r.cmdSN}), wire.FunctionComplete)
	if d.Counts().Waiting != 0 {
		t.Error("the write is still there")
	}
	r.ping()
}

// P9: a task that came to its end while it was being aborted, and whose answer waits for
// data, has none when the function has been answered.
func TestP09EndedMeanwhile(t *testing.T) {
	for _, all := range []bool{false, true} {
		b := offer(t, Config{})
		r := b.session(t)
		c := r.scsiWrite(1<<30, 8) // beyond the end
		c.Final = false
		r.pdu(c, nil)
		r.ping()
		se := b.sessionOf(t)
		se.mu.Lock()
		f := &function{s: se, itt: r.tag(), immediate: true, upto: se.accepted}
		if !all {
			f.only = se.accepted
		}
		se.immediate++
		f.timer = time.AfterFunc(time.Hour, f.late)
		se.mu.Unlock()
		var batch backends.Batch
		f.done(&batch, backends.Done()) // as the device server tells it
		batch.Run()
		r.managed(f.itt, wire.FunctionComplete)
		r.pdu(wire.DataOut{Final: true, ITT: c.ITT, TTT: wire.NoTag}, make([]byte, 512))
		r.ping() // and no status before it
		r.transfer(0, bytes.Repeat([]byte{1}, 512))
		_ = r.conn.Close()
		b.idle(t)
	}
}
