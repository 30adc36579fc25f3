// SPDX-License-Identifier: Apache-2.0

package iscsi

import "encoding/binary"

// HeaderLength is the length of a basic header segment in bytes.
const HeaderLength = 48

// MaxDataSegmentLength is the largest value the 24-bit DataSegmentLength field holds, in bytes.
const MaxDataSegmentLength = 1<<24 - 1

// BHS is a basic header segment as it stands on the wire. A received slice of 48 bytes is viewed without a copy by
// (*BHS)(b). RFC 7143 11.2.1 (Basic Header Segment (BHS)).
type BHS [HeaderLength]byte

// Offsets of the fields that stand in the same place in every PDU that has them.
const (
	offOpcode            = 0
	offFlags             = 1
	offTotalAHSLength    = 4 // in 4-byte words
	offDataSegmentLength = 5 // 24 bits
	offLUN               = 8
	offITT               = 16
	offTTT               = 20 // also Referenced Task Tag, SNACK Tag, Expected Data Transfer Length
	offCmdSN             = 24 // requests
	offExpStatSN         = 28
	offStatSN            = 24 // responses
	offExpCmdSN          = 28
	offMaxCmdSN          = 32
	offDataSN            = 36
	offBufferOffset      = 40
	offResidualCount     = 44
)

// Bits of bytes 0 and 1.
const (
	bitImmediate  = 0x40
	bitFinal      = 0x80
	bitContinue   = 0x40
	opcodeMask    = 0x3f
	totalAHSWords = 255
)

// Opcode returns the PDU type.
func (h *BHS) Opcode() Opcode { return Opcode(h[offOpcode] & opcodeMask) }

// Immediate returns the I bit, which only requests have.
func (h *BHS) Immediate() bool { return h[offOpcode]&bitImmediate != 0 }

// Final returns the F bit (T in login PDUs).
func (h *BHS) Final() bool { return h[offFlags]&bitFinal != 0 }

// Flags returns byte 1.
func (h *BHS) Flags() byte { return h[offFlags] }

// TotalAHSLength returns the length of all additional header segments in bytes, at most 1020.
func (h *BHS) TotalAHSLength() int { return int(h[offTotalAHSLength]) * 4 }

// DataSegmentLength returns the length of the data segment in bytes without padding, at most MaxDataSegmentLength.
func (h *BHS) DataSegmentLength() uint32 {
	return uint32(h[offDataSegmentLength])<<16 | uint32(h[offDataSegmentLength+1])<<8 | uint32(h[offDataSegmentLength+2])
}

// SetDataSegmentLength sets the length of the data segment in bytes. It panics above MaxDataSegmentLength: a cut length
// would put the stream out of step.
func (h *BHS) SetDataSegmentLength(n uint32) {
	if n > MaxDataSegmentLength {
		panic("iscsi: DataSegmentLength needs more than 24 bits")
	}
	h[offDataSegmentLength] = byte(n >> 16)
	h[offDataSegmentLength+1] = byte(n >> 8)
	h[offDataSegmentLength+2] = byte(n)
}

// LUN returns bytes 8-15.
func (h *BHS) LUN() LUNField { return LUNField(h[offLUN : offLUN+8]) }

// ITT returns the Initiator Task Tag.
func (h *BHS) ITT() InitiatorTaskTag { return InitiatorTaskTag(h.u32(offITT)) }

// TTT returns the Target Transfer Tag of the PDUs that have one.
func (h *BHS) TTT() TargetTransferTag { return TargetTransferTag(h.u32(offTTT)) }

// CmdSN returns the command number of a request.
func (h *BHS) CmdSN() Serial { return h.serial(offCmdSN) }

// SetCmdSN sets the command number of a request that was encoded before its number was known.
func (h *BHS) SetCmdSN(s Serial) { h.put32(offCmdSN, s.n) }

// ExpStatSN returns the status acknowledgement of a request.
func (h *BHS) ExpStatSN() Serial { return h.serial(offExpStatSN) }

// SetExpStatSN sets the status acknowledgement of a request at the moment it is sent.
func (h *BHS) SetExpStatSN(s Serial) { h.put32(offExpStatSN, s.n) }

// StatSN returns the status number of a response.
func (h *BHS) StatSN() Serial { return h.serial(offStatSN) }

// SetStatSN sets the status number of a response at the moment it is sent.
func (h *BHS) SetStatSN(s Serial) { h.put32(offStatSN, s.n) }

// ExpCmdSN returns the lower end of the command window in a response.
func (h *BHS) ExpCmdSN() Serial { return h.serial(offExpCmdSN) }

// MaxCmdSN returns the upper end of the command window in a response.
func (h *BHS) MaxCmdSN() Serial { return h.serial(offMaxCmdSN) }

// SetCommandWindow sets ExpCmdSN and MaxCmdSN of a response at the moment it is sent.
func (h *BHS) SetCommandWindow(expCmdSN, maxCmdSN Serial) {
	h.put32(offExpCmdSN, expCmdSN.n)
	h.put32(offMaxCmdSN, maxCmdSN.n)
}

func (h *BHS) u16(off int) uint16        { return binary.BigEndian.Uint16(h[off : off+2]) }
func (h *BHS) u32(off int) uint32        { return binary.BigEndian.Uint32(h[off : off+4]) }
func (h *BHS) put16(off int, v uint16)   { binary.BigEndian.PutUint16(h[off:off+2], v) }
func (h *BHS) put32(off int, v uint32)   { binary.BigEndian.PutUint32(h[off:off+4], v) }
func (h *BHS) serial(off int) Serial     { return Serial{h.u32(off)} }
func (h *BHS) putLUN(l LUNField)         { copy(h[offLUN:offLUN+8], l[:]) }
func (h *BHS) putITT(t InitiatorTaskTag) { h.put32(offITT, uint32(t)) }

// start clears the header and writes opcode, I bit and flags.
func (h *BHS) start(op Opcode, immediate bool, flags byte) {
	*h = BHS{offOpcode: byte(op), offFlags: flags}
	if immediate {
		h[offOpcode] |= bitImmediate
	}
}

// putNumbers writes the three numbers of a response.
func (h *BHS) putNumbers(n Numbers) {
	h.put32(offStatSN, n.StatSN.n)
	h.SetCommandWindow(n.ExpCmdSN, n.MaxCmdSN)
}

func (h *BHS) numbers() Numbers {
	return Numbers{StatSN: h.StatSN(), ExpCmdSN: h.ExpCmdSN(), MaxCmdSN: h.MaxCmdSN()}
}

// expect checks the opcode and that the PDU has no additional header segment.
func (h *BHS) expect(op Opcode) error {
	if h.Opcode() != op {
		return fault(CodeOpcode, h.Opcode().String()+" instead of "+op.String())
	}
	if h[offTotalAHSLength] != 0 && op != OpSCSICommand {
		return fault(CodeFormat, op.String()+" with an additional header segment")
	}
	return nil
}

// expectEmpty is expect for PDUs that have no data segment either.
func (h *BHS) expectEmpty(op Opcode) error {
	if err := h.expect(op); err != nil {
		return err
	}
	if h.DataSegmentLength() != 0 {
		return fault(CodeFormat, op.String()+" with a data segment")
	}
	return nil
}

// Numbers are the sequence numbers that every response carries in bytes 24-35. In PDUs that do not advance StatSN it is
// the next one. RFC 7143 11.4.9 (StatSN), 11.4.10 (ExpCmdSN), 11.4.11 (MaxCmdSN).
type Numbers struct {
	StatSN   Serial
	ExpCmdSN Serial // all commands before it have been received
	MaxCmdSN Serial // last command the target will accept; ExpCmdSN - 1 closes the window
}

// ValidWindow reports whether MaxCmdSN is not less than ExpCmdSN - 1. If it is, the initiator ignores both.
// RFC 7143 4.2.2.1 (Command Numbering and Acknowledging).
func (n Numbers) ValidWindow() bool { return !n.MaxCmdSN.Less(n.ExpCmdSN.Prev()) }

func flag(set bool, bit byte) byte {
	if set {
		return bit
	}
	return 0
}
