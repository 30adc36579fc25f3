// SPDX-License-Identifier: Apache-2.0

package scsi

import "encoding/binary"

// BlockLimits is VPD page B0h (SBC-3; the atomic fields SBC-4). Lengths count
// blocks; 0 means that the target says nothing.
type BlockLimits struct {
	// WriteSameNonZero (WSNZ): WRITE SAME with 0 blocks is refused.
	WriteSameNonZero bool
	// MaxCompareAndWrite: 0 = COMPARE AND WRITE is not supported.
	MaxCompareAndWrite uint8
	// OptimalGranularity: transfers should be a multiple of it.
	OptimalGranularity uint16
	// MaxTransfer: longer READ, WRITE or VERIFY are refused.
	MaxTransfer uint32
	// OptimalTransfer: longer transfers are slower.
	OptimalTransfer uint32
	// MaxPrefetch for PRE-FETCH.
	MaxPrefetch uint32
	// MaxUnmapBlocks for one UNMAP over all ranges; 0 = UNMAP is not supported,
	// ffffffffh = no limit. MaxUnmapRanges is the number of ranges, likewise.
	MaxUnmapBlocks, MaxUnmapRanges uint32
	// UnmapGranularity: only whole multiples are really unmapped.
	UnmapGranularity uint32
	// UnmapAlignment is the first LBA of such a multiple; counts if
	// UnmapAlignmentValid (UGAVALID). 31 bits.
	UnmapAlignment      uint32
	UnmapAlignmentValid bool
	// MaxWriteSame for one WRITE SAME; 0 = not told.
	MaxWriteSame uint64
	// MaxAtomic and the four others bound WRITE ATOMIC; 0 = not supported.
	MaxAtomic, AtomicAlignment, AtomicGranularity uint32
	MaxAtomicBoundary, MaxAtomicBoundarySize      uint32
}

const (
	blockLimitsBytes    = 60 // payload in SBC-3 and later
	blockLimitsBytesOld = 12 // payload in SBC-2
	maxUnmapAlignment   = 0x7fffffff
)

// DecodeBlockLimits reads VPD page B0h; fields behind a shorter page are 0.
func DecodeBlockLimits(b []byte) (BlockLimits, error) {
	var p [blockLimitsBytes]byte
	if err := vpdAtLeast(b, PageBlockLimits, p[:], blockLimitsBytesOld); err != nil {
		return BlockLimits{}, err
	}
	be := binary.BigEndian
	return BlockLimits{
		WriteSameNonZero:      p[0]&0x01 != 0,
		MaxCompareAndWrite:    p[1],
		OptimalGranularity:    be.Uint16(p[2:]),
		MaxTransfer:           be.Uint32(p[4:]),
		OptimalTransfer:       be.Uint32(p[8:]),
		MaxPrefetch:           be.Uint32(p[12:]),
		MaxUnmapBlocks:        be.Uint32(p[16:]),
		MaxUnmapRanges:        be.Uint32(p[20:]),
		UnmapGranularity:      be.Uint32(p[24:]),
		UnmapAlignment:        be.Uint32(p[28:]) & maxUnmapAlignment,
		UnmapAlignmentValid:   p[28]&0x80 != 0,
		MaxWriteSame:          be.Uint64(p[32:]),
		MaxAtomic:             be.Uint32(p[40:]),
		AtomicAlignment:       be.Uint32(p[44:]),
		AtomicGranularity:     be.Uint32(p[48:]),
		MaxAtomicBoundary:     be.Uint32(p[52:]),
		MaxAtomicBoundarySize: be.Uint32(p[56:]),
	}, nil
}

// Append appends VPD page B0h (64 bytes).
func (l BlockLimits) Append(dst []byte, p Peripheral) []byte {
	var b [blockLimitsBytes]byte
	be := binary.BigEndian
	b[0] = bit(l.WriteSameNonZero, 0x01)
	b[1] = l.MaxCompareAndWrite
	be.PutUint16(b[2:], l.OptimalGranularity)
	be.PutUint32(b[4:], l.MaxTransfer)
	be.PutUint32(b[8:], l.OptimalTransfer)
	be.PutUint32(b[12:], l.MaxPrefetch)
	be.PutUint32(b[16:], l.MaxUnmapBlocks)
	be.PutUint32(b[20:], l.MaxUnmapRanges)
	be.PutUint32(b[24:], l.UnmapGranularity)
	be.PutUint32(b[28:], l.UnmapAlignment&maxUnmapAlignment)
	b[28] |= bit(l.UnmapAlignmentValid, 0x80)
	be.PutUint64(b[32:], l.MaxWriteSame)
	be.PutUint32(b[40:], l.MaxAtomic)
	be.PutUint32(b[44:], l.AtomicAlignment)
	be.PutUint32(b[48:], l.AtomicGranularity)
	be.PutUint32(b[52:], l.MaxAtomicBoundary)
	be.PutUint32(b[56:], l.MaxAtomicBoundarySize)
	return AppendVPD(dst, p, PageBlockLimits, b[:])
}

// Rotation rates of Characteristics that are no speed.
const (
	RotationUnknown uint16 = 0 // not reported
	NotRotating     uint16 = 1 // solid state
)

// Characteristics is VPD page B1h, block device characteristics (SBC-3).
type Characteristics struct {
	// RotationRate in revolutions a minute, or one of the constants above.
	RotationRate uint16
	// ProductType and FormFactor are codes of the page; 0 = not told.
	ProductType, FormFactor uint8
	// BlockErase (WABEREQ) and CryptoErase (WACEREQ) tell what reads give after a
	// SANITIZE of that kind, until the next write: 0 = not told, or there is no
	// such SANITIZE; 1 = they succeed; 2 and 3 = they fail.
	BlockErase, CryptoErase uint8
	// FUAB: SYNCHRONIZE CACHE also covers non-volatile caches.
	FUAB bool
	// VBULS: VERIFY of unmapped blocks works.
	VBULS bool
}

// DecodeCharacteristics reads VPD page B1h.
func DecodeCharacteristics(b []byte) (Characteristics, error) {
	var p [60]byte
	if err := vpdAtLeast(b, PageCharacteristics, p[:], 4); err != nil {
		return Characteristics{}, err
	}
	return Characteristics{
		RotationRate: binary.BigEndian.Uint16(p[0:]), ProductType: p[2], FormFactor: p[3] & 0x0f,
		BlockErase: p[3] >> 6, CryptoErase: p[3] >> 4 & 3, FUAB: p[4]&0x02 != 0, VBULS: p[4]&0x01 != 0,
	}, nil
}

// Append appends VPD page B1h (64 bytes).
func (c Characteristics) Append(dst []byte, p Peripheral) []byte {
	var b [60]byte
	binary.BigEndian.PutUint16(b[0:], c.RotationRate)
	b[2], b[3] = c.ProductType, c.BlockErase<<6|c.CryptoErase&3<<4|c.FormFactor&0x0f
	b[4] = bit(c.FUAB, 0x02) | bit(c.VBULS, 0x01)
	return AppendVPD(dst, p, PageCharacteristics, b[:])
}

// Values of Provisioning.Type.
const (
	ProvisioningUnknown  uint8 = 0 // fully provisioned, or not told
	ProvisioningResource uint8 = 1
	ProvisioningThin     uint8 = 2
)

// Provisioning is VPD page B2h, logical block provisioning (SBC-3).
type Provisioning struct {
	// ThresholdExponent: a threshold set holds 2^n blocks; 0 = no thresholds.
	ThresholdExponent uint8
	// Unmap (LBPU): UNMAP works.
	Unmap bool
	// WriteSame16 (LBPWS) and WriteSame10 (LBPWS10): WRITE SAME with UNMAP works.
	WriteSame16, WriteSame10 bool
	// ReadZeros is LBPRZ, 3 bits: 0 = unmapped blocks read as anything, 1 in the
	// lowest bit = zeroes, 2 = a pattern of the vendor.
	ReadZeros uint8
	// Anchor (ANC_SUP): blocks can be anchored.
	Anchor bool
	// Type is the provisioning type.
	Type uint8
}

// DecodeProvisioning reads VPD page B2h. A provisioning group descriptor behind
// the fixed part is passed over.
func DecodeProvisioning(b []byte) (Provisioning, error) {
	var p [4]byte
	if err := vpdAtLeast(b, PageProvisioning, p[:], 4); err != nil {
		return Provisioning{}, err
	}
	return Provisioning{
		ThresholdExponent: p[0], Unmap: p[1]&0x80 != 0, WriteSame16: p[1]&0x40 != 0, WriteSame10: p[1]&0x20 != 0,
		ReadZeros: p[1] >> 2 & 7, Anchor: p[1]&0x02 != 0, Type: p[2] & 7,
	}, nil
}

// Append appends VPD page B2h (8 bytes).
func (v Provisioning) Append(dst []byte, p Peripheral) []byte {
	flags := bit(v.Unmap, 0x80) | bit(v.WriteSame16, 0x40) | bit(v.WriteSame10, 0x20) |
		v.ReadZeros&7<<2 | bit(v.Anchor, 0x02)
	return AppendVPD(dst, p, PageProvisioning, []byte{v.ThresholdExponent, flags, v.Type & 7, 0})
}
