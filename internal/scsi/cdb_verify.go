// SPDX-License-Identifier: Apache-2.0

package scsi

// ByteCheck is the BYTCHK field of VERIFY and WRITE AND VERIFY (SBC-3).
type ByteCheck uint8

const (
	// ByteCheckMedium: read the medium, no data-out (VERIFY); 00b.
	ByteCheckMedium ByteCheck = 0
	// ByteCheckData: compare with data-out, one block for each block; 01b.
	ByteCheckData ByteCheck = 1
	// ByteCheckReserved must be refused with 5/24/00; 10b.
	ByteCheckReserved ByteCheck = 2
	// ByteCheckOneBlock: compare every block with the one block of data-out;
	// 11b, VERIFY only.
	ByteCheckOneBlock ByteCheck = 3
)

// Verify is VERIFY or WRITE AND VERIFY of 10, 12 or 16 bytes.
type Verify struct {
	// Write selects WRITE AND VERIFY.
	Write bool
	// Size of the CDB: 10, 12 or 16. Zero: 10 where the range fits, else 16.
	Size int
	// LBA of the first block.
	LBA uint64
	// Blocks to verify.
	Blocks uint32
	// ByteCheck tells what is compared.
	ByteCheck ByteCheck
	// DPO: disable page out.
	DPO bool
	// Protect is VRPROTECT or WRPROTECT, Group the GROUP NUMBER.
	Protect, Group uint8
}

// Encode fills b and returns the CDB's length, or 0 if a field does not fit.
func (c Verify) Encode(b *[16]byte) int {
	size := cdbSize(c.Size, c.LBA, c.Blocks)
	start(b, verifyOpcode(size, c.Write))
	if c.Protect > maxProtect || c.ByteCheck > ByteCheckOneBlock || size == 6 {
		return 0
	}
	b[1] = c.Protect<<5 | bit(c.DPO, bitDPO) | byte(c.ByteCheck)<<1
	return putRange(b, size, c.LBA, c.Blocks, c.Group)
}

func verifyOpcode(size int, write bool) Opcode {
	verify, wr := OpVerify16, OpWriteVerify16
	switch size {
	case 10:
		verify, wr = OpVerify10, OpWriteVerify10
	case 12:
		verify, wr = OpVerify12, OpWriteVerify12
	}
	if write {
		return wr
	}
	return verify
}

// DecodeVerify reads a VERIFY or WRITE AND VERIFY.
func DecodeVerify(b *[16]byte) (Verify, error) {
	var c Verify
	switch Opcode(b[0]) {
	case OpVerify10, OpWriteVerify10:
		c.Size = 10
	case OpVerify12, OpWriteVerify12:
		c.Size = 12
	case OpVerify16, OpWriteVerify16:
		c.Size = 16
	default:
		return Verify{}, ErrOpcode
	}
	c.Write = b[0]&0x01 == 0 // VERIFY is xxFh, WRITE AND VERIFY is xxEh
	c.LBA, c.Blocks, c.Group = getRange(b, c.Size)
	c.Protect, c.DPO = b[1]>>5, b[1]&bitDPO != 0
	c.ByteCheck = ByteCheck(b[1] >> 1 & 3)
	return c, nil
}
