// SPDX-License-Identifier: Apache-2.0

package iscsi

// TextResponse answers a Text Request. RFC 7143 11.11 (Text Response).
type TextResponse struct {
	Final             bool // the whole operation is finished
	Continue          bool // the text goes on in the next PDU; never together with Final
	DataSegmentLength uint32
	LUN               LUNField
	ITT               InitiatorTaskTag
	TTT               TargetTransferTag // NoTag exactly when Final
	Numbers
}

// DecodeTextResponse reads the header. With F the TTT is ignored and comes out as NoTag (11.10.4). CodeFormat: ITT NoTag,
// C and F together, no F and no TTT.
func DecodeTextResponse(h *BHS) (TextResponse, error) {
	if err := h.expect(OpTextResponse); err != nil {
		return TextResponse{}, err
	}
	p := TextResponse{
		Final:             h.Final(),
		Continue:          h.Flags()&bitContinue != 0,
		DataSegmentLength: h.DataSegmentLength(),
		LUN:               h.LUN(),
		ITT:               h.ITT(),
		TTT:               h.TTT(),
		Numbers:           h.numbers(),
	}
	if p.Final {
		p.TTT = NoTag
	}
	switch {
	case p.ITT == NoTag:
		return TextResponse{}, fault(CodeFormat, "Text Response without a task tag")
	case p.Continue && p.Final:
		return TextResponse{}, fault(CodeFormat, "Text Response with both C and F")
	case !p.Final && p.TTT == NoTag:
		return TextResponse{}, fault(CodeFormat, "Text Response that goes on but has no transfer tag")
	}
	return p, nil
}

// Encode writes all of h; with Final the TTT is written as NoTag.
func (p TextResponse) Encode(h *BHS) {
	if p.Final {
		p.TTT = NoTag
	}
	h.start(OpTextResponse, false, flag(p.Final, bitFinal)|flag(p.Continue, bitContinue))
	h.SetDataSegmentLength(p.DataSegmentLength)
	h.putLUN(p.LUN)
	h.putITT(p.ITT)
	h.put32(offTTT, uint32(p.TTT))
	h.putNumbers(p.Numbers)
}
