// SPDX-License-Identifier: Apache-2.0

package iscsi

import "strconv"

// TaskAttribute is the SAM task attribute of a command. RFC 7143 11.3.1 (Flags and Task Attributes (Byte 1)).
type TaskAttribute uint8

// The task attributes.
const (
	Untagged TaskAttribute = iota
	Simple
	Ordered
	HeadOfQueue
	ACA
)

// String returns the RFC's word.
func (a TaskAttribute) String() string {
	switch a {
	case Untagged:
		return "untagged"
	case Simple:
		return "simple"
	case Ordered:
		return "ordered"
	case HeadOfQueue:
		return "head of queue"
	case ACA:
		return "ACA"
	}
	return "attribute " + strconv.Itoa(int(a))
}

const (
	bitRead       = 0x40
	bitWrite      = 0x20
	attributeMask = 0x07
	offEDTL       = 20
	offCDB        = 32
)

// SCSICommand carries a CDB, and immediate data if there is any. RFC 7143 11.3 (SCSI Command).
type SCSICommand struct {
	Immediate         bool
	Final             bool // no unsolicited Data-Out follows; always set without Write
	Read, Write       bool
	Attribute         TaskAttribute
	TotalAHSLength    int    // bytes, a multiple of 4, at most 1020
	DataSegmentLength uint32 // immediate data
	LUN               LUNField
	ITT               InitiatorTaskTag

	// ExpectedDataTransferLength (EDTL) is in bytes; of the write direction when both Read and Write are set.
	ExpectedDataTransferLength uint32

	CmdSN     Serial
	ExpStatSN Serial
	CDB       [16]byte // the rest of a longer CDB is in an AHS
}

// DecodeSCSICommand reads the header. CodeFormat: reserved task attribute, ITT NoTag, neither W nor F, a length without
// a direction, immediate data without W.
func DecodeSCSICommand(h *BHS) (SCSICommand, error) {
	if err := h.expect(OpSCSICommand); err != nil {
		return SCSICommand{}, err
	}
	f := h.Flags()
	p := SCSICommand{
		Immediate:                  h.Immediate(),
		Final:                      f&bitFinal != 0,
		Read:                       f&bitRead != 0,
		Write:                      f&bitWrite != 0,
		Attribute:                  TaskAttribute(f & attributeMask),
		TotalAHSLength:             h.TotalAHSLength(),
		DataSegmentLength:          h.DataSegmentLength(),
		LUN:                        h.LUN(),
		ITT:                        h.ITT(),
		ExpectedDataTransferLength: h.u32(offEDTL),
		CmdSN:                      h.CmdSN(),
		ExpStatSN:                  h.ExpStatSN(),
		CDB:                        [16]byte(h[offCDB:]),
	}
	switch {
	case p.Attribute > ACA:
		return SCSICommand{}, fault(CodeFormat, "SCSI Command with a reserved task attribute")
	case p.ITT == NoTag:
		return SCSICommand{}, fault(CodeFormat, "SCSI Command without a task tag")
	case !p.Write && !p.Final:
		return SCSICommand{}, fault(CodeFormat, "SCSI Command with neither W nor F")
	case !p.Write && !p.Read && p.ExpectedDataTransferLength != 0:
		return SCSICommand{}, fault(CodeFormat, "SCSI Command with a transfer length but no direction")
	case !p.Write && p.DataSegmentLength != 0:
		return SCSICommand{}, fault(CodeFormat, "SCSI Command with immediate data but no W")
	}
	return p, nil
}

// Encode writes all of h. It panics when TotalAHSLength is no multiple of 4 or above 1020.
func (p SCSICommand) Encode(h *BHS) {
	if p.TotalAHSLength < 0 || p.TotalAHSLength > totalAHSWords*4 || p.TotalAHSLength%4 != 0 {
		panic("iscsi: TotalAHSLength does not fit")
	}
	h.start(OpSCSICommand, p.Immediate,
		flag(p.Final, bitFinal)|flag(p.Read, bitRead)|flag(p.Write, bitWrite)|byte(p.Attribute)&attributeMask)
	h[offTotalAHSLength] = byte(p.TotalAHSLength / 4)
	h.SetDataSegmentLength(p.DataSegmentLength)
	h.putLUN(p.LUN)
	h.putITT(p.ITT)
	h.put32(offEDTL, p.ExpectedDataTransferLength)
	h.SetCmdSN(p.CmdSN)
	h.SetExpStatSN(p.ExpStatSN)
	copy(h[offCDB:], p.CDB[:])
}
