// SPDX-License-Identifier: Apache-2.0

package stamp

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// SectorSize is the unit of stamps in bytes.
const SectorSize = 512

const magic = "pgstamp1"

// Stamp identifies one sector of one write.
type Stamp struct {
	Run    uint64 // tells runs on the same disk apart
	LBA    uint64 // in units of SectorSize
	Writer uint32
	Seq    uint64 // of the writer, from 1
}

var (
	errNoStamp = errors.New("no stamp of this run")
	errTorn    = errors.New("stamp and contents of the sector do not fit")
)

// Put fills the 512 bytes of b: magic, run, LBA, writer, sequence, pattern, CRC32C.
func (s Stamp) Put(b []byte) {
	_ = b[SectorSize-1]
	copy(b, magic)
	le := binary.LittleEndian
	le.PutUint64(b[8:], s.Run)
	le.PutUint64(b[16:], s.LBA)
	le.PutUint64(b[24:], uint64(s.Writer))
	le.PutUint64(b[32:], s.Seq)
	x := (s.Run ^ s.LBA<<32 ^ uint64(s.Writer)<<20 ^ s.Seq) * 0x9e3779b97f4a7c15
	for i := 40; i < SectorSize; i += 8 { // xorshift64: every word differs between two stamps
		x |= 1
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		le.PutUint64(b[i:], x)
	}
	le.PutUint32(b[SectorSize-4:], crc32.Checksum(b[:SectorSize-4], crc32.MakeTable(crc32.Castagnoli)))
}

// parse reads the stamp of a sector. errTorn: it begins as a stamp of this run
// but has been damaged.
func parse(b []byte, run uint64) (Stamp, error) {
	le := binary.LittleEndian
	s := Stamp{Run: le.Uint64(b[8:]), LBA: le.Uint64(b[16:]), Writer: uint32(le.Uint64(b[24:])), Seq: le.Uint64(b[32:])}
	if string(b[:8]) != magic || s.Run != run && run != 0 {
		return s, errNoStamp
	}
	if crc32.Checksum(b[:SectorSize-4], crc32.MakeTable(crc32.Castagnoli)) != le.Uint32(b[SectorSize-4:]) {
		return s, errTorn
	}
	return s, nil
}
