// SPDX-License-Identifier: Apache-2.0

package iscsi

const offDesiredLength = 44

// R2T asks for a part of the write data. RFC 7143 11.8 (Ready To Transfer (R2T)).
type R2T struct {
	LUN     LUNField // copied into the Data-Out PDUs that answer
	ITT     InitiatorTaskTag
	TTT     TargetTransferTag // copied into the Data-Out PDUs that answer
	Numbers                   // StatSN is not advanced
	R2TSN   Serial

	BufferOffset              uint32 // bytes from the start of the command's data
	DesiredDataTransferLength uint32 // bytes, not 0, at most MaxBurstLength
}

// DecodeR2T reads the header. CodeFormat: a tag is NoTag, the length is 0, or the range ends beyond 2^32.
func DecodeR2T(h *BHS) (R2T, error) {
	if err := h.expectEmpty(OpR2T); err != nil {
		return R2T{}, err
	}
	p := R2T{
		LUN:                       h.LUN(),
		ITT:                       h.ITT(),
		TTT:                       h.TTT(),
		Numbers:                   h.numbers(),
		R2TSN:                     h.serial(offDataSN),
		BufferOffset:              h.u32(offBufferOffset),
		DesiredDataTransferLength: h.u32(offDesiredLength),
	}
	switch {
	case p.ITT == NoTag || p.TTT == NoTag:
		return R2T{}, fault(CodeFormat, "R2T without both tags")
	case p.DesiredDataTransferLength == 0:
		return R2T{}, fault(CodeFormat, "R2T for no data")
	case p.BufferOffset+p.DesiredDataTransferLength < p.BufferOffset:
		return R2T{}, fault(CodeFormat, "R2T beyond 2^32 bytes")
	}
	return p, nil
}

// Encode writes all of h.
func (p R2T) Encode(h *BHS) {
	h.start(OpR2T, false, bitFinal)
	h.putLUN(p.LUN)
	h.putITT(p.ITT)
	h.put32(offTTT, uint32(p.TTT))
	h.putNumbers(p.Numbers)
	h.put32(offDataSN, p.R2TSN.n)
	h.put32(offBufferOffset, p.BufferOffset)
	h.put32(offDesiredLength, p.DesiredDataTransferLength)
}
