// SPDX-License-Identifier: Apache-2.0

package iscsi

// DataOut carries write data. RFC 7143 11.7 (SCSI Data-Out and SCSI Data-In).
type DataOut struct {
	Final             bool // last PDU of the unsolicited data, or of the answer to one R2T
	DataSegmentLength uint32
	LUN               LUNField // of the R2T; reserved (ignored) for unsolicited data
	ITT               InitiatorTaskTag
	TTT               TargetTransferTag // of the R2T; NoTag for unsolicited data
	ExpStatSN         Serial
	DataSN            Serial // number within the sequence
	BufferOffset      uint32 // bytes from the start of the command's data
}

// DecodeDataOut reads the header. CodeFormat: ITT NoTag, or data that ends beyond 2^32.
func DecodeDataOut(h *BHS) (DataOut, error) {
	if err := h.expect(OpDataOut); err != nil {
		return DataOut{}, err
	}
	p := DataOut{
		Final:             h.Final(),
		DataSegmentLength: h.DataSegmentLength(),
		LUN:               h.LUN(),
		ITT:               h.ITT(),
		TTT:               h.TTT(),
		ExpStatSN:         h.ExpStatSN(),
		DataSN:            h.serial(offDataSN),
		BufferOffset:      h.u32(offBufferOffset),
	}
	switch {
	case p.ITT == NoTag:
		return DataOut{}, fault(CodeFormat, "Data-Out without a task tag")
	case p.BufferOffset+p.DataSegmentLength < p.BufferOffset:
		return DataOut{}, fault(CodeFormat, "Data-Out beyond 2^32 bytes")
	}
	return p, nil
}

// Encode writes all of h.
func (p DataOut) Encode(h *BHS) {
	h.start(OpDataOut, false, flag(p.Final, bitFinal))
	h.SetDataSegmentLength(p.DataSegmentLength)
	h.putLUN(p.LUN)
	h.putITT(p.ITT)
	h.put32(offTTT, uint32(p.TTT))
	h.SetExpStatSN(p.ExpStatSN)
	h.put32(offDataSN, p.DataSN.n)
	h.put32(offBufferOffset, p.BufferOffset)
}
