// SPDX-License-Identifier: Apache-2.0

package iscsi

// TextRequest carries key=value pairs of the initiator in the full feature phase. RFC 7143 11.10 (Text Request).
type TextRequest struct {
	Immediate         bool
	Final             bool // last request of the sequence
	Continue          bool // the text goes on in the next PDU; never together with Final
	DataSegmentLength uint32
	LUN               LUNField // copied from the response that this continues
	ITT               InitiatorTaskTag
	TTT               TargetTransferTag // copied from the response that this continues; NoTag starts anew
	CmdSN             Serial
	ExpStatSN         Serial
}

// DecodeTextRequest reads the header. CodeFormat: ITT NoTag, or C and F together.
func DecodeTextRequest(h *BHS) (TextRequest, error) {
	if err := h.expect(OpTextRequest); err != nil {
		return TextRequest{}, err
	}
	p := TextRequest{
		Immediate:         h.Immediate(),
		Final:             h.Final(),
		Continue:          h.Flags()&bitContinue != 0,
		DataSegmentLength: h.DataSegmentLength(),
		LUN:               h.LUN(),
		ITT:               h.ITT(),
		TTT:               h.TTT(),
		CmdSN:             h.CmdSN(),
		ExpStatSN:         h.ExpStatSN(),
	}
	switch {
	case p.ITT == NoTag:
		return TextRequest{}, fault(CodeFormat, "Text Request without a task tag")
	case p.Continue && p.Final:
		return TextRequest{}, fault(CodeFormat, "Text Request with both C and F")
	}
	return p, nil
}

// Encode writes all of h.
func (p TextRequest) Encode(h *BHS) {
	h.start(OpTextRequest, p.Immediate, flag(p.Final, bitFinal)|flag(p.Continue, bitContinue))
	h.SetDataSegmentLength(p.DataSegmentLength)
	h.putLUN(p.LUN)
	h.putITT(p.ITT)
	h.put32(offTTT, uint32(p.TTT))
	h.SetCmdSN(p.CmdSN)
	h.SetExpStatSN(p.ExpStatSN)
}
