// SPDX-License-Identifier: Apache-2.0

package iscsi

import "strconv"

// RejectReason says why a PDU was rejected. RFC 7143 11.17.1 (Reason).
type RejectReason uint8

// The reject reasons. RejectNegotiationReset is deprecated: never sent, and received it is a negotiation failure.
const (
	RejectDataDigest          RejectReason = 0x02
	RejectSNACK               RejectReason = 0x03
	RejectProtocolError       RejectReason = 0x04
	RejectCommandNotSupported RejectReason = 0x05
	RejectTooManyImmediate    RejectReason = 0x06
	RejectTaskInProgress      RejectReason = 0x07
	RejectInvalidDataACK      RejectReason = 0x08
	RejectInvalidPDUField     RejectReason = 0x09
	RejectOutOfResources      RejectReason = 0x0a
	RejectNegotiationReset    RejectReason = 0x0b
	RejectWaitingForLogout    RejectReason = 0x0c
)

// String returns the RFC's words.
func (r RejectReason) String() string {
	switch r {
	case RejectDataDigest:
		return "data digest error"
	case RejectSNACK:
		return "SNACK reject"
	case RejectProtocolError:
		return "protocol error"
	case RejectCommandNotSupported:
		return "command not supported"
	case RejectTooManyImmediate:
		return "too many immediate commands"
	case RejectTaskInProgress:
		return "task in progress"
	case RejectInvalidDataACK:
		return "invalid data ack"
	case RejectInvalidPDUField:
		return "invalid PDU field"
	case RejectOutOfResources:
		return "long operation reject, out of resources"
	case RejectNegotiationReset:
		return "negotiation reset"
	case RejectWaitingForLogout:
		return "waiting for logout"
	}
	return "reject reason 0x" + strconv.FormatUint(uint64(r), 16)
}

// Resendable reports whether the RFC lets the original PDU be sent again.
func (r RejectReason) Resendable() bool {
	switch r {
	case RejectDataDigest, RejectSNACK, RejectTooManyImmediate, RejectOutOfResources:
		return true
	case RejectProtocolError, RejectCommandNotSupported, RejectTaskInProgress, RejectInvalidDataACK,
		RejectInvalidPDUField, RejectNegotiationReset, RejectWaitingForLogout:
		return false
	}
	return false
}

// Reject tells the initiator that a PDU was not acted on. The data segment starts with the header of that PDU.
// RFC 7143 11.17 (Reject).
type Reject struct {
	Reason            RejectReason // may be unassigned
	DataSegmentLength uint32
	Numbers
	DataSN Serial // DataSN or R2TSN; only for a rejected Data/R2T SNACK
}

// DecodeReject reads the header. CodeFormat: the data segment is too short for the header of the rejected PDU.
func DecodeReject(h *BHS) (Reject, error) {
	if err := h.expect(OpReject); err != nil {
		return Reject{}, err
	}
	p := Reject{
		Reason:            RejectReason(h[offResponse]),
		DataSegmentLength: h.DataSegmentLength(),
		Numbers:           h.numbers(),
		DataSN:            h.serial(offDataSN),
	}
	if p.DataSegmentLength < HeaderLength {
		return Reject{}, fault(CodeFormat, "Reject without the header of the rejected PDU")
	}
	return p, nil
}

// Encode writes all of h.
func (p Reject) Encode(h *BHS) {
	h.start(OpReject, false, bitFinal)
	h[offResponse] = byte(p.Reason)
	h.SetDataSegmentLength(p.DataSegmentLength)
	h.putITT(NoTag)
	h.putNumbers(p.Numbers)
	h.put32(offDataSN, p.DataSN.n)
}

// RejectedHeader returns the header of the rejected PDU as a view of the data segment of a Reject.
// CodeLength: the segment is shorter than a header.
func RejectedHeader(data []byte) (*BHS, error) {
	if len(data) < HeaderLength {
		return nil, fault(CodeLength, "Reject without the header of the rejected PDU")
	}
	return (*BHS)(data), nil
}
