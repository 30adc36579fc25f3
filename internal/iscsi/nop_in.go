// SPDX-License-Identifier: Apache-2.0

package iscsi

// NOPIn is the answer to a ping, a ping of the target, or only news of the command window. RFC 7143 11.19 (NOP-In).
type NOPIn struct {
	DataSegmentLength uint32 // 0 unless ITT is valid
	LUN               LUNField
	ITT               InitiatorTaskTag  // NoTag: not an answer, StatSN is not advanced
	TTT               TargetTransferTag // NoTag: no NOP-Out is wanted
	Numbers
}

// DecodeNOPIn reads the header. CodeFormat: both tags valid, or ping data that answers nothing (7.7, 11.19).
func DecodeNOPIn(h *BHS) (NOPIn, error) {
	if err := h.expect(OpNOPIn); err != nil {
		return NOPIn{}, err
	}
	p := NOPIn{
		DataSegmentLength: h.DataSegmentLength(),
		LUN:               h.LUN(),
		ITT:               h.ITT(),
		TTT:               h.TTT(),
		Numbers:           h.numbers(),
	}
	switch {
	case p.ITT != NoTag && p.TTT != NoTag:
		return NOPIn{}, fault(CodeFormat, "NOP-In with both tags")
	case p.ITT == NoTag && p.DataSegmentLength != 0:
		return NOPIn{}, fault(CodeFormat, "NOP-In that is no answer but has data")
	}
	return p, nil
}

// Encode writes all of h.
func (p NOPIn) Encode(h *BHS) {
	h.start(OpNOPIn, false, bitFinal)
	h.SetDataSegmentLength(p.DataSegmentLength)
	h.putLUN(p.LUN)
	h.putITT(p.ITT)
	h.put32(offTTT, uint32(p.TTT))
	h.putNumbers(p.Numbers)
}
