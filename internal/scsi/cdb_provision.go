// SPDX-License-Identifier: Apache-2.0

package scsi

import "encoding/binary"

// WriteSame is WRITE SAME(10) or (16) (SBC-3).
type WriteSame struct {
	// Size of the CDB: 10 or 16. Zero: 10 where the range fits and NoDataOut is
	// not set, else 16.
	Size int
	// LBA of the first block.
	LBA uint64
	// Blocks to write; 0 = to the last block, unless the block limits page says
	// WSNZ.
	Blocks uint32
	// Unmap: the device may unmap the blocks instead of writing them.
	Unmap bool
	// Anchor: the device may anchor them; only together with Unmap.
	Anchor bool
	// NoDataOut (NDOB, SBC-4): write zeroes, no data-out. WRITE SAME(16) only.
	NoDataOut bool
	// Protect is WRPROTECT, Group the GROUP NUMBER.
	Protect, Group uint8
}

const (
	bitAnchorWS = 0x10
	bitUnmapWS  = 0x08
	bitNDOB     = 0x01
)

// Encode fills b and returns the CDB's length, or 0 if a field does not fit.
// It does not allocate.
func (c WriteSame) Encode(b *[16]byte) int {
	size := cdbSize(c.Size, c.LBA, c.Blocks)
	if c.Size == 0 && c.NoDataOut {
		size = 16
	}
	op := OpWriteSame16
	switch size {
	case 10:
		op = OpWriteSame10
		if c.NoDataOut {
			return 0
		}
	case 16:
	default:
		return 0
	}
	start(b, op)
	if c.Protect > maxProtect {
		return 0
	}
	b[1] = c.Protect<<5 | bit(c.Anchor, bitAnchorWS) | bit(c.Unmap, bitUnmapWS) | bit(c.NoDataOut, bitNDOB)
	return putRange(b, size, c.LBA, c.Blocks, c.Group)
}

// DecodeWriteSame reads a WRITE SAME.
func DecodeWriteSame(b *[16]byte) (WriteSame, error) {
	var c WriteSame
	switch Opcode(b[0]) {
	case OpWriteSame10:
		c.Size = 10
	case OpWriteSame16:
		c.Size = 16
		c.NoDataOut = b[1]&bitNDOB != 0
	default:
		return WriteSame{}, ErrOpcode
	}
	c.LBA, c.Blocks, c.Group = getRange(b, c.Size)
	c.Protect = b[1] >> 5
	c.Anchor, c.Unmap = b[1]&bitAnchorWS != 0, b[1]&bitUnmapWS != 0
	return c, nil
}

// Unmap is UNMAP (SBC-3). The ranges are in its parameter list, UnmapList.
type Unmap struct {
	// Anchor: anchor the blocks instead of deallocating them.
	Anchor bool
	// Group is the GROUP NUMBER.
	Group uint8
	// ParameterListLength in bytes: UnmapListBytes of the number of ranges.
	ParameterListLength uint16
}

// Encode fills b and returns 10, or 0 if a field does not fit.
// It does not allocate.
func (c Unmap) Encode(b *[16]byte) int {
	start(b, OpUnmap)
	b[1] = bit(c.Anchor, 0x01)
	return putRange(b, 10, 0, uint32(c.ParameterListLength), c.Group)
}

// DecodeUnmap reads an UNMAP.
func DecodeUnmap(b *[16]byte) (Unmap, error) {
	if Opcode(b[0]) != OpUnmap {
		return Unmap{}, ErrOpcode
	}
	_, n, group := getRange(b, 10)
	return Unmap{Anchor: b[1]&0x01 != 0, Group: group, ParameterListLength: uint16(n)}, nil
}

// GetLBAStatus is GET LBA STATUS (SBC-3), 16 bytes.
type GetLBAStatus struct {
	// LBA from which on the status is asked.
	LBA uint64
	// AllocationLength in bytes: 8, and 16 for each descriptor.
	AllocationLength uint32
	// ReportType (SBC-4), 0 = all.
	ReportType uint8
}

// Encode fills b and returns 16.
func (c GetLBAStatus) Encode(b *[16]byte) int {
	start(b, OpServiceActionIn16)
	b[1] = ActionGetLBAStatus
	binary.BigEndian.PutUint64(b[2:], c.LBA)
	binary.BigEndian.PutUint32(b[10:], c.AllocationLength)
	b[14] = c.ReportType
	return 16
}

// DecodeGetLBAStatus reads a GET LBA STATUS.
func DecodeGetLBAStatus(b *[16]byte) (GetLBAStatus, error) {
	if Opcode(b[0]) != OpServiceActionIn16 || b[1]&0x1f != ActionGetLBAStatus {
		return GetLBAStatus{}, ErrOpcode
	}
	return GetLBAStatus{
		LBA:              binary.BigEndian.Uint64(b[2:]),
		AllocationLength: binary.BigEndian.Uint32(b[10:]),
		ReportType:       b[14],
	}, nil
}
