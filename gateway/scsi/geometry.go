// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"cmp"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// geometry is what commands are checked against and split by. It is replaced,
// never changed, when the device changes.
type geometry struct {
	blocks    uint64
	blockSize uint64
	physical  uint64 // physical block in bytes, at least blockSize
	unit      uint64 // the device's logical block in bytes
	caps      backends.Caps
	cache     backends.CacheMode
	available bool
	// The longest request that the device takes, in bytes, a multiple of the
	// logical block; 0: no limit.
	maxTransfer, maxUnmap, maxZeroes uint64
	compare                          uint64 // the same for COMPARE AND WRITE
	optimal                          uint64 // preferred transfer in bytes; 0: none
	atomic                           uint64 // longest WRITE ATOMIC in bytes; 0: none
}

// canWriteAtomic is among the capabilities of a geometry whose device promises
// more than one block.
const canWriteAtomic backends.Caps = 1 << 15

func newGeometry(info *backends.Info, cfg *UnitConfig) *geometry {
	block := uint64(cfg.BlockSize)
	whole := func(n uint64) uint64 {
		if n == 0 {
			return 0
		}
		return max(n&^(block-1), block)
	}
	g := &geometry{
		blocks: info.Size / block, blockSize: block, unit: uint64(info.LogicalBlock), physical: max(uint64(cmp.Or(cfg.PhysicalBlock, info.PhysicalBlock)), block),
		caps: info.Caps, cache: info.WriteCache, available: info.Available,
		maxTransfer: whole(uint64(info.MaxTransfer)), optimal: uint64(info.OptimalTransfer),
		maxUnmap: whole(info.MaxUnmap), maxZeroes: whole(info.MaxZeroes),
	}
	if g.compare = info.CompareLimit() &^ (block - 1); g.compare == 0 && info.CompareLimit() > 0 {
		g.caps &^= backends.CanCompareAndWrite // not even a block
	}
	g.atomic = min(uint64(info.MaxAtomic), uint64(cfg.MaxTransfer)) &^ (block - 1)
	if g.maxTransfer != 0 {
		g.atomic = min(g.atomic, g.maxTransfer)
	}
	if g.atomic > block {
		g.caps |= canWriteAtomic
	}
	return g
}

// limit gives the longest request of op in bytes; 0: none.
func (g *geometry) limit(op backends.Op) uint64 {
	switch op {
	case backends.Read, backends.Write, backends.Verify:
		return g.maxTransfer
	case backends.CompareAndWrite:
		return g.compare
	case backends.Unmap:
		return g.maxUnmap
	case backends.WriteZeroes:
		return g.maxZeroes
	default:
		return 0
	}
}

// blockRange is a range of the medium and what is done with it.
type blockRange struct {
	op            backends.Op // 0: the entry's run decides
	fua           bool
	lba           uint64
	blocks        uint64
	offset, bytes uint64 // the same in bytes
}

// setRange checks that the range is on the medium and writes it to t's demand.
func (t *task) setRange(lba, blocks uint64) scsi.Sense {
	g := t.l.u.geometry.Load()
	if lba > g.blocks || blocks > g.blocks-lba {
		return scsi.CodeLBAOutOfRange.Sense()
	}
	r := &t.demand.blockRange
	r.lba, r.blocks = lba, blocks
	r.offset, r.bytes = lba*g.blockSize, blocks*g.blockSize
	return scsi.Sense{}
}
