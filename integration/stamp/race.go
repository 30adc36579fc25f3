// SPDX-License-Identifier: Apache-2.0

package stamp

import "slices"

// raced tells whether the contents of a sector, which are no stamp, are what a
// read sees that is served in the middle of a write. A target that keeps its
// disk in a file does that: the kernel copies page cache in and out without a
// lock, so both copies may meet inside a sector. It is permissible only while
// a write to the sector was in flight together with the read, and only if the
// sector consists of bytes of values that the read might have returned. In what
// order they alternate says nothing: copies by string instructions store cache
// lines in no order, and a load may see any of them first.
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
	for at := range SectorSize {
		if !slices.ContainsFunc(pieces, func(p []byte) bool { return b[at] == p[at] }) {
			return false
		}
	}
	return true
}
