// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"time"

	wire "pathgate/internal/iscsi"
	"pathgate/internal/scsi"
)

// task is one command that reads or changes the medium. Guarded by Network.mu.
type task struct {
	s       *session
	u       *Unit
	c       wire.SCSICommand
	op      scsi.ReadWrite
	data    []byte
	r2tSN   wire.Serial
	begun   bool // a worker has it
	done    bool
	silent  bool                    // no status: it was aborted
	after   []func()                // of those who wait for its end
	aborted func(wire.TaskResponse) // answers ABORT TASK at its end
}

// commandLocked takes a SCSI command.
func (s *session) commandLocked(c wire.SCSICommand, data []byte) {
	lun, err := scsi.LUNField(c.LUN).LUN()
	u := s.t.units[uint16(lun)]
	cdb := scsi.CDB(c.CDB)
	op := cdb.Opcode()
	if err != nil || u == nil {
		s.withoutUnitLocked(c, op)
		return
	}
	if a, ok := u.attn[s]; ok && op != scsi.OpInquiry && op != scsi.OpReportLUNs {
		delete(u.attn, s)
		s.checkLocked(c, a)
		return
	}
	rw, err := scsi.DecodeReadWrite(&c.CDB)
	if err != nil {
		in, sense := s.askLocked(u, &c, data)
		if sense != nil {
			s.checkLocked(c, *sense)
			return
		}
		s.inLocked(c, in)
		return
	}
	k := &task{s: s, u: u, c: c, op: rw, data: append([]byte(nil), data...)}
	if u.swallow != nil && u.swallow() {
		return
	}
	s.tasks[c.ITT] = k
	if !rw.Write || len(k.data) == int(c.ExpectedDataTransferLength) {
		k.beginLocked()
		return
	}
	if c.Final {
		k.askDataLocked()
	}
}

// askDataLocked sends an R2T for the next part.
func (k *task) askDataLocked() {
	s, b := k.s, &k.s.t.b
	if k.r2tSN == wire.SerialOf(0) && b.DataOutTime > 0 {
		// LIO takes it for running until its data has come.
		k.u.running[k] = true
		s.t.afterLocked(b.DataOutTime, func() {
			if !k.begun && !k.done {
				s.endLocked(false)
			}
		})
	}
	s.ttt++
	s.sendLocked(&wire.R2T{
		LUN: k.c.LUN, ITT: k.c.ITT, TTT: s.ttt, Numbers: s.numbersLocked(), R2TSN: k.r2tSN,
		BufferOffset:              uint32(len(k.data)),
		DesiredDataTransferLength: min(k.c.ExpectedDataTransferLength-uint32(len(k.data)), s.params.MaxBurstLength),
	}, nil)
	k.r2tSN = k.r2tSN.Next()
}

// dataLocked takes a Data-Out. False: it fits nothing.
func (s *session) dataLocked(d wire.DataOut, data []byte) bool {
	k := s.tasks[d.ITT]
	if k == nil {
		return true // of a command that was swallowed, or answered
	}
	if k.begun || int(d.BufferOffset) != len(k.data) {
		return false
	}
	k.data = append(k.data, data...)
	switch {
	case len(k.data) == int(k.c.ExpectedDataTransferLength):
		k.beginLocked()
	case d.Final:
		k.askDataLocked()
	}
	return true
}

// beginLocked gives the task to a worker.
func (k *task) beginLocked() {
	k.begun = true
	k.u.running[k] = true
	var d time.Duration
	if k.u.delay != nil {
		d = k.u.delay()
	}
	k.s.t.afterLocked(d, k.endLocked)
}

// endLocked is the worker's last step: the medium changes now, whoever cares.
func (k *task) endLocked() {
	s, n := k.s, k.s.t.n
	from := k.op.LBA * 512
	to := from + uint64(k.op.Blocks)*512
	fits := to <= uint64(len(k.u.m.b))
	var in []byte
	switch {
	case !fits:
	case k.op.Write:
		copy(k.u.m.b[from:to], k.data)
		n.count.Writes++
		if s.ended {
			n.count.Late++
		}
	default:
		in = append(in, k.u.m.b[from:to]...)
	}
	if !k.silent && !s.ended {
		if fits {
			s.inLocked(k.c, in)
		} else {
			s.checkLocked(k.c, scsi.MakeSenseCode(scsi.IllegalRequest, 0x21, 0).Sense())
		}
	}
	k.doneLocked()
}

// doneLocked: nothing of it can run any more.
func (k *task) doneLocked() {
	if k.done {
		return
	}
	k.done = true
	if k.s.tasks[k.c.ITT] == k {
		delete(k.s.tasks, k.c.ITT)
	}
	delete(k.u.running, k)
	if k.aborted != nil {
		k.aborted(k.s.t.b.AbortAnswer)
	}
	for _, f := range k.after {
		f()
	}
	if u := k.u; len(u.running) == 0 {
		waits := u.waits
		u.waits = nil
		for _, f := range waits {
			f()
		}
	}
}

// checkLocked sends CHECK CONDITION.
func (s *session) checkLocked(c wire.SCSICommand, sense scsi.Sense) {
	s.sendLocked(&wire.SCSIResponse{Status: uint8(scsi.StatusCheckCondition), ITT: c.ITT, Numbers: s.statusLocked()},
		wire.AppendSense(nil, sense.AppendFixed(nil)))
}

// inLocked sends data, if the command reads, and GOOD.
func (s *session) inLocked(c wire.SCSICommand, p []byte) {
	if !c.Read {
		s.sendLocked(&wire.SCSIResponse{ITT: c.ITT, Numbers: s.statusLocked()}, nil)
		return
	}
	p = p[:min(len(p), int(c.ExpectedDataTransferLength))]
	d := wire.DataIn{ITT: c.ITT, TTT: wire.NoTag}
	left := wire.Residual{Count: c.ExpectedDataTransferLength - uint32(len(p))}
	if left.Count > 0 {
		left.Underflow = true
	}
	for {
		n := min(len(p), int(s.params.MaxSendDataSegmentLength))
		d.Final, d.HasStatus = n == len(p), n == len(p)
		if d.HasStatus {
			d.Residual, d.Numbers = left, s.statusLocked()
		} else {
			d.Numbers = s.numbersLocked()
		}
		s.sendLocked(&d, p[:n])
		if p = p[n:]; d.HasStatus {
			return
		}
		d.DataSN = d.DataSN.Next()
		d.BufferOffset += uint32(n)
	}
}

// manageLocked takes a task management function.
func (s *session) manageLocked(r wire.TaskManagementRequest) {
	answer := func(code wire.TaskResponse) {
		if !s.ended {
			s.sendLocked(&wire.TaskManagementResponse{Response: code, ITT: r.ITT, Numbers: s.statusLocked()}, nil)
		}
	}
	switch r.Function {
	case wire.AbortTask:
		s.t.n.count.Aborts++
		s.abortLocked(r, answer)
	case wire.LogicalUnitReset:
		s.t.n.count.Resets++
		lun, err := scsi.LUNField(r.LUN).LUN()
		u := s.t.units[uint16(lun)]
		if err != nil || u == nil {
			answer(wire.LUNDoesNotExist)
			return
		}
		u.resetLocked(s, answer)
	default:
		answer(wire.FunctionNotSupported)
	}
}

func (s *session) abortLocked(r wire.TaskManagementRequest, answer func(wire.TaskResponse)) {
	k, b := s.tasks[r.ReferencedTaskTag], &s.t.b
	switch {
	case k == nil:
		answer(b.AbortUnknown)
	case k.begun:
		// tgtd gives the status as well, LIO does not.
		k.silent = b.AbortAnswer == wire.FunctionComplete
		if first := k.aborted; first != nil && !b.LastTMFOnly {
			k.aborted = func(c wire.TaskResponse) { first(c); answer(c) }
		} else {
			k.aborted = answer
		}
	case b.AbortOwedRuns:
		answer(wire.TaskDoesNotExist)
	default: // no answer; the connection ends when the data is overdue
	}
}

// resetLocked is LOGICAL UNIT RESET: it waits for what runs in this process, of all
// sessions, and covers nothing that was not read yet.
func (u *Unit) resetLocked(by *session, answer func(wire.TaskResponse)) {
	done := func() {
		for _, s := range u.t.conns {
			if s != by && !u.t.b.SilentReset {
				u.attn[s] = attention(u.t.b.ResetQualifier)
			}
		}
		answer(wire.FunctionComplete)
	}
	if u.t.b.ResetIgnoresRunning {
		done()
		return
	}
	u.idleLocked(done)
}
