// SPDX-License-Identifier: Apache-2.0

package scripted

import (
	"bytes"
	"encoding/binary"

	"pathgate/internal/scsi"
)

// carryOut is what a disk does with a command whose data is there.
func (m *Command) carryOut(data []byte) {
	op := m.CDB.Opcode()
	if m.unit == nil && op != scsi.OpInquiry && op != scsi.OpReportLUNs {
		m.Check(scsi.CodeLUNotSupported)
		return
	}
	if m.unit != nil && op != scsi.OpInquiry && op != scsi.OpReportLUNs && op != scsi.OpRequestSense {
		if code := m.unit.attention(m.conn); code != scsi.CodeNone {
			m.Check(code)
			return
		}
	}
	if m.asks(op, data) {
		return
	}
	u := m.unit
	switch u.access(m.conn.p.Group) {
	case scsi.Standby:
		m.Check(scsi.CodePortStandby)
	case scsi.Unavailable, scsi.Offline:
		m.Check(scsi.CodePortUnavailable)
	case scsi.Transitioning:
		m.Check(scsi.CodeAccessTransition)
	default:
		u.mu.Lock()
		conflict := u.reserved.conflicts(m.conn.nexus, m.Write)
		u.mu.Unlock()
		if conflict {
			m.Status(scsi.StatusReservationConflict)
			return
		}
		m.transfer(op, data)
	}
}

// transfer is for commands that use the medium.
func (m *Command) transfer(op scsi.Opcode, data []byte) {
	raw := (*[16]byte)(&m.CDB)
	u := m.unit
	m.conn.t.count(m.Portal, func(s *Stats) { s.WriteBytes += uint64(len(data)) })
	switch op {
	case scsi.OpRead6, scsi.OpRead10, scsi.OpRead12, scsi.OpRead16:
		c, err := scsi.DecodeReadWrite(raw)
		off, n, ok := m.place(c.LBA, uint64(c.Blocks), err)
		if p, there := u.Medium.read(off, n); ok && there {
			m.Answer(p)
		} else if ok {
			m.Check(scsi.CodeUnrecoveredReadError)
		}
	case scsi.OpWrite6, scsi.OpWrite10, scsi.OpWrite12, scsi.OpWrite16:
		c, err := scsi.DecodeReadWrite(raw)
		off, n, ok := m.place(c.LBA, uint64(c.Blocks), err)
		switch {
		case !ok:
		case uint64(len(data)) != n:
			m.Check(scsi.CodeInvalidFieldInCDB)
		default:
			m.changed(u.Medium.write(off, data))
		}
	case scsi.OpWriteSame10, scsi.OpWriteSame16:
		m.writeSame(data)
	case scsi.OpUnmap:
		m.unmap(data)
	case scsi.OpCompareAndWrite:
		m.compareAndWrite(data)
	case scsi.OpVerify10, scsi.OpVerify16, scsi.OpPrefetch10, scsi.OpPrefetch16:
		m.Answer(nil)
	case scsi.OpSynchronizeCache10, scsi.OpSynchronizeCache16:
		u.mu.Lock()
		u.syncs++
		u.mu.Unlock()
		m.Answer(nil)
	default:
		m.Check(scsi.CodeInvalidOpcode)
	}
}

// place gives the bytes that a command is about; if it may not be there, the
// command has ended.
func (m *Command) place(lba, blocks uint64, err error) (off, n uint64, ok bool) {
	u := m.unit
	u.mu.Lock()
	block, size, readOnly := uint64(u.Block), u.Size, u.ReadOnly
	u.mu.Unlock()
	switch {
	case err != nil || block == 0:
		m.Check(scsi.CodeInvalidFieldInCDB)
	case lba > size/block || blocks > size/block-lba:
		m.Check(scsi.CodeLBAOutOfRange)
	case readOnly && m.Write:
		m.Check(scsi.CodeWriteProtected)
	default:
		return lba * block, blocks * block, true
	}
	return 0, 0, false
}

func (m *Command) changed(ok bool) {
	if !ok {
		m.Check(scsi.CodeWriteError)
		return
	}
	m.Answer(nil)
}

func (m *Command) writeSame(data []byte) {
	lba, blocks := uint64(binary.BigEndian.Uint32(m.CDB[2:])), uint64(binary.BigEndian.Uint16(m.CDB[7:]))
	if m.CDB.Opcode() == scsi.OpWriteSame16 {
		lba, blocks = binary.BigEndian.Uint64(m.CDB[2:]), uint64(binary.BigEndian.Uint32(m.CDB[10:]))
	}
	off, n, ok := m.place(lba, blocks, nil)
	if !ok {
		return
	}
	if len(data) == 0 {
		m.changed(m.unit.Medium.zero(off, n))
		return
	}
	m.changed(m.unit.Medium.write(off, bytes.Repeat(data, int(n)/len(data))))
}

func (m *Command) unmap(data []byte) {
	list, err := scsi.DecodeUnmapList(nil, data, scsi.MaxUnmapListRanges)
	if err != nil {
		m.Check(scsi.CodeInvalidFieldInParameters)
		return
	}
	for _, r := range list {
		off, n, ok := m.place(r.LBA, uint64(r.Blocks), nil)
		if !ok {
			return
		}
		m.unit.Medium.zero(off, n)
	}
	m.Answer(nil)
}

func (m *Command) compareAndWrite(data []byte) {
	c, err := scsi.DecodeCompareAndWrite((*[16]byte)(&m.CDB))
	off, n, ok := m.place(c.LBA, uint64(c.Blocks), err)
	switch {
	case !ok:
		return
	case uint64(len(data)) != 2*n:
		m.Check(scsi.CodeInvalidFieldInCDB)
		return
	}
	equal, fits := m.unit.Medium.exchange(off, data[:n], data[n:])
	if fits && !equal {
		m.Check(scsi.CodeMiscompareDuringVerify)
		return
	}
	m.changed(fits)
}
