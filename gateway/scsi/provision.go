// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"errors"
	"slices"

	"pathgate/backends"
	"pathgate/internal/buffer"
	"pathgate/internal/scsi"
)

const (
	// unmapRanges is how many ranges one UNMAP may have.
	unmapRanges = 256
	// writeSameBlocks bounds one WRITE SAME, which may become as many plain writes.
	writeSameBlocks = 1<<16 - 1
	// statusDescriptors bounds the data of GET LBA STATUS.
	statusDescriptors = 1024
)

// checkSynchronize reads SYNCHRONIZE CACHE of both sizes. It is a flush of all.
func checkSynchronize(t *task) scsi.Sense {
	c, err := scsi.DecodeSynchronizeCache(t.raw())
	if err != nil {
		return scsi.CodeInvalidFieldInCDB.Sense()
	}
	return t.setRange(c.LBA, uint64(c.Blocks))
}

// synchronize is SYNCHRONIZE CACHE. With IMMED it is answered as late, which that
// bit allows.
func synchronize(b *backends.Batch, t *task) { t.begin(b, step{op: backends.Flush}) }

// checkPrefetch reads PRE-FETCH of both sizes; 0 blocks go to the last one.
func checkPrefetch(t *task) scsi.Sense {
	c, err := scsi.DecodePrefetch(t.raw())
	if err != nil {
		return scsi.CodeInvalidFieldInCDB.Sense()
	}
	blocks := uint64(c.Blocks)
	if g := t.l.u.geometry.Load(); blocks == 0 && c.LBA <= g.blocks {
		blocks = g.blocks - c.LBA
	}
	return t.setRange(c.LBA, blocks)
}

// prefetch is PRE-FETCH. GOOD, not CONDITION MET: no cache is promised.
func prefetch(b *backends.Batch, t *task) {
	d := &t.demand
	if !t.l.u.geometry.Load().caps.Has(backends.CanCache) {
		t.finish(b, backends.Done())
		return
	}
	t.begin(b, step{op: backends.Cache, offset: d.offset, bytes: min(d.bytes, uint64(t.l.u.cfg.MaxTransfer))})
}

// checkUnmap reads UNMAP.
func checkUnmap(t *task) scsi.Sense {
	c, err := scsi.DecodeUnmap(t.raw())
	if err != nil {
		return scsi.CodeInvalidFieldInCDB.Sense()
	}
	if c.Anchor {
		return badField(1, 0)
	}
	t.demand.dir, t.demand.length = scsi.DataOut, uint64(c.ParameterListLength)
	return scsi.Sense{}
}

// unmap is UNMAP: its ranges one after the other. All of them are checked before
// the first is begun.
func unmap(b *backends.Batch, t *task) {
	d := &t.demand
	if d.length == 0 {
		t.finish(b, backends.Done())
		return
	}
	list, err := scsi.DecodeUnmapList(nil, t.c.Out.Bytes(), unmapRanges)
	switch {
	case errors.Is(err, scsi.ErrTruncated):
		t.deny(b, scsi.CodeParameterListLength.Sense())
		return
	case err != nil:
		t.deny(b, badParameter(2))
		return
	}
	g := t.l.u.geometry.Load()
	for _, r := range list {
		if r.LBA > g.blocks || uint64(r.Blocks) > g.blocks-r.LBA {
			t.deny(b, scsi.CodeLBAOutOfRange.Sense())
			return
		}
	}
	list = slices.DeleteFunc(list, func(r scsi.BlockRange) bool { return r.Blocks == 0 })
	var next func() (step, bool)
	next = func() (step, bool) {
		if len(list) == 0 {
			return step{}, false
		}
		r := list[0]
		list = list[1:]
		return step{
			op: backends.Unmap, offset: r.LBA * g.blockSize, bytes: uint64(r.Blocks) * g.blockSize,
			limit: g.maxUnmap, then: next,
		}, true
	}
	if s, ok := next(); ok {
		t.begin(b, s)
		return
	}
	t.finish(b, backends.Done())
}

// deny ends t with sense data, from within run.
func (t *task) deny(b *backends.Batch, s scsi.Sense) {
	t.c.fail(s)
	t.finish(b, backends.Done())
}

// checkWriteSame reads WRITE SAME of both sizes. WSNZ is set: 0 blocks are
// refused.
func checkWriteSame(t *task) scsi.Sense {
	c, err := scsi.DecodeWriteSame(t.raw())
	if err != nil {
		return scsi.CodeInvalidFieldInCDB.Sense()
	}
	u := t.l.u
	switch {
	case c.Anchor:
		return badField(1, 4)
	case c.Unmap && !u.geometry.Load().caps.Has(backends.CanUnmap):
		return badField(1, 3)
	}
	if s := t.setRange(c.LBA, uint64(c.Blocks)); s.Key != scsi.NoSense {
		return s
	}
	if c.Blocks == 0 || c.Blocks > writeSameBlocks {
		return badField(lengthField(c.Size), scsi.NoBit)
	}
	d := &t.demand
	d.unmap, d.fua = c.Unmap, u.writeThrough.Load()
	if !c.NoDataOut {
		d.dir, d.length, d.exact = scsi.DataOut, uint64(u.cfg.BlockSize), true
		d.work = min(d.bytes, pieceMost)
	}
	return scsi.Sense{}
}

// writeSame is WRITE SAME: zeros by the device's own operation, which unmaps if
// it may, other blocks by plain writes.
func writeSame(b *backends.Batch, t *task) {
	d, g := &t.demand, t.l.u.geometry.Load()
	if zero(t.c.Out) {
		t.begin(b, step{
			op: backends.WriteZeroes, fua: d.fua, noUnmap: !d.unmap,
			offset: d.offset, bytes: d.bytes, limit: g.maxZeroes,
		})
		return
	}
	limit := pieceLimit(g.maxTransfer)
	n := min(limit, d.bytes)
	seg := buffer.Get(int(n))
	block := t.c.Out.Bytes()[:g.blockSize]
	for at := uint64(0); at < n; at += g.blockSize {
		copy(seg.Bytes()[at:], block)
	}
	var run buffer.Vec
	run.Append(seg.Slice(0, int(n)))
	t.cleanup = func() { run.Release() }
	t.begin(b, step{
		op: backends.Write, fua: d.fua, offset: d.offset, bytes: d.bytes, limit: limit,
		fill: func(p *piece) { p.req.Data.AppendRange(run, 0, int(p.req.Length)) },
	})
}

// zero tells whether v has no byte that is not 0.
func zero(v buffer.Vec) bool {
	for i := range v {
		for _, x := range v[i].B {
			if x != 0 {
				return false
			}
		}
	}
	return true
}

// checkLBAStatus reads GET LBA STATUS.
func checkLBAStatus(t *task) scsi.Sense {
	c, err := scsi.DecodeGetLBAStatus(t.raw())
	if err != nil {
		return scsi.CodeInvalidFieldInCDB.Sense()
	}
	g := t.l.u.geometry.Load()
	if c.LBA >= g.blocks {
		return scsi.CodeLBAOutOfRange.Sense()
	}
	d := &t.demand
	d.dir, d.alloc = scsi.DataIn, uint64(c.AllocationLength)
	return t.setRange(c.LBA, min(g.blocks-c.LBA, 1<<32-1))
}

// lbaStatus is GET LBA STATUS. A device that cannot tell has all blocks mapped.
func lbaStatus(b *backends.Batch, t *task) {
	d, g := &t.demand, t.l.u.geometry.Load()
	one := scsi.LBAStatus{BlockRange: scsi.BlockRange{LBA: d.lba, Blocks: uint32(d.blocks)}}
	if !g.caps.Has(backends.CanBlockStatus) {
		t.reply(scsi.AppendLBAStatus(nil, []scsi.LBAStatus{one}))
		t.finish(b, backends.Done())
		return
	}
	t.begin(b, step{
		op: backends.BlockStatus, offset: d.offset, bytes: d.bytes,
		took: func(p *piece, res backends.Result) backends.Result {
			if res.OK() {
				t.reply(scsi.AppendLBAStatus(nil, statusOf(p.req.Extents, d.lba, d.blocks, g.blockSize)))
			}
			return res
		},
	})
}

// statusOf makes whole blocks of extents: a block is deallocated when all of it
// is.
func statusOf(list []backends.Extent, lba, blocks, size uint64) []scsi.LBAStatus {
	var out []scsi.LBAStatus
	end := lba + blocks
	add := func(until uint64, s scsi.ProvisioningStatus) {
		until = min(until, end)
		if until <= lba {
			return
		}
		if n := len(out); n > 0 && out[n-1].Status == s {
			out[n-1].Blocks += uint32(until - lba)
		} else if n < statusDescriptors {
			out = append(out, scsi.LBAStatus{BlockRange: scsi.BlockRange{LBA: lba, Blocks: uint32(until - lba)}, Status: s})
		}
		lba = until
	}
	at := lba * size
	for i := 0; i < len(list); i++ {
		e := list[i]
		for i+1 < len(list) && list[i+1].Hole == e.Hole {
			i++
			e.Length += list[i].Length
		}
		next := at + e.Length
		if e.Hole {
			add((at+size-1)/size, scsi.Mapped)
			add(next/size, scsi.Deallocated)
		} else {
			add((next+size-1)/size, scsi.Mapped)
		}
		at = next
	}
	if len(out) == 0 { // less than a block was told
		add(lba+1, scsi.Mapped)
	}
	return out
}
