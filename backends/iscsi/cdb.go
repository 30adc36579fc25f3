// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"pathgate/backends"
	"pathgate/internal/buffer"
	"pathgate/internal/scsi"
)

const (
	// zeroBytes is the most zeros that one WRITE of a WriteZeroes carries.
	zeroBytes = 1 << 20
	// maxBlocks is the most blocks that a 32-bit length field can name.
	maxBlocks = 0xffffffff
	// statusExtents is the number of extents that one BlockStatus asks for.
	statusExtents = 64
	// statusBytes is the length of a GET LBA STATUS answer with that many.
	statusBytes = 8 + 16*statusExtents
	// flushStep as waiter.step: all bytes are done, and a flush is left.
	flushStep = ^uint64(0)
)

// plan turns r, of which step bytes are done, into the next command: it fills the
// CDB, sets t's direction, length, payload and span. r has passed check.
func plan(cdb *[16]byte, t *task, r *backends.Request, step uint64, g *backends.Geometry) {
	bs := uint64(g.LogicalBlock)
	lba, blocks := r.Offset/bs, r.Length/bs
	t.req, t.step = r, step
	if step == flushStep {
		scsi.SynchronizeCache{}.Encode(cdb)
		return
	}
	t.span = r.Length
	fua := r.FUA && g.FUA
	switch r.Op {
	case backends.Read:
		scsi.ReadWrite{LBA: lba, Blocks: uint32(blocks)}.Encode(cdb)
		t.read, t.edtl = true, uint32(r.Length)
	case backends.Write:
		scsi.ReadWrite{Write: true, LBA: lba, Blocks: uint32(blocks), FUA: fua}.Encode(cdb)
		t.write, t.edtl, t.out = true, uint32(r.Length), r.Data
	case backends.Flush:
		scsi.SynchronizeCache{}.Encode(cdb)
	case backends.CompareAndWrite:
		scsi.CompareAndWrite{LBA: lba, Blocks: uint8(blocks), FUA: fua}.Encode(cdb)
		t.write, t.edtl, t.out = true, uint32(2*r.Length), r.Data
	case backends.Verify:
		v := scsi.Verify{LBA: lba, Blocks: uint32(blocks)}
		if len(r.Data) > 0 {
			v.ByteCheck = scsi.ByteCheckData
			t.write, t.edtl, t.out = true, uint32(r.Length), r.Data
		}
		v.Size = 16
		v.Encode(cdb)
	case backends.Cache:
		scsi.Prefetch{LBA: lba, Blocks: uint32(blocks), Immediate: true}.Encode(cdb)
	case backends.BlockStatus:
		scsi.GetLBAStatus{LBA: lba, AllocationLength: statusBytes}.Encode(cdb)
		t.read, t.edtl = true, statusBytes
	case backends.Unmap:
		planUnmap(cdb, t, lba+step/bs, blocks-step/bs, bs)
	case backends.WriteZeroes:
		planZeroes(cdb, t, lba+step/bs, blocks-step/bs, g, fua)
	}
}

// planUnmap unmaps as many blocks as one range of the list can name.
func planUnmap(cdb *[16]byte, t *task, lba, blocks, bs uint64) {
	n := min(blocks, maxBlocks)
	t.span = n * bs
	size := scsi.UnmapListBytes(1)
	seg := buffer.Get(size)
	scsi.AppendUnmapList(seg.Bytes()[:0], []scsi.BlockRange{{LBA: lba, Blocks: uint32(n)}})
	t.own.Append(seg.Slice(0, size))
	t.write, t.edtl, t.out = true, uint32(size), t.own
	scsi.Unmap{ParameterListLength: uint16(size)}.Encode(cdb)
}

// planZeroes zeroes by WRITE SAME(16) with one block of zeros, which every target
// with that command takes (NDOB is ignored by older ones, which would then wait
// for data that we do not send), or by a WRITE of zeros. The target may unmap the
// blocks where that leaves zeros and the request does not mind.
func planZeroes(cdb *[16]byte, t *task, lba, blocks uint64, g *backends.Geometry, fua bool) {
	bs := uint64(g.LogicalBlock)
	t.write = true
	if g.WriteSame {
		n := min(blocks, maxBlocks)
		t.span = n * bs
		t.own.AppendZeros(int(bs))
		t.edtl, t.out = uint32(bs), t.own
		scsi.WriteSame{Size: 16, LBA: lba, Blocks: uint32(n), Unmap: g.UnmapSame && !t.req.NoUnmap}.Encode(cdb)
		return
	}
	n := min(blocks, max(zeroBytes/bs, 1))
	if g.MaxBlocks != 0 {
		n = min(n, uint64(g.MaxBlocks))
	}
	t.span = n * bs
	t.own.AppendZeros(int(t.span))
	t.edtl, t.out = uint32(t.span), t.own
	scsi.ReadWrite{Write: true, LBA: lba, Blocks: uint32(n), FUA: fua}.Encode(cdb)
}

// nextStep gives the step that follows t, done well; false when there is none.
func nextStep(t *task, g *backends.Geometry) (uint64, bool) {
	r := t.req
	if r.Op != backends.Unmap && r.Op != backends.WriteZeroes || t.step == flushStep {
		return 0, false
	}
	done := t.step + t.span
	if done < r.Length {
		return done, true
	}
	// UNMAP and WRITE SAME have no FUA bit.
	if r.FUA && g.FUA && (r.Op == backends.Unmap || g.WriteSame) {
		return flushStep, true
	}
	return 0, false
}

// extents reads the answer to r, a BlockStatus, into r.Extents. False: the answer
// is not about the range.
func extents(r *backends.Request, data buffer.Vec, g *backends.Geometry) bool {
	var room [statusExtents]scsi.LBAStatus
	list, err := scsi.DecodeLBAStatus(room[:0], data.Bytes())
	bs := uint64(g.LogicalBlock)
	if err != nil || len(list) == 0 || list[0].LBA > r.Offset/bs {
		return false
	}
	at, end := r.Offset, r.Offset+r.Length
	r.Extents = r.Extents[:0]
	for _, d := range list {
		if d.LBA > ^uint64(0)/bs-uint64(d.Blocks) {
			break
		}
		stop := min((d.LBA+uint64(d.Blocks))*bs, end)
		if stop <= at {
			continue
		}
		r.Extents = append(r.Extents, backends.Extent{Length: stop - at, Hole: d.Status != scsi.Mapped})
		at = stop
	}
	return len(r.Extents) > 0
}
