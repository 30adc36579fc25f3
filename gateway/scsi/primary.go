// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"encoding/binary"
	"math/bits"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// testUnitReady is TEST UNIT READY.
func testUnitReady(b *backends.Batch, t *task) {
	if !t.l.u.geometry.Load().available {
		t.c.fail(scsi.CodeBecomingReady.Sense())
	}
	t.finish(b, backends.Done())
}

// checkRequestSense reads REQUEST SENSE.
func checkRequestSense(t *task) scsi.Sense { return checkAllocation(t) }

// requestSense is REQUEST SENSE: the next unit attention, which it ends, or why
// the unit is not ready, with the progress of an erasure.
func requestSense(b *backends.Batch, t *task) {
	c, err := scsi.DecodeRequestSense(t.raw())
	u := t.l.u
	u.mu.Lock()
	code, ok := t.l.attention.take()
	u.mu.Unlock()
	s := code.Sense()
	switch e := u.erasing.Load(); {
	case ok:
	case e != nil:
		s = e.sense()
	case !u.geometry.Load().available:
		s = scsi.CodeBecomingReady.Sense()
	}
	if err == nil && c.Descriptor {
		t.reply(s.AppendDescriptor(nil))
	} else {
		t.reply(s.AppendFixed(nil))
	}
	t.finish(b, backends.Done())
}

// startStop is START STOP UNIT. The unit has no medium to eject and no motor: it
// accepts what it is told, and makes the cache clean where that is asked for.
func startStop(b *backends.Batch, t *task) {
	c, err := scsi.DecodeStartStopUnit(t.raw())
	switch {
	case err != nil:
		t.deny(b, scsi.CodeInvalidFieldInCDB.Sense())
	case t.conflicts(c.PowerCondition != 0 || !c.Start):
		t.c.Status = scsi.StatusReservationConflict
		t.finish(b, backends.Done())
	case c.Start || c.NoFlush:
		t.finish(b, backends.Done())
	default:
		t.begin(b, step{op: backends.Flush})
	}
}

// codeSelfTestFailed is LOGICAL UNIT FAILED SELF-TEST.
const codeSelfTestFailed scsi.SenseCode = 0x04_3e_03

// selfTest is SEND DIAGNOSTIC, of which there is the default self-test: the first
// block can be read. Without SELFTEST there is nothing to do.
func selfTest(b *backends.Batch, t *task) {
	g := t.l.u.geometry.Load()
	if t.c.CDB[1]&0x04 == 0 || g.blocks == 0 {
		t.finish(b, backends.Done())
		return
	}
	t.begin(b, step{
		op: backends.Read, bytes: g.blockSize,
		took: func(_ *piece, res backends.Result) backends.Result {
			if !res.OK() && res.Class != backends.Aborted {
				t.c.fail(codeSelfTestFailed.Sense())
				return backends.Done()
			}
			return res
		},
	})
}

// conflicts tells whether a command that reservations forbid in one of its forms
// is forbidden to t.
func (t *task) conflicts(form bool) bool {
	u := t.l.u
	u.mu.Lock()
	defer u.mu.Unlock()
	return form && t.l.level < accessWrite
}

// preventAllow is PREVENT ALLOW MEDIUM REMOVAL. The medium cannot be removed
// anyway: the state is kept and has no effect.
func preventAllow(b *backends.Batch, t *task) {
	prevent := t.c.CDB[4]&0x01 != 0
	if t.conflicts(prevent) {
		t.c.Status = scsi.StatusReservationConflict
	} else {
		t.l.u.mu.Lock()
		t.l.prevent = prevent
		t.l.u.mu.Unlock()
	}
	t.finish(b, backends.Done())
}

func (u *Unit) capacity() scsi.Capacity {
	g := u.geometry.Load()
	thin := g.caps.Has(backends.CanUnmap)
	return scsi.Capacity{
		Blocks: g.blocks, BlockSize: u.cfg.BlockSize,
		PhysicalExponent: uint8(bits.Len64(g.physical/g.blockSize) - 1),
		Provisioned:      thin, ReadZeros: thin && g.caps.Has(backends.UnmapZeroes),
	}
}

// checkReadCapacity10 reads READ CAPACITY(10).
func checkReadCapacity10(t *task) scsi.Sense {
	if _, err := scsi.DecodeReadCapacity10(t.raw()); err != nil {
		return badField(2, scsi.NoBit) // a LOGICAL BLOCK ADDRESS or PMI
	}
	t.demand.dir, t.demand.alloc = scsi.DataIn, 8
	return scsi.Sense{}
}

// readCapacity10 is READ CAPACITY(10).
func readCapacity10(b *backends.Batch, t *task) {
	t.reply(t.l.u.capacity().Append10(nil))
	t.finish(b, backends.Done())
}

// checkReadCapacity16 reads READ CAPACITY(16), whose LBA and PMI are obsolete.
func checkReadCapacity16(t *task) scsi.Sense {
	for i := 2; i < 10; i++ {
		if t.c.CDB[i] != 0 {
			return badField(2, scsi.NoBit)
		}
	}
	if t.c.CDB[14] != 0 {
		return badField(14, 0)
	}
	return checkAllocation(t)
}

// readCapacity16 is READ CAPACITY(16).
func readCapacity16(b *backends.Batch, t *task) {
	t.reply(t.l.u.capacity().Append16(nil))
	t.finish(b, backends.Done())
}

// checkDefects reads READ DEFECT DATA of both sizes.
func checkDefects(t *task) scsi.Sense {
	cdb := &t.c.CDB
	t.demand.dir = scsi.DataIn
	if cdb.Opcode() == scsi.OpReadDefectData10 {
		t.demand.alloc = uint64(binary.BigEndian.Uint16(cdb[7:]))
	} else {
		t.demand.alloc = uint64(binary.BigEndian.Uint32(cdb[6:]))
	}
	return scsi.Sense{}
}

// readDefects is READ DEFECT DATA of both sizes: the list is empty, in the format
// that was asked for.
func readDefects(b *backends.Batch, t *task) {
	cdb := &t.c.CDB
	if cdb.Opcode() == scsi.OpReadDefectData10 {
		t.reply([]byte{0, cdb[2] & 0x1f, 0, 0})
	} else {
		t.reply([]byte{0, cdb[1] & 0x1f, 0, 0, 0, 0, 0, 0})
	}
	t.finish(b, backends.Done())
}

// checkPortGroups reads REPORT TARGET PORT GROUPS.
func checkPortGroups(t *task) scsi.Sense {
	if _, err := scsi.DecodeReportPortGroups(t.raw()); err != nil {
		return badField(1, 7)
	}
	return checkAllocation(t)
}

// reportPortGroups is REPORT TARGET PORT GROUPS.
func reportPortGroups(b *backends.Batch, t *task) {
	c, _ := scsi.DecodeReportPortGroups(t.raw())
	target := t.l.n.t
	target.mu.Lock()
	groups := target.groups
	target.mu.Unlock()
	t.reply(scsi.AppendPortGroups(nil, groups, c.Extended, 0))
	t.finish(b, backends.Done())
}
