// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"encoding/binary"
	"hash/crc32"
)

// corrupt flips bits of one span in place, as the faults in force say. PDUs
// are complete here, except one that was under way when the fault was set.
func (u *pump) corrupt(st *state, s span, b []byte) {
	for _, f := range st.faults {
		if f.Kind != Corrupt || !f.on(u.conn.id, u.dir) {
			continue
		}
		lo, hi := 0, len(b)
		if u.framer.protocol == ISCSI {
			if !s.whole {
				continue
			}
			if f.Part == Header {
				hi = s.pdu.segmentLen()
			} else {
				lo, hi = s.pdu.headerLen(), s.pdu.headerLen()+s.pdu.DataLen
			}
		}
		flips := u.flips(f, s, b, lo, hi)
		if flips == 0 {
			continue
		}
		if f.Repair && u.framer.protocol == ISCSI {
			repair(s.pdu, b)
		}
		e := u.effect(Corrupt)
		e.times.add(flips)
		e.bytes.add(len(b))
	}
}

// flips changes b[lo:hi] and returns how many bits it flipped.
func (u *pump) flips(f *active, s span, b []byte, lo, hi int) int {
	if hi <= lo {
		return 0
	}
	if f.At != nil {
		off, ok := f.fires(s.pdu)
		if !ok {
			return 0
		}
		if off < lo || off >= hi {
			off = lo + u.rand.IntN(hi-lo)
		}
		b[off] ^= 1 << u.rand.IntN(8)
		return 1
	}
	n := 0
	for i := int64(lo); ; {
		if u.flipIn == 0 {
			u.flipIn = 1 + int64(u.rand.ExpFloat64()*float64(f.MeanBytes))
		}
		if left := int64(hi) - i; u.flipIn > left {
			u.flipIn -= left
			return n
		}
		i += u.flipIn
		b[i-1] ^= 1 << u.rand.IntN(8)
		u.flipIn = 0
		n++
	}
}

// repair makes the digests of a complete PDU fit its bytes (RFC 7143 13.1:
// CRC32C, over the padding too; least significant byte first on the wire).
func repair(p PDU, b []byte) {
	table := crc32.MakeTable(crc32.Castagnoli)
	if n := p.segmentLen(); p.digests.header {
		binary.LittleEndian.PutUint32(b[n:], crc32.Checksum(b[:n], table))
	}
	if p.digests.data && p.DataLen > 0 {
		lo, hi := p.headerLen(), p.Len()-4
		binary.LittleEndian.PutUint32(b[hi:], crc32.Checksum(b[lo:hi], table))
	}
}
