// SPDX-License-Identifier: Apache-2.0

package iscsi

import "strconv"

// AsyncEvent is the reason of an Asynchronous Message. RFC 7143 11.9.1 (AsyncEvent).
type AsyncEvent uint8

// The asynchronous events; 248-255 are vendor specific.
const (
	AsyncSCSI            AsyncEvent = 0
	AsyncLogoutRequest   AsyncEvent = 1
	AsyncConnectionDrop  AsyncEvent = 2
	AsyncSessionDrop     AsyncEvent = 3
	AsyncNegotiate       AsyncEvent = 4
	AsyncTaskTermination AsyncEvent = 5
	AsyncVendor          AsyncEvent = 255
)

// String returns the RFC's words.
func (e AsyncEvent) String() string {
	switch e {
	case AsyncSCSI:
		return "SCSI event"
	case AsyncLogoutRequest:
		return "logout request"
	case AsyncConnectionDrop:
		return "connection drop notification"
	case AsyncSessionDrop:
		return "session drop notification"
	case AsyncNegotiate:
		return "negotiation request"
	case AsyncTaskTermination:
		return "task termination"
	case AsyncVendor:
		return "vendor event"
	}
	return "asynchronous event " + strconv.Itoa(int(e))
}

const (
	offAsyncEvent = 36
	offAsyncVCode = 37
	offParameter1 = 38
	offParameter2 = 40
	offParameter3 = 42
)

// AsyncMessage tells the initiator of an event that no command caused. RFC 7143 11.9 (Asynchronous Message).
type AsyncMessage struct {
	DataSegmentLength uint32   // SenseLength, sense data, event data; see SplitSense
	LUN               LUNField // valid for AsyncSCSI and AsyncTaskTermination
	Numbers
	Event      AsyncEvent // may be unassigned: the initiator ignores it
	VendorCode uint8      // valid for vendor events

	// Parameter1 is the CID for AsyncConnectionDrop. Parameter2 is Time2Wait and Parameter3 Time2Retain, in seconds, for
	// both drop events; Parameter3 is the time left to obey, in seconds, for AsyncLogoutRequest and AsyncNegotiate.
	Parameter1, Parameter2, Parameter3 uint16
}

// DecodeAsyncMessage reads the header.
func DecodeAsyncMessage(h *BHS) (AsyncMessage, error) {
	if err := h.expect(OpAsyncMessage); err != nil {
		return AsyncMessage{}, err
	}
	return AsyncMessage{
		DataSegmentLength: h.DataSegmentLength(),
		LUN:               h.LUN(),
		Numbers:           h.numbers(),
		Event:             AsyncEvent(h[offAsyncEvent]),
		VendorCode:        h[offAsyncVCode],
		Parameter1:        h.u16(offParameter1),
		Parameter2:        h.u16(offParameter2),
		Parameter3:        h.u16(offParameter3),
	}, nil
}

// Encode writes all of h.
func (p AsyncMessage) Encode(h *BHS) {
	h.start(OpAsyncMessage, false, bitFinal)
	h.SetDataSegmentLength(p.DataSegmentLength)
	h.putLUN(p.LUN)
	h.putITT(NoTag)
	h.putNumbers(p.Numbers)
	h[offAsyncEvent] = byte(p.Event)
	h[offAsyncVCode] = p.VendorCode
	h.put16(offParameter1, p.Parameter1)
	h.put16(offParameter2, p.Parameter2)
	h.put16(offParameter3, p.Parameter3)
}
