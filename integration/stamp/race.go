// SPDX-License-Identifier: Apache-2.0

package stamp

// maxPieces bounds the pieces that a sector may be put together of: two cuts
// for each of two writes that were copied in while it was copied out.
const maxPieces = 4

// raced tells whether the contents of a sector, which are no stamp, are what a
// read sees that is served in the middle of a write. A target that keeps its
// disk in a file does that: the kernel copies page cache in and out without a
// lock, so both copies may meet inside a sector. It is permissible only while
// a write to the sector was in flight together with the read, and only if the
// sector consists of pieces of values that the read might have returned.
func (m *model) raced(r read, values []value, lba uint64, b []byte) bool {
	beside := false
	var pieces [][]byte
	for i := range values {
		v, allowed := &values[i], true
		for j := range values {
			allowed = allowed && (i == j || !values[j].blocks(v, r.start))
		}
		if !allowed {
			continue
		}
		beside = beside || v.op.end > r.start
		if v.op != m.initial {
			p := make([]byte, SectorSize)
			Stamp{Run: m.run, LBA: lba, Writer: v.op.writer, Seq: v.op.seq}.Put(p)
			pieces = append(pieces, p)
		} else if zero := make([]byte, SectorSize); hash(zero) == m.hashes[lba] {
			pieces = append(pieces, zero)
		} else {
			pieces = append(pieces, b) // only the hash is known: anything may be of it
		}
	}
	if !beside {
		return false
	}
	for n, at := 0, 0; n < maxPieces; n++ {
		longest := 0
		for _, p := range pieces {
			longest = max(longest, common(b[at:], p[at:]))
		}
		if at += longest; at == SectorSize {
			return true
		}
	}
	return false
}

// common returns the length of the common prefix of a and b.
func common(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return len(a)
}
