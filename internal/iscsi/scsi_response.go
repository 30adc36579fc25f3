// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"encoding/binary"
	"strconv"
)

// ServiceResponse tells whether the command was completed by the device server. RFC 7143 11.4.3 (Response).
type ServiceResponse uint8

// The service responses; 0x80-0xff are vendor specific.
const (
	CommandCompleted ServiceResponse = 0x00
	TargetFailure    ServiceResponse = 0x01
)

// String returns the RFC's words.
func (r ServiceResponse) String() string {
	switch r {
	case CommandCompleted:
		return "command completed at target"
	case TargetFailure:
		return "target failure"
	}
	return "response 0x" + strconv.FormatUint(uint64(r), 16)
}

// Residual is a difference between what was expected and what was transferred. At most one of the flags is set; with
// none, Count is 0. RFC 7143 11.4.5 (Residual Count).
type Residual struct {
	Overflow  bool // the expected length was Count bytes too small
	Underflow bool // Count of the expected bytes were not transferred
	Count     uint32
}

const (
	bitBidiOverflow      = 0x10
	bitBidiUnderflow     = 0x08
	bitOverflow          = 0x04
	bitUnderflow         = 0x02
	offResponse          = 2
	offStatus            = 3
	offSNACKTag          = 20
	offExpDataSN         = 36
	offBidiResidualCount = 40
)

// decodeResidual takes the two flag bits already masked. ok is false when both are set.
func decodeResidual(overflow, underflow bool, count uint32) (r Residual, ok bool) {
	if overflow && underflow {
		return Residual{}, false
	}
	if overflow || underflow {
		r = Residual{Overflow: overflow, Underflow: underflow, Count: count}
	}
	return r, true
}

func (r Residual) wireCount() uint32 {
	if r.Overflow || r.Underflow {
		return r.Count
	}
	return 0
}

// SCSIResponse ends a SCSI task. RFC 7143 11.4 (SCSI Response).
type SCSIResponse struct {
	Response          ServiceResponse
	Status            uint8 // SAM status; 0 unless Response is CommandCompleted
	DataSegmentLength uint32
	ITT               InitiatorTaskTag
	SNACKTag          uint32
	Numbers
	ExpDataSN    Serial   // number of Data-In PDUs sent for the command
	Residual     Residual // of the write direction when the command was bidirectional
	BidiResidual Residual // of the read direction of a bidirectional command
}

// DecodeSCSIResponse reads the header. CodeFormat: reserved response code, overflow and underflow together (11.4.1).
// Unless Response is CommandCompleted, status and residuals are undefined and come out as zero (11.4.3).
func DecodeSCSIResponse(h *BHS) (SCSIResponse, error) {
	if err := h.expect(OpSCSIResponse); err != nil {
		return SCSIResponse{}, err
	}
	p := SCSIResponse{
		Response:          ServiceResponse(h[offResponse]),
		DataSegmentLength: h.DataSegmentLength(),
		ITT:               h.ITT(),
		SNACKTag:          h.u32(offSNACKTag),
		Numbers:           h.numbers(),
	}
	if p.Response > TargetFailure && p.Response < 0x80 {
		return SCSIResponse{}, fault(CodeFormat, "SCSI Response with a reserved response code")
	}
	if p.Response != CommandCompleted {
		return p, nil
	}
	f := h.Flags()
	var ok, bidiOK bool
	p.Status = h[offStatus]
	p.ExpDataSN = h.serial(offExpDataSN)
	p.Residual, ok = decodeResidual(f&bitOverflow != 0, f&bitUnderflow != 0, h.u32(offResidualCount))
	p.BidiResidual, bidiOK = decodeResidual(f&bitBidiOverflow != 0, f&bitBidiUnderflow != 0, h.u32(offBidiResidualCount))
	if !ok || !bidiOK {
		return SCSIResponse{}, fault(CodeFormat, "SCSI Response with both overflow and underflow")
	}
	return p, nil
}

// Encode writes all of h.
func (p SCSIResponse) Encode(h *BHS) {
	h.start(OpSCSIResponse, false, bitFinal)
	h[offResponse] = byte(p.Response)
	h.SetDataSegmentLength(p.DataSegmentLength)
	h.putITT(p.ITT)
	h.put32(offSNACKTag, p.SNACKTag)
	h.putNumbers(p.Numbers)
	if p.Response != CommandCompleted {
		return
	}
	h[offStatus] = p.Status
	h[offFlags] |= flag(p.Residual.Overflow, bitOverflow) | flag(p.Residual.Underflow, bitUnderflow) |
		flag(p.BidiResidual.Overflow, bitBidiOverflow) | flag(p.BidiResidual.Underflow, bitBidiUnderflow)
	h.put32(offExpDataSN, p.ExpDataSN.n)
	h.put32(offBidiResidualCount, p.BidiResidual.wireCount())
	h.put32(offResidualCount, p.Residual.wireCount())
}

// SplitSense cuts the data segment of a SCSI Response or an Asynchronous Message into the sense data and what follows it.
// Both results borrow data; an empty segment gives none. CodeFormat: the SenseLength does not fit into the segment.
// RFC 7143 11.4.7 (Data Segment - Sense and Response Data Segment), 11.9.4 (Sense Data and iSCSI Event Data).
func SplitSense(data []byte) (sense, rest []byte, err error) {
	if len(data) == 0 {
		return nil, nil, nil
	}
	if len(data) < 2 {
		return nil, nil, fault(CodeFormat, "data segment too short for its SenseLength")
	}
	n := int(binary.BigEndian.Uint16(data))
	if n > len(data)-2 {
		return nil, nil, fault(CodeFormat, "SenseLength beyond the data segment")
	}
	return data[2 : 2+n : 2+n], data[2+n:], nil
}

// AppendSense appends SenseLength and sense, which is shorter than 64 KiB. It panics on a longer one.
func AppendSense(dst, sense []byte) []byte {
	if len(sense) > 0xffff {
		panic("iscsi: sense data needs more than 16 bits of length")
	}
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(sense))), sense...)
}
