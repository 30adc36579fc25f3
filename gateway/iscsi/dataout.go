// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"time"

	wire "pathgate/internal/iscsi"
	spc "pathgate/internal/scsi"
)

// dataOut takes write data. Data of a task that does not exist (any more) is
// dropped. RFC 7143 11.7 (SCSI Data-Out and SCSI Data-In).
func (s *session) dataOut(p *pdu) error {
	d, err := wire.DecodeDataOut(&p.bhs)
	if err != nil {
		return err
	}
	s.mu.Lock()
	t := s.tasks.find(d.ITT)
	if t == nil {
		s.mu.Unlock()
		s.chore(p)
		if p.damaged {
			return s.reject(p, wire.RejectDataDigest)
		}
		return nil
	}
	if !t.named(&d) {
		s.mu.Unlock()
		return s.reject(p, wire.RejectInvalidPDUField)
	}
	if p.damaged {
		t.spoil(spc.CodeProtocolServiceCRC)
	}
	if t.state == taskHeld {
		if err := s.keepEarly(t, p.vec.Len()); err != nil {
			s.mu.Unlock()
			return err
		}
	}
	t.take(&d, p)
	t.since = time.Now()
	s.advanceLocked(t)
	broken := t.state == taskCollecting && t.broken && !t.expecting()
	s.mu.Unlock()
	if p.damaged {
		_ = s.reject(p, wire.RejectDataDigest)
	}
	if broken {
		s.nexus.Refuse(&s.batch, &t.cmd, t.code)
	}
	return nil
}

// named tells whether d belongs to a sequence of t that is open: to unsolicited
// data, or to its oldest R2T.
func (t *task) named(d *wire.DataOut) bool {
	if d.TTT == wire.NoTag {
		return t.unsolicited
	}
	return !t.unsolicited && t.opened > 0 && d.TTT == t.open[0].ttt && d.LUN == t.lun
}

// take takes the data of the open sequence. What is out of order spoils the task;
// the sequence goes on to its end all the same.
func (t *task) take(d *wire.DataOut, p *pdu) {
	end := t.limit
	if !t.unsolicited {
		end = t.open[0].end
	}
	switch {
	case d.DataSN != t.dataSN || d.BufferOffset != t.got:
		t.spoil(spc.CodeProtocolServiceCRC)
	case d.DataSegmentLength > end-t.got:
		t.spoil(spc.CodeNotEnoughUnsolicitedData)
	case d.Final && !t.unsolicited && t.got+d.DataSegmentLength != end:
		t.spoil(spc.CodeNotEnoughUnsolicitedData)
	}
	t.dataSN = t.dataSN.Next()
	if !t.broken {
		t.got += d.DataSegmentLength
		if t.state != taskEnded {
			t.cmd.Out.Gather(&p.vec)
			t.trimExcess()
		}
	}
	if !d.Final {
		return
	}
	t.dataSN = wire.Serial{}
	if t.unsolicited {
		t.unsolicited = false
		return
	}
	t.opened = copy(t.open[:], t.open[1:t.opened])
}

// advanceLocked does what the data of t allow: ask for more, have it submitted,
// or answer it.
func (s *session) advanceLocked(t *task) {
	switch t.state {
	case taskEnded:
		s.endedLocked(&s.batch, t)
	case taskCollecting:
		want := t.cmd.Want
		switch {
		case t.unsolicited || t.broken:
		case t.got >= want && t.opened == 0:
			t.trim(int(want))
			t.state = taskRunning
			s.ready = append(s.ready, &t.cmd)
		default:
			s.solicitLocked(t)
		}
	case taskFree, taskHeld, taskRunning:
	}
}

// trimExcess drops data that t has no use for and no credit.
func (t *task) trimExcess() {
	if t.state == taskCollecting && t.got > t.cmd.Want {
		t.trim(int(t.cmd.Want))
	}
}

// trim cuts what is more than the command wants from its data.
func (t *task) trim(n int) {
	out := t.cmd.Out
	if n == 0 {
		t.cmd.Out.Release()
		return
	}
	for i := range out {
		keep := min(n, len(out[i].B))
		n -= keep
		if keep == len(out[i].B) {
			continue
		}
		out[i].B = out[i].B[:keep]
		rest := out[i+1:]
		rest.Release()
		t.cmd.Out = out[:i+1]
		return
	}
}

// solicitLocked sends as many R2Ts as may be open. RFC 7143 11.8 (Ready To Transfer
// (R2T)).
func (s *session) solicitLocked(t *task) {
	t.asked = max(t.asked, t.got)
	t.since = time.Now()
	for t.opened < int(s.params.MaxOutstandingR2T) && t.asked < t.cmd.Want {
		n := min(t.cmd.Want-t.asked, s.params.MaxBurstLength)
		if s.ttt++; s.ttt == wire.NoTag {
			s.ttt++
		}
		r := wire.R2T{
			LUN: t.lun, ITT: t.itt, TTT: s.ttt, Numbers: s.numbersLocked(), R2TSN: t.r2tSN,
			BufferOffset: t.asked, DesiredDataTransferLength: n,
		}
		r.Encode(&s.head)
		s.sendLocked(&s.head, nil)
		s.batch.Touch(s.c.out)
		t.asked += n
		t.r2tSN = t.r2tSN.Next()
		t.open[t.opened] = openR2T{s.ttt, t.asked}
		t.opened++
	}
}
