// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"encoding/binary"
	"errors"
)

// Service actions of EXTENDED COPY and RECEIVE COPY RESULTS with a list
// identifier of 8 bits (SPC-4, LID1).
const (
	ActionExtendedCopy        = 0x00
	ActionCopyStatus          = 0x00
	ActionOperatingParameters = 0x03
)

// Errors of DecodeCopyList, beside ErrTruncated (answer 5/1A/00).
var (
	ErrTooManyTargets     = errors.New("too many target descriptors")              // 5/26/06
	ErrTargetDescriptor   = errors.New("unsupported target descriptor type code")  // 5/26/07
	ErrTooManySegments    = errors.New("too many segment descriptors")             // 5/26/08
	ErrSegmentDescriptor  = errors.New("unsupported segment descriptor type code") // 5/26/09
	ErrInlineDataExceeded = errors.New("inline data length exceeded")              // 5/26/0B
)

// Type codes of the descriptors that are known here, and their lengths.
const (
	CopyIdentification = 0xe4 // identification descriptor, a target descriptor
	CopyBlockToBlock   = 0x02 // block to block, a segment descriptor

	copyHeader  = 16
	copyTarget  = 32
	copySegment = 28
)

// CopyTarget is an identification descriptor: a logical unit by its designator.
type CopyTarget struct {
	Designator Designator // borrows the input
	// BlockSize is DISK BLOCK LENGTH, 24 bits.
	BlockSize uint32
}

// CopySegment is a block to block segment descriptor.
type CopySegment struct {
	// Source and Destination are indices of target descriptors.
	Source, Destination uint16
	// Blocks to copy, of the source's size, or with ByDestination (DC) the other's.
	Blocks        uint16
	ByDestination bool
	// SourceLBA and DestinationLBA are the first blocks.
	SourceLBA, DestinationLBA uint64
}

// CopyList is the parameter list of EXTENDED COPY (LID1) with the descriptors
// that disks use.
type CopyList struct {
	ID uint8
	// Usage is LIST ID USAGE: 0 = hold the status, 2 = discard it, 3 = no identifier.
	Usage    uint8
	Targets  []CopyTarget
	Segments []CopySegment
}

// CopyLimits bound what DecodeCopyList takes.
type CopyLimits struct {
	Targets, Segments int
	// ListBytes bounds all descriptors together.
	ListBytes int
}

// DecodeCopyList reads the parameter list of EXTENDED COPY (LID1).
func DecodeCopyList(b []byte, limit CopyLimits) (CopyList, error) {
	const object = "EXTENDED COPY list"
	if len(b) < copyHeader {
		return CopyList{}, truncated(object, len(b), copyHeader)
	}
	l := CopyList{ID: b[0], Usage: b[1] >> 3 & 3}
	targets, segments := int(binary.BigEndian.Uint16(b[2:])), uint64(binary.BigEndian.Uint32(b[8:]))
	need := uint64(copyHeader+targets) + segments
	switch {
	case need > uint64(copyHeader+limit.ListBytes), need > uint64(len(b)), targets%copyTarget != 0:
		return CopyList{}, truncated(object, len(b), int(min(need, 1<<31-1)))
	case targets/copyTarget > limit.Targets:
		return CopyList{}, ErrTooManyTargets
	case binary.BigEndian.Uint32(b[12:]) != 0:
		return CopyList{}, ErrInlineDataExceeded
	}
	p := b[copyHeader:]
	for d := p[:targets]; len(d) > 0; d = d[copyTarget:] {
		t, err := decodeCopyTarget(d[:copyTarget])
		if err != nil {
			return CopyList{}, err
		}
		l.Targets = append(l.Targets, t)
	}
	for d := p[targets : uint64(targets)+segments]; len(d) > 0; {
		if d[0] != CopyBlockToBlock {
			return CopyList{}, ErrSegmentDescriptor
		}
		if len(d) < copySegment {
			return CopyList{}, truncated(object, len(d), copySegment)
		}
		if len(l.Segments) == limit.Segments {
			return CopyList{}, ErrTooManySegments
		}
		l.Segments = append(l.Segments, CopySegment{
			ByDestination: d[1]&0x02 != 0,
			Source:        binary.BigEndian.Uint16(d[4:]), Destination: binary.BigEndian.Uint16(d[6:]),
			Blocks:    binary.BigEndian.Uint16(d[10:]),
			SourceLBA: binary.BigEndian.Uint64(d[12:]), DestinationLBA: binary.BigEndian.Uint64(d[20:]),
		})
		d = d[copySegment:]
	}
	return l, nil
}

func decodeCopyTarget(d []byte) (CopyTarget, error) {
	if d[0] != CopyIdentification {
		return CopyTarget{}, ErrTargetDescriptor
	}
	n := int(d[7])
	if n > 20 {
		return CopyTarget{}, malformed("identification descriptor", "designator above 20 bytes")
	}
	return CopyTarget{
		Designator: Designator{
			CodeSet: CodeSet(d[4] & 0x0f), Type: DesignatorType(d[5] & 0x0f), Association: Association(d[5] >> 4 & 3),
			Value: d[8 : 8+n : 8+n],
		},
		BlockSize: uint32(d[29])<<16 | uint32(d[30])<<8 | uint32(d[31]),
	}, nil
}

// Append appends the list. Designators above 20 bytes are cut.
func (l CopyList) Append(dst []byte) []byte {
	dst = append(dst, l.ID, l.Usage<<3)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(l.Targets)*copyTarget))
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(l.Segments)*copySegment))
	dst = append(dst, 0, 0, 0, 0)
	for _, t := range l.Targets {
		var d [copyTarget]byte
		d[0] = CopyIdentification
		d[4] = byte(t.Designator.CodeSet)
		d[5] = byte(t.Designator.Association)<<4 | byte(t.Designator.Type)
		d[7] = byte(copy(d[8:28], t.Designator.Value))
		d[29], d[30], d[31] = byte(t.BlockSize>>16), byte(t.BlockSize>>8), byte(t.BlockSize)
		dst = append(dst, d[:]...)
	}
	for _, s := range l.Segments {
		var d [copySegment]byte
		d[0], d[1] = CopyBlockToBlock, bit(s.ByDestination, 0x02)
		d[3] = copySegment - 4
		binary.BigEndian.PutUint16(d[4:], s.Source)
		binary.BigEndian.PutUint16(d[6:], s.Destination)
		binary.BigEndian.PutUint16(d[10:], s.Blocks)
		binary.BigEndian.PutUint64(d[12:], s.SourceLBA)
		binary.BigEndian.PutUint64(d[20:], s.DestinationLBA)
		dst = append(dst, d[:]...)
	}
	return dst
}
