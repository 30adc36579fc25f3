// SPDX-License-Identifier: Apache-2.0

package scsi

const bitImmedCache = 0x02 // IMMED of SYNCHRONIZE CACHE and PRE-FETCH

// SynchronizeCache is SYNCHRONIZE CACHE(10) or (16) (SBC-3). The zero value
// flushes the whole logical unit and waits for it.
type SynchronizeCache struct {
	// Size of the CDB: 10 or 16. Zero: 10 where the range fits, else 16.
	Size int
	// LBA of the first block.
	LBA uint64
	// Blocks to flush; 0 = from LBA to the last block.
	Blocks uint32
	// Immediate: status is returned before the cache is clean, so it proves
	// nothing. Never set it for a flush that someone waits for.
	Immediate bool
	// Group is the GROUP NUMBER.
	Group uint8
}

// Encode fills b and returns the CDB's length, or 0 if a field does not fit.
// It does not allocate.
func (c SynchronizeCache) Encode(b *[16]byte) int {
	return encodeCache(b, OpSynchronizeCache10, OpSynchronizeCache16, c)
}

// DecodeSynchronizeCache reads a SYNCHRONIZE CACHE.
func DecodeSynchronizeCache(b *[16]byte) (SynchronizeCache, error) {
	return decodeCache(b, OpSynchronizeCache10, OpSynchronizeCache16)
}

// Prefetch is PRE-FETCH(10) or (16) (SBC-3); same fields as SynchronizeCache.
// CONDITION MET is its success when all blocks fit into the cache.
type Prefetch SynchronizeCache

// Encode fills b and returns the CDB's length, or 0 if a field does not fit.
func (c Prefetch) Encode(b *[16]byte) int {
	return encodeCache(b, OpPrefetch10, OpPrefetch16, SynchronizeCache(c))
}

// DecodePrefetch reads a PRE-FETCH.
func DecodePrefetch(b *[16]byte) (Prefetch, error) {
	c, err := decodeCache(b, OpPrefetch10, OpPrefetch16)
	return Prefetch(c), err
}

func encodeCache(b *[16]byte, op10, op16 Opcode, c SynchronizeCache) int {
	size := cdbSize(c.Size, c.LBA, c.Blocks)
	op := op16
	switch size {
	case 10:
		op = op10
	case 16:
	default:
		return 0
	}
	start(b, op)
	b[1] = bit(c.Immediate, bitImmedCache)
	return putRange(b, size, c.LBA, c.Blocks, c.Group)
}

func decodeCache(b *[16]byte, op10, op16 Opcode) (SynchronizeCache, error) {
	var c SynchronizeCache
	switch Opcode(b[0]) {
	case op10:
		c.Size = 10
	case op16:
		c.Size = 16
	default:
		return c, ErrOpcode
	}
	c.LBA, c.Blocks, c.Group = getRange(b, c.Size)
	c.Immediate = b[1]&bitImmedCache != 0
	return c, nil
}
