// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"pathgate/backends"
	"pathgate/internal/buffer"
	"pathgate/internal/scsi"
)

// clear prepares c for a Begin.
func (c *Command) clear() {
	c.In.Release()
	c.Want, c.Status, c.Sense, c.Residual = 0, scsi.StatusGood, nil, 0
	c.Overflow, c.Silent = false, false
	t := &c.task
	t.c, t.l, t.e = c, nil, nil
	t.demand = demand{}
	t.aborted, t.ghost, t.credit = notAborted, false, 0
}

// fail makes the status CHECK CONDITION with s.
func (c *Command) fail(s scsi.Sense) {
	c.In.Release()
	c.Status = scsi.StatusCheckCondition
	if l := c.task.l; l != nil && l.u.descriptorSense.Load() {
		c.Sense = s.AppendDescriptor(c.senseData[:0])
	} else {
		c.Sense = s.AppendFixed(c.senseData[:0])
	}
}

// refuse is fail for a command that Begin does not let in.
func (c *Command) refuse(s scsi.Sense) {
	c.fail(s)
	c.account()
}

// refuseStatus ends a command that Begin does not let in with a status.
func (c *Command) refuseStatus(s scsi.Status) {
	c.Status = s
	c.account()
}

// settle writes what res means for the client.
func (t *task) settle(res backends.Result) {
	aborted := notAborted
	if res.Class == backends.Aborted {
		t.l.u.mu.Lock()
		aborted = t.aborted
		t.l.u.mu.Unlock()
	}
	t.settleAs(res, aborted)
}

// settleAs is settle for a task that was aborted so, or not.
func (t *task) settleAs(res backends.Result, aborted abortKind) {
	c := t.c
	t.ghost = res.Sent == backends.SentSome
	if res.Class == backends.Aborted && aborted != notAborted {
		c.In.Release()
		switch e := t.l.u.erasing.Load(); {
		case aborted == abortSilent:
			c.Silent = true
		case aborted == abortErased && e != nil:
			c.refuse(e.sense())
		default:
			c.Status = scsi.StatusTaskAborted
		}
		return
	}
	if !res.OK() {
		t.failed(res)
	}
	c.account()
}

// failed is the one table from the classes of a device to status and sense
// (HAZARDS section 5). A unit attention of a LUN below never comes up.
func (t *task) failed(res backends.Result) {
	code := scsi.CodeInternalTargetFailure
	switch res.Class {
	case backends.OK:
		return
	case backends.Transport:
		code = scsi.CodeInternalTargetFailureAbort // the initiator may try again
	case backends.Busy:
		t.c.In.Release()
		t.c.Status = scsi.StatusBusy
		return
	case backends.ReservationConflict:
		t.c.In.Release()
		t.c.Status = scsi.StatusReservationConflict
		return
	case backends.Medium:
		t.c.fail(t.medium(res.Sense))
		return
	case backends.IllegalRequest:
		code = scsi.CodeLBAOutOfRange // all else was checked before: the device shrank
		if asc := res.Sense.ASC; res.Sense.Valid && (asc == scsi.CodeInvalidFieldInCDB.ASC() || asc == scsi.CodeInvalidFieldInParameters.ASC()) {
			code = scsi.CodeInvalidFieldInCDB // the LUN does not take it so: an initiator asks in another way
		}
	case backends.Unsupported:
		code = scsi.CodeInvalidOpcode
	case backends.DataProtect:
		code = scsi.CodeWriteProtected
	case backends.NoSpace:
		code = scsi.CodeSpaceAllocationFailed
	case backends.NoPath:
		code = scsi.CodeManualIntervention
	case backends.Aborted:
		code = scsi.CodeCommandsClearedByServer
	case backends.Miscompare:
		s := scsi.CodeMiscompareDuringVerify.Sense()
		s.InformationValid, s.Information = res.Sense.HasInfo, res.Sense.Information
		t.c.fail(s)
		return
	}
	t.c.fail(code.Sense())
}

// medium passes on what the LUN said of its medium or hardware, and of which block.
func (t *task) medium(s backends.Sense) scsi.Sense {
	key := scsi.SenseKey(s.Key)
	if !s.Valid || key != scsi.MediumError && key != scsi.HardwareError {
		if t.demand.op.Changes() {
			return scsi.CodeWriteError.Sense()
		}
		return scsi.CodeUnrecoveredReadError.Sense()
	}
	out, g := scsi.MakeSenseCode(key, s.ASC, s.ASCQ).Sense(), t.l.u.geometry.Load()
	if lba := s.Information * g.unit / g.blockSize; s.HasInfo && lba >= t.demand.lba && lba-t.demand.lba < t.demand.blocks {
		out.InformationValid, out.Information = true, lba
	}
	return out
}

// account writes the residual and cuts In to what the initiator expects (RFC
// 7143 11.4.5.1).
func (c *Command) account() {
	d := &c.task.demand
	moved := uint64(c.In.Len())
	switch {
	case d.dir == scsi.DataOut && c.Status == scsi.StatusGood, d.short:
		moved = d.total // of a DataOut command that ends well all was moved
	case d.dir == scsi.DataIn && c.Status == scsi.StatusGood:
		moved = max(moved, d.total) // READ may have read only what was expected
	}
	expected := uint64(c.Expected)
	switch {
	case moved > expected:
		c.Overflow = true
		c.Residual = uint32(min(moved-expected, 1<<32-1))
		truncate(&c.In, int(expected))
	default:
		c.Residual = uint32(expected - moved)
	}
}

// truncate cuts v to n bytes.
func truncate(v *buffer.Vec, n int) {
	for i := range *v {
		s := &(*v)[i]
		if n < len(s.B) {
			s.B = s.B[:n]
			if n == 0 {
				rest := (*v)[i:]
				rest.Release()
				*v = (*v)[:i]
				return
			}
		}
		n -= len(s.B)
	}
}
