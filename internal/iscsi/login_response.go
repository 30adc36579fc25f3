// SPDX-License-Identifier: Apache-2.0

package iscsi

// LoginResponse carries the target's part of the login phase. RFC 7143 11.13 (Login Response).
type LoginResponse struct {
	Transit           bool // the target goes to NextStage
	Continue          bool // the text goes on in the next PDU; never together with Transit
	CurrentStage      Stage
	NextStage         Stage // valid with Transit, else 0
	VersionMax        uint8
	VersionActive     uint8
	DataSegmentLength uint32
	ISID              ISID
	TSIH              uint16 // not 0 in the final response of a new session
	ITT               InitiatorTaskTag
	Numbers           // zero unless Status is LoginSuccess
	Status            LoginStatus
}

// DecodeLoginResponse reads the header. Unless the status class is success, the stage fields and the numbers are
// reserved and come out as zero. CodeFormat: T and C together, a reserved stage, a next stage that is not later than the
// current one.
func DecodeLoginResponse(h *BHS) (LoginResponse, error) {
	if err := h.expect(OpLoginResponse); err != nil {
		return LoginResponse{}, err
	}
	p := LoginResponse{
		VersionMax:        h[offVersionMax],
		VersionActive:     h[offVersionActive],
		DataSegmentLength: h.DataSegmentLength(),
		ISID:              ISID(h[offISID : offISID+6]),
		TSIH:              h.u16(offTSIH),
		ITT:               h.ITT(),
		Status:            LoginStatus(h.u16(offStatusClass)),
	}
	if p.Status.Class() != ClassSuccess {
		return p, nil
	}
	l, err := decodeLoginFlags(h.Flags())
	if err != nil {
		return LoginResponse{}, err
	}
	p.Transit, p.Continue, p.CurrentStage, p.NextStage = l.transit, l.more, l.current, l.next
	p.Numbers = h.numbers()
	return p, nil
}

// Encode writes all of h. Unless the status class is success, the stage fields and the numbers are written as 0.
func (p LoginResponse) Encode(h *BHS) {
	h.start(OpLoginResponse, false, 0)
	h[offVersionMax] = p.VersionMax
	h[offVersionActive] = p.VersionActive
	h.SetDataSegmentLength(p.DataSegmentLength)
	copy(h[offISID:], p.ISID[:])
	h.put16(offTSIH, p.TSIH)
	h.putITT(p.ITT)
	h.put16(offStatusClass, uint16(p.Status))
	if p.Status.Class() == ClassSuccess {
		h[offFlags] = loginFlags{p.Transit, p.Continue, p.CurrentStage, p.NextStage}.encode()
		h.putNumbers(p.Numbers)
	}
}
