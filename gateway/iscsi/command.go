// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"slices"
	"time"

	"pathgate/backends"
	"pathgate/gateway/scsi"
	wire "pathgate/internal/iscsi"
	spc "pathgate/internal/scsi"
)

// command begins a SCSI Command whose turn it is. RFC 7143 11.3 (SCSI Command).
func (s *session) command(p *pdu) error {
	if p.held { // its task is here, unless it was aborted
		s.taken(p)
		if t := p.task; t != nil {
			p.task = nil
			s.beginTask(t)
		}
		return nil
	}
	ok, err := s.accept(p, taskCollecting)
	if !ok || err != nil {
		return err
	}
	s.taken(p)
	t := p.task
	p.task = nil
	s.beginTask(t)
	return nil
}

// accept makes a task of a SCSI Command PDU, with its immediate data. False: it was
// refused, and its CmdSN does not count.
func (s *session) accept(p *pdu, state taskState) (ok bool, err error) {
	r, err := wire.DecodeSCSICommand(&p.bhs)
	if err != nil {
		return false, err
	}
	if p.longCDB && r.CDB[0] != variableLengthCDB {
		return false, s.reject(p, wire.RejectInvalidPDUField)
	}
	s.mu.Lock()
	running := s.tasks.find(r.ITT) != nil
	crowded := r.Immediate && s.immediate >= maxImmediate
	s.mu.Unlock()
	switch {
	case running:
		return false, s.reject(p, wire.RejectTaskInProgress)
	case crowded:
		return false, s.reject(p, wire.RejectTooManyImmediate)
	}
	t := s.newTask()
	c := &t.cmd
	c.LUN, c.CDB, c.Attribute, c.Tag = spc.LUNField(r.LUN), spc.CDB(r.CDB), scsi.Attribute(r.Attribute), uint32(r.ITT)
	c.Read, c.Write, c.Expected = r.Read || p.ahs.HasBidiRead, r.Write, r.ExpectedDataTransferLength
	s.mu.Lock()
	defer s.mu.Unlock()
	t.state, t.immediate, t.itt, t.cmdSN, t.lun = state, r.Immediate, r.ITT, r.CmdSN, r.LUN
	t.broken, t.opened = false, 0
	s.accepted++
	t.number = s.accepted
	t.got, t.asked, t.dataSN, t.r2tSN = 0, 0, wire.Serial{}, wire.Serial{}
	s.immediateData(t, &r, p)
	if t.immediate {
		s.immediate++
	} else {
		s.win.enter()
	}
	s.tasks.add(t)
	p.task = t
	return true, nil
}

// variableLengthCDB is the opcode of CDBs that go on in an additional header.
const variableLengthCDB = 0x7f

// immediateData takes the data of the command PDU, and opens the sequence of
// unsolicited data that it announces. RFC 7143 13.10 (InitialR2T), 13.11
// (ImmediateData), 13.14 (FirstBurstLength).
func (s *session) immediateData(t *task, r *wire.SCSICommand, p *pdu) {
	t.limit = min(s.params.FirstBurstLength, r.ExpectedDataTransferLength)
	if t.unsolicited = !r.Final; t.unsolicited {
		t.since = time.Now()
	}
	if t.unsolicited && s.params.InitialR2T {
		t.spoil(spc.CodeUnexpectedUnsolicitedData)
	}
	if n := r.DataSegmentLength; n > 0 {
		switch {
		case !s.params.ImmediateData:
			t.spoil(spc.CodeUnexpectedUnsolicitedData)
		case n > t.limit:
			t.spoil(spc.CodeNotEnoughUnsolicitedData)
		default:
			t.cmd.Out.Move(&p.vec)
			t.got = n
		}
	}
	p.vec.Release()
}

// beginTask gives t to the device server.
func (s *session) beginTask(t *task) {
	in := s.nexus.Begin(&t.cmd)
	s.mu.Lock()
	switch {
	case t.state == taskFree || t.state == taskEnded: // ended meanwhile, by another nexus
	case !in:
		s.endedLocked(&s.batch, t)
	default:
		t.state = taskCollecting
		t.trimExcess()
		s.advanceLocked(t)
	}
	broken := t.state == taskCollecting && t.broken && !t.expecting()
	s.mu.Unlock()
	if broken {
		s.nexus.Refuse(&s.batch, &t.cmd, t.code)
	}
}

// CommandDone is told the end of t by the device server, on any goroutine.
func (t *task) CommandDone(b *backends.Batch, _ *scsi.Command) {
	s := t.s
	s.mu.Lock()
	s.endedLocked(b, t)
	s.mu.Unlock()
}

// endedLocked answers t, or has the answer wait for the data that is on its way.
func (s *session) endedLocked(b *backends.Batch, t *task) {
	if !t.cmd.Silent && !s.quiet && t.expecting() {
		t.state = taskEnded
		return
	}
	closed := s.win.closed()
	s.placeLocked(t)
	switch {
	case s.quiet:
	case !t.cmd.Silent:
		for f := t.aborters; f != nil; f = f.next {
			f.tooLate = true
		}
		s.respondLocked(t)
		b.Touch(s.c.out)
	case closed && !s.win.closed(): // nothing else might tell the initiator
		s.newsLocked()
		b.Touch(s.c.out)
	}
	s.freeLocked(b, t)
}

// newsLocked sends a NOP-In that only carries numbers.
func (s *session) newsLocked() {
	var h wire.BHS
	wire.NOPIn{ITT: wire.NoTag, TTT: wire.NoTag, Numbers: s.numbersLocked()}.Encode(&h)
	s.sendLocked(&h, nil)
}

// freeLocked takes t out of the session. Whoever waited for its end goes on.
func (s *session) freeLocked(b *backends.Batch, t *task) {
	s.tasks.remove(t)
	t.state, t.aborters = taskFree, nil
	t.cmd.Out.Release()
	t.cmd.In.Release()
	s.completed.Add(1)
	s.putTask(t)
	for i := 0; i < len(s.waiting); i++ {
		if f := s.waiting[i]; !s.coveredLocked(f) {
			s.waiting = slices.Delete(s.waiting, i, i+1)
			i--
			f.answerLocked(b, f.code)
		}
	}
	if s.drained != nil && !s.liveLocked() {
		close(s.drained)
		s.drained = nil
	}
}

// liveLocked tells whether the device server has a task.
func (s *session) liveLocked() (live bool) {
	s.tasks.each(func(t *task) { live = live || t.state == taskCollecting || t.state == taskRunning })
	return live
}

// placeLocked gives back the place of t in the command window.
func (s *session) placeLocked(t *task) {
	if t.immediate {
		s.immediate--
		return
	}
	s.win.leave()
	s.win.open()
}
