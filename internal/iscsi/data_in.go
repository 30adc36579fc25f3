// SPDX-License-Identifier: Apache-2.0

package iscsi

const (
	bitAcknowledge = 0x40
	bitStatus      = 0x01
)

// DataIn carries read data, and the status of a command that ended well. RFC 7143 11.7 (SCSI Data-Out and SCSI Data-In).
type DataIn struct {
	Final             bool // last PDU of a sequence
	Acknowledge       bool // a SNACK of type DataACK is wanted; ignored at ErrorRecoveryLevel 0
	HasStatus         bool // Status, StatSN and Residual are valid, and no SCSI Response follows
	Status            uint8
	DataSegmentLength uint32
	LUN               LUNField // zero unless Acknowledge
	ITT               InitiatorTaskTag
	TTT               TargetTransferTag // NoTag unless Acknowledge
	Numbers                             // StatSN is 0 unless HasStatus
	DataSN            Serial
	BufferOffset      uint32 // bytes from the start of the command's data
	Residual          Residual
}

// DecodeDataIn reads the header. CodeFormat: ITT NoTag, status without F, a status other than GOOD, CONDITION MET,
// INTERMEDIATE and INTERMEDIATE-CONDITION MET, overflow and underflow together, acknowledgement without a TTT, data that
// ends beyond 2^32.
func DecodeDataIn(h *BHS) (DataIn, error) {
	if err := h.expect(OpDataIn); err != nil {
		return DataIn{}, err
	}
	f := h.Flags()
	p := DataIn{
		Final:             f&bitFinal != 0,
		Acknowledge:       f&bitAcknowledge != 0,
		HasStatus:         f&bitStatus != 0,
		DataSegmentLength: h.DataSegmentLength(),
		ITT:               h.ITT(),
		TTT:               NoTag,
		Numbers:           Numbers{ExpCmdSN: h.ExpCmdSN(), MaxCmdSN: h.MaxCmdSN()},
		DataSN:            h.serial(offDataSN),
		BufferOffset:      h.u32(offBufferOffset),
	}
	ok := true
	if p.HasStatus {
		p.Status = h[offStatus]
		p.StatSN = h.StatSN()
		p.Residual, ok = decodeResidual(f&bitOverflow != 0, f&bitUnderflow != 0, h.u32(offResidualCount))
	}
	if p.Acknowledge {
		p.LUN, p.TTT = h.LUN(), h.TTT()
	}
	switch {
	case p.ITT == NoTag:
		return DataIn{}, fault(CodeFormat, "Data-In without a task tag")
	case p.HasStatus && !p.Final:
		return DataIn{}, fault(CodeFormat, "Data-In with status before the last PDU")
	case p.HasStatus && !goodStatus(p.Status):
		return DataIn{}, fault(CodeFormat, "Data-In with the status of a failed command")
	case !ok:
		return DataIn{}, fault(CodeFormat, "Data-In with both overflow and underflow")
	case p.Acknowledge && p.TTT == NoTag:
		return DataIn{}, fault(CodeFormat, "Data-In that wants an acknowledgement but has no transfer tag")
	case p.BufferOffset+p.DataSegmentLength < p.BufferOffset:
		return DataIn{}, fault(CodeFormat, "Data-In beyond 2^32 bytes")
	}
	return p, nil
}

// goodStatus lists the SAM statuses that may travel in a Data-In. RFC 7143 11.7.3 (Flags (Byte 1)).
func goodStatus(s uint8) bool { return s == 0x00 || s == 0x04 || s == 0x10 || s == 0x14 }

// Encode writes all of h. Status, StatSN and Residual are written only with HasStatus, LUN and TTT only with Acknowledge.
func (p DataIn) Encode(h *BHS) {
	h.start(OpDataIn, false, flag(p.Final, bitFinal)|flag(p.Acknowledge, bitAcknowledge)|flag(p.HasStatus, bitStatus))
	h.SetDataSegmentLength(p.DataSegmentLength)
	h.putITT(p.ITT)
	h.put32(offTTT, NoTag)
	h.SetCommandWindow(p.ExpCmdSN, p.MaxCmdSN)
	h.put32(offDataSN, p.DataSN.n)
	h.put32(offBufferOffset, p.BufferOffset)
	if p.Acknowledge {
		h.putLUN(p.LUN)
		h.put32(offTTT, uint32(p.TTT))
	}
	if p.HasStatus {
		h[offFlags] |= flag(p.Residual.Overflow, bitOverflow) | flag(p.Residual.Underflow, bitUnderflow)
		h[offStatus] = p.Status
		h.SetStatSN(p.StatSN)
		h.put32(offResidualCount, p.Residual.wireCount())
	}
}
