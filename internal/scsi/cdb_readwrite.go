// SPDX-License-Identifier: Apache-2.0

package scsi

// Bits of byte 1 that the block commands share.
const (
	bitDPO     = 0x10
	bitFUA     = 0x08
	maxProtect = 7
)

// ReadWrite is READ or WRITE of 6, 10, 12 or 16 bytes (SBC-3).
type ReadWrite struct {
	// Write selects WRITE; READ else.
	Write bool
	// Size of the CDB: 6, 10, 12 or 16. Zero: 10 where the range fits, else 16.
	Size int
	// LBA of the first block.
	LBA uint64
	// Blocks to transfer; 0 transfers none, and READ(6) and WRITE(6) cannot say
	// it. Byte 4 = 0 of those decodes as 256.
	Blocks uint32
	// FUA: force unit access, answered from and to the medium. Not in 6 bytes.
	FUA bool
	// DPO: disable page out, a hint. Not in 6 bytes.
	DPO bool
	// Protect is RDPROTECT or WRPROTECT, 0-7; 0 without protection information.
	Protect uint8
	// Group is the GROUP NUMBER, 0-63.
	Group uint8
}

// Encode fills b and returns the CDB's length, or 0 if a field does not fit.
// It does not allocate.
func (c ReadWrite) Encode(b *[16]byte) int {
	size := cdbSize(c.Size, c.LBA, c.Blocks)
	start(b, readWriteOpcode(size, c.Write))
	if c.Protect > maxProtect || size == 6 && (c.FUA || c.DPO || c.Protect != 0) {
		return 0
	}
	b[1] = c.Protect<<5 | bit(c.DPO, bitDPO) | bit(c.FUA, bitFUA)
	return putRange(b, size, c.LBA, c.Blocks, c.Group)
}

func readWriteOpcode(size int, write bool) Opcode {
	read, wr := OpRead16, OpWrite16
	switch size {
	case 6:
		read, wr = OpRead6, OpWrite6
	case 10:
		read, wr = OpRead10, OpWrite10
	case 12:
		read, wr = OpRead12, OpWrite12
	}
	if write {
		return wr
	}
	return read
}

// DecodeReadWrite reads a READ or WRITE; other operation codes are ErrOpcode.
// It does not allocate.
func DecodeReadWrite(b *[16]byte) (ReadWrite, error) {
	var c ReadWrite
	switch Opcode(b[0]) {
	case OpRead6, OpWrite6:
		c.Size = 6
	case OpRead10, OpWrite10:
		c.Size = 10
	case OpRead12, OpWrite12:
		c.Size = 12
	case OpRead16, OpWrite16:
		c.Size = 16
	default:
		return ReadWrite{}, ErrOpcode
	}
	c.Write = b[0]&0x02 != 0 // READ is xx8h, WRITE is xxAh
	c.LBA, c.Blocks, c.Group = getRange(b, c.Size)
	if c.Size != 6 {
		c.Protect = b[1] >> 5
		c.DPO, c.FUA = b[1]&bitDPO != 0, b[1]&bitFUA != 0
	}
	return c, nil
}

// WriteAtomic is WRITE ATOMIC(16) (SBC-4): all blocks or none.
type WriteAtomic struct {
	// LBA of the first block.
	LBA uint64
	// Boundary is the ATOMIC BOUNDARY in blocks; 0 = one atomic write.
	Boundary uint16
	// Blocks to write, at most MAXIMUM ATOMIC TRANSFER LENGTH.
	Blocks uint16
	// FUA and DPO as in ReadWrite.
	FUA, DPO bool
	// Protect is WRPROTECT, Group the GROUP NUMBER.
	Protect, Group uint8
}

// Encode fills b and returns 16, or 0 if a field does not fit.
func (c WriteAtomic) Encode(b *[16]byte) int {
	start(b, OpWriteAtomic16)
	if c.Protect > maxProtect {
		return 0
	}
	b[1] = c.Protect<<5 | bit(c.DPO, bitDPO) | bit(c.FUA, bitFUA)
	return putRange(b, 16, c.LBA, uint32(c.Boundary)<<16|uint32(c.Blocks), c.Group)
}

// DecodeWriteAtomic reads a WRITE ATOMIC(16).
func DecodeWriteAtomic(b *[16]byte) (WriteAtomic, error) {
	if Opcode(b[0]) != OpWriteAtomic16 {
		return WriteAtomic{}, ErrOpcode
	}
	lba, n, group := getRange(b, 16)
	return WriteAtomic{
		LBA: lba, Boundary: uint16(n >> 16), Blocks: uint16(n),
		FUA: b[1]&bitFUA != 0, DPO: b[1]&bitDPO != 0, Protect: b[1] >> 5, Group: group,
	}, nil
}

// CompareAndWrite is COMPARE AND WRITE (SBC-3). Its data-out is twice Blocks:
// the verify instance, then the write instance.
type CompareAndWrite struct {
	// LBA of the first block.
	LBA uint64
	// Blocks to compare and to write; 0 does nothing.
	Blocks uint8
	// FUA and DPO as in ReadWrite.
	FUA, DPO bool
	// Protect is WRPROTECT, Group the GROUP NUMBER.
	Protect, Group uint8
}

// Encode fills b and returns 16, or 0 if a field does not fit.
func (c CompareAndWrite) Encode(b *[16]byte) int {
	start(b, OpCompareAndWrite)
	if c.Protect > maxProtect {
		return 0
	}
	b[1] = c.Protect<<5 | bit(c.DPO, bitDPO) | bit(c.FUA, bitFUA)
	return putRange(b, 16, c.LBA, uint32(c.Blocks), c.Group)
}

// DecodeCompareAndWrite reads a COMPARE AND WRITE. Bytes 10-12 are reserved.
func DecodeCompareAndWrite(b *[16]byte) (CompareAndWrite, error) {
	if Opcode(b[0]) != OpCompareAndWrite {
		return CompareAndWrite{}, ErrOpcode
	}
	lba, n, group := getRange(b, 16)
	return CompareAndWrite{
		LBA: lba, Blocks: uint8(n),
		FUA: b[1]&bitFUA != 0, DPO: b[1]&bitDPO != 0, Protect: b[1] >> 5, Group: group,
	}, nil
}
