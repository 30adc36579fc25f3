// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"fmt"
	"math/bits"

	"pathgate/backends"
)

const (
	// maxMinBlock is the largest minimum block size that NBD can tell (NBD
	// proto.md "Size constraints").
	maxMinBlock = 1 << 16
	// maxPayloadLimit is the payload that is never an attack, and the most that
	// is accepted (same section).
	maxPayloadLimit = 1 << 25
	// minPreferred is the smallest preferred block size that NBD allows.
	minPreferred = 1 << 9
)

// geometry is what requests are checked against and split by. It is replaced,
// never changed, when the device changes.
type geometry struct {
	size      uint64
	blockMask uint64 // logical block - 1
	// The longest request that the device takes, in bytes, a multiple of the
	// logical block; 0: no limit.
	maxTransfer, maxUnmap, maxZeroes uint64
	canStatus                        bool // the device tells holes from data
	holesZero                        bool // a hole reads as zeros
}

// newGeometry takes the device's description. Limits below one block are one block.
func newGeometry(info *backends.Info) *geometry {
	block := uint64(info.LogicalBlock)
	whole := func(n uint64) uint64 {
		if n == 0 {
			return 0
		}
		return max(n&^(block-1), block)
	}
	return &geometry{
		size: info.Size, blockMask: block - 1,
		maxTransfer: whole(uint64(info.MaxTransfer)),
		maxUnmap:    whole(info.MaxUnmap), maxZeroes: whole(info.MaxZeroes),
		canStatus: info.Caps.Has(backends.CanBlockStatus),
		holesZero: info.Caps.Has(backends.UnmapZeroes),
	}
}

// limit gives the longest request of op; 0: none.
func (g *geometry) limit(op backends.Op) uint64 {
	switch op {
	case backends.Read, backends.Write:
		return g.maxTransfer
	case backends.Unmap:
		return g.maxUnmap
	case backends.WriteZeroes:
		return g.maxZeroes
	default:
		return 0
	}
}

// checkInfo tells why a device cannot be exported.
func checkInfo(info *backends.Info) error {
	b := info.LogicalBlock
	switch {
	case b == 0 || bits.OnesCount32(b) != 1 || b > maxMinBlock:
		return fmt.Errorf("logical block of %d bytes cannot be told over NBD", b)
	case info.Size%uint64(b) != 0:
		return fmt.Errorf("size %d is not a multiple of the logical block of %d bytes", info.Size, b)
	}
	return nil
}

// exportFlags gives the transmission flags of a device. Flush, FUA and write
// zeroes always work (backends.Device), the latter at the price of plain writes
// where the device knows no better, which a fast zero is told by ENOTSUP;
// CAN_MULTI_CONN only by the device's own word.
func exportFlags(caps backends.Caps) txFlags {
	f := txHasFlags | txSendFlush | txSendFUA | txSendWriteZeroes | txSendFastZero
	for _, m := range [...]struct {
		cap  backends.Caps
		flag txFlags
	}{
		{backends.ReadOnly, txReadOnly},
		{backends.Rotational, txRotational},
		{backends.CanUnmap, txSendTrim},
		{backends.MultiConn, txCanMultiConn},
		{backends.CanCache, txSendCache},
	} {
		if caps.Has(m.cap) {
			f |= m.flag
		}
	}
	if f&txReadOnly != 0 {
		f &^= txSendTrim | txSendWriteZeroes | txSendFastZero
	}
	return f
}

// blockSizes gives the three size constraints: minimum, preferred, maximum
// payload.
func blockSizes(info *backends.Info, maxPayload uint32) (minimum, preferred, payload uint32) {
	minimum = info.LogicalBlock
	preferred = max(info.PhysicalBlock, minimum, minPreferred)
	if bits.OnesCount32(preferred) != 1 || preferred > maxPayload {
		preferred = max(minimum, minPreferred)
	}
	return minimum, preferred, max(maxPayload, preferred)
}
