// SPDX-License-Identifier: Apache-2.0

package iscsi

// LoginRequest carries the initiator's part of the login phase. RFC 7143 11.12 (Login Request).
type LoginRequest struct {
	Transit           bool // ready to go to NextStage
	Continue          bool // the text goes on in the next PDU; never together with Transit
	CurrentStage      Stage
	NextStage         Stage // valid with Transit, else 0
	VersionMax        uint8 // 0 is RFC 7143
	VersionMin        uint8
	DataSegmentLength uint32
	ISID              ISID
	TSIH              uint16 // 0: a new session
	ITT               InitiatorTaskTag
	CID               uint16
	CmdSN             Serial
	ExpStatSN         Serial
}

// DecodeLoginRequest reads the header. CodeFormat: T and C together, a reserved stage, a next stage that is not later
// than the current one, ITT NoTag. The versions are not judged: the target answers LoginUnsupportedVersion.
func DecodeLoginRequest(h *BHS) (LoginRequest, error) {
	if err := h.expect(OpLoginRequest); err != nil {
		return LoginRequest{}, err
	}
	l, err := decodeLoginFlags(h.Flags())
	if err != nil {
		return LoginRequest{}, err
	}
	if h.ITT() == NoTag {
		return LoginRequest{}, fault(CodeFormat, "Login Request without a task tag")
	}
	return LoginRequest{
		Transit:           l.transit,
		Continue:          l.more,
		CurrentStage:      l.current,
		NextStage:         l.next,
		VersionMax:        h[offVersionMax],
		VersionMin:        h[offVersionActive],
		DataSegmentLength: h.DataSegmentLength(),
		ISID:              ISID(h[offISID : offISID+6]),
		TSIH:              h.u16(offTSIH),
		ITT:               h.ITT(),
		CID:               h.u16(offCID),
		CmdSN:             h.CmdSN(),
		ExpStatSN:         h.ExpStatSN(),
	}, nil
}

// Encode writes all of h. The I bit is always 1.
func (p LoginRequest) Encode(h *BHS) {
	h.start(OpLoginRequest, true, loginFlags{p.Transit, p.Continue, p.CurrentStage, p.NextStage}.encode())
	h[offVersionMax] = p.VersionMax
	h[offVersionActive] = p.VersionMin
	h.SetDataSegmentLength(p.DataSegmentLength)
	copy(h[offISID:], p.ISID[:])
	h.put16(offTSIH, p.TSIH)
	h.putITT(p.ITT)
	h.put16(offCID, p.CID)
	h.SetCmdSN(p.CmdSN)
	h.SetExpStatSN(p.ExpStatSN)
}
