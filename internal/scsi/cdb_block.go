// SPDX-License-Identifier: Apache-2.0

package scsi

import "encoding/binary"

// The commands that name a block range share one layout per CDB size (SBC-3):
//
//	 6: LBA 21 bits in bytes 1-3, blocks in 4 (0 means 256)
//	10: LBA in 2-5, group number in 6, blocks in 7-8
//	12: LBA in 2-5, blocks in 6-9, group number in 10
//	16: LBA in 2-9, blocks in 10-13, group number in 14

const groupMask = 0x3f // GROUP NUMBER; 5 bits in SBC-3, 6 in SBC-4

// cdbSize returns the CDB size to use: the one asked for, or the shorter of
// 10 and 16 that holds the range.
func cdbSize(size int, lba uint64, blocks uint32) int {
	if size != 0 {
		return size
	}
	if lba > 0xffffffff || blocks > 0xffff {
		return 16
	}
	return 10
}

// putRange writes the range and returns size, or 0 when it does not fit.
func putRange(b *[16]byte, size int, lba uint64, blocks uint32, group uint8) int {
	if group > groupMask {
		return 0
	}
	switch size {
	case 6:
		if lba > 0x1fffff || blocks == 0 || blocks > 256 || group != 0 {
			return 0
		}
		b[1] |= byte(lba >> 16)
		binary.BigEndian.PutUint16(b[2:], uint16(lba))
		b[4] = byte(blocks)
	case 10:
		if lba > 0xffffffff || blocks > 0xffff {
			return 0
		}
		binary.BigEndian.PutUint32(b[2:], uint32(lba))
		b[6] = group
		binary.BigEndian.PutUint16(b[7:], uint16(blocks))
	case 12:
		if lba > 0xffffffff {
			return 0
		}
		binary.BigEndian.PutUint32(b[2:], uint32(lba))
		binary.BigEndian.PutUint32(b[6:], blocks)
		b[10] = group
	case 16:
		binary.BigEndian.PutUint64(b[2:], lba)
		binary.BigEndian.PutUint32(b[10:], blocks)
		b[14] = group
	default:
		return 0
	}
	return size
}

// getRange reads what putRange wrote.
func getRange(b *[16]byte, size int) (lba uint64, blocks uint32, group uint8) {
	switch size {
	case 6:
		blocks = uint32(b[4])
		if blocks == 0 {
			blocks = 256
		}
		return uint64(b[1]&0x1f)<<16 | uint64(binary.BigEndian.Uint16(b[2:])), blocks, 0
	case 10:
		return uint64(binary.BigEndian.Uint32(b[2:])), uint32(binary.BigEndian.Uint16(b[7:])), b[6] & groupMask
	case 12:
		return uint64(binary.BigEndian.Uint32(b[2:])), binary.BigEndian.Uint32(b[6:]), b[10] & groupMask
	default:
		return binary.BigEndian.Uint64(b[2:]), binary.BigEndian.Uint32(b[10:]), b[14] & groupMask
	}
}
