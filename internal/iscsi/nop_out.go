// SPDX-License-Identifier: Apache-2.0

package iscsi

// NOPOut is a ping of the initiator, or its answer to a ping of the target. RFC 7143 11.18 (NOP-Out).
type NOPOut struct {
	Immediate         bool // always set when ITT is NoTag
	DataSegmentLength uint32
	LUN               LUNField          // copied from the NOP-In that this answers
	ITT               InitiatorTaskTag  // NoTag: no NOP-In is wanted
	TTT               TargetTransferTag // copied from the NOP-In that this answers, else NoTag
	CmdSN             Serial
	ExpStatSN         Serial
}

// DecodeNOPOut reads the header. CodeFormat: ITT is NoTag and the I bit is 0 (11.18.1).
func DecodeNOPOut(h *BHS) (NOPOut, error) {
	if err := h.expect(OpNOPOut); err != nil {
		return NOPOut{}, err
	}
	p := NOPOut{
		Immediate:         h.Immediate(),
		DataSegmentLength: h.DataSegmentLength(),
		LUN:               h.LUN(),
		ITT:               h.ITT(),
		TTT:               h.TTT(),
		CmdSN:             h.CmdSN(),
		ExpStatSN:         h.ExpStatSN(),
	}
	if p.ITT == NoTag && !p.Immediate {
		return NOPOut{}, fault(CodeFormat, "NOP-Out without a task tag that is not immediate")
	}
	return p, nil
}

// Encode writes all of h.
func (p NOPOut) Encode(h *BHS) {
	h.start(OpNOPOut, p.Immediate, bitFinal)
	h.SetDataSegmentLength(p.DataSegmentLength)
	h.putLUN(p.LUN)
	h.putITT(p.ITT)
	h.put32(offTTT, uint32(p.TTT))
	h.SetCmdSN(p.CmdSN)
	h.SetExpStatSN(p.ExpStatSN)
}
