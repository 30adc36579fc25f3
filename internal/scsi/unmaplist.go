// SPDX-License-Identifier: Apache-2.0

package scsi

import "encoding/binary"

// BlockRange is a range of logical blocks.
type BlockRange struct {
	// LBA of the first block; Blocks their number, 0 = none.
	LBA    uint64
	Blocks uint32
}

const (
	unmapHeader     = 8
	unmapDescriptor = 16
	// MaxUnmapListRanges is what the 16-bit lengths of UNMAP can hold.
	MaxUnmapListRanges = (0xffff - unmapHeader) / unmapDescriptor
)

// UnmapListBytes returns the length of an UNMAP parameter list with n ranges.
func UnmapListBytes(n int) int { return unmapHeader + n*unmapDescriptor }

// AppendUnmapList appends the parameter list of UNMAP. It allocates only if dst
// has no room. Ranges behind MaxUnmapListRanges are cut: the caller splits.
func AppendUnmapList(dst []byte, ranges []BlockRange) []byte {
	ranges = ranges[:min(len(ranges), MaxUnmapListRanges)]
	n := UnmapListBytes(len(ranges))
	dst = binary.BigEndian.AppendUint16(dst, uint16(n-2))
	dst = binary.BigEndian.AppendUint16(dst, uint16(n-unmapHeader))
	dst = append(dst, 0, 0, 0, 0)
	for _, r := range ranges {
		dst = binary.BigEndian.AppendUint64(dst, r.LBA)
		dst = binary.BigEndian.AppendUint32(dst, r.Blocks)
		dst = append(dst, 0, 0, 0, 0)
	}
	return dst
}

// DecodeUnmapList reads the parameter list of UNMAP and appends its ranges, at
// most limit, to dst; more are ErrMalformed (answer 5/26/00). Lengths beyond b
// are ErrTruncated (answer 5/1A/00). A last descriptor that the block
// descriptor data length leaves incomplete is ignored, as SBC-3 wants. Overlap
// and the range of LBAs are not looked at.
func DecodeUnmapList(dst []BlockRange, b []byte, limit int) ([]BlockRange, error) {
	const object = "UNMAP list"
	if len(b) < unmapHeader {
		return dst, truncated(object, len(b), unmapHeader)
	}
	total := 2 + int(binary.BigEndian.Uint16(b))
	n := int(binary.BigEndian.Uint16(b[2:]))
	switch {
	case total > len(b):
		return dst, truncated(object, len(b), total)
	case unmapHeader+n > total:
		return dst, truncated(object, total, unmapHeader+n)
	case n/unmapDescriptor > limit:
		return dst, malformed(object, "too many ranges")
	}
	for p := b[unmapHeader : unmapHeader+n]; len(p) >= unmapDescriptor; p = p[unmapDescriptor:] {
		dst = append(dst, BlockRange{LBA: binary.BigEndian.Uint64(p), Blocks: binary.BigEndian.Uint32(p[8:])})
	}
	return dst, nil
}

// ProvisioningStatus is what GET LBA STATUS tells of a range.
type ProvisioningStatus uint8

// Provisioning status values (SBC-3, LBA status descriptor).
const (
	Mapped      ProvisioningStatus = 0 // mapped, or unknown
	Deallocated ProvisioningStatus = 1
	Anchored    ProvisioningStatus = 2
)

// LBAStatus is one descriptor of GET LBA STATUS data.
type LBAStatus struct {
	// BlockRange it is about.
	BlockRange
	// Status of all its blocks.
	Status ProvisioningStatus
}

const (
	lbaStatusHeader     = 8
	lbaStatusDescriptor = 16
)

// DecodeLBAStatus reads GET LBA STATUS data and appends the descriptors that b
// holds completely to dst. Unlike elsewhere, a length beyond b is no error: the
// data is meant to be cut by the allocation length. No descriptor at all is
// ErrTruncated; a descriptor without blocks, or one that does not follow the one
// before, is ErrMalformed.
func DecodeLBAStatus(dst []LBAStatus, b []byte) ([]LBAStatus, error) {
	const object = "GET LBA STATUS data"
	if len(b) < lbaStatusHeader+lbaStatusDescriptor {
		return dst, truncated(object, len(b), lbaStatusHeader+lbaStatusDescriptor)
	}
	n := 4 + uint64(binary.BigEndian.Uint32(b))
	if n < lbaStatusHeader+lbaStatusDescriptor {
		return dst, malformed(object, "no descriptor")
	}
	p := b[lbaStatusHeader:min(n, uint64(len(b)))]
	for first, next := true, uint64(0); len(p) >= lbaStatusDescriptor; first = false {
		s := LBAStatus{
			BlockRange: BlockRange{LBA: binary.BigEndian.Uint64(p), Blocks: binary.BigEndian.Uint32(p[8:])},
			Status:     ProvisioningStatus(p[12] & 0x0f),
		}
		if s.Blocks == 0 || !first && s.LBA != next {
			return dst, malformed(object, "descriptors do not follow each other")
		}
		next = s.LBA + uint64(s.Blocks)
		dst = append(dst, s)
		p = p[lbaStatusDescriptor:]
	}
	return dst, nil
}

// AppendLBAStatus appends GET LBA STATUS data.
func AppendLBAStatus(dst []byte, list []LBAStatus) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(4+len(list)*lbaStatusDescriptor))
	dst = append(dst, 0, 0, 0, 0)
	for _, s := range list {
		dst = binary.BigEndian.AppendUint64(dst, s.LBA)
		dst = binary.BigEndian.AppendUint32(dst, s.Blocks)
		dst = append(dst, byte(s.Status)&0x0f, 0, 0, 0)
	}
	return dst
}
