// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"encoding/binary"
	"fmt"
)

// Service actions of SANITIZE.
const (
	ActionOverwrite       = 0x01
	ActionBlockErase      = 0x02
	ActionCryptoErase     = 0x03
	ActionExitFailureMode = 0x1f
)

// Sanitize is SANITIZE (SBC-3), 10 bytes.
type Sanitize struct {
	// Action is one of the service actions.
	Action uint8
	// Immediate (IMMED): status comes before the operation ends.
	Immediate bool
	// Unrestricted (AUSE): EXIT FAILURE MODE may end the state that a failure
	// leaves behind.
	Unrestricted bool
	// ParameterListLength in bytes; 0 but for overwrite.
	ParameterListLength uint16
}

// Encode fills b and returns 10, or 0 if a field does not fit.
func (c Sanitize) Encode(b *[16]byte) int {
	if c.Action > 0x1f {
		return 0
	}
	start(b, OpSanitize)
	b[1] = c.Action | bit(c.Immediate, 0x80) | bit(c.Unrestricted, 0x20)
	binary.BigEndian.PutUint16(b[7:], c.ParameterListLength)
	return 10
}

// DecodeSanitize reads a SANITIZE.
func DecodeSanitize(b *[16]byte) (Sanitize, error) {
	if Opcode(b[0]) != OpSanitize {
		return Sanitize{}, ErrOpcode
	}
	return Sanitize{
		Action: b[1] & 0x1f, Immediate: b[1]&0x80 != 0, Unrestricted: b[1]&0x20 != 0,
		ParameterListLength: binary.BigEndian.Uint16(b[7:]),
	}, nil
}

// Overwrite is the parameter list of SANITIZE OVERWRITE.
type Overwrite struct {
	// Invert: each pass writes the inversion of the one before; the last one
	// writes the pattern.
	Invert bool
	// Count is the number of passes, 1-31.
	Count uint8
	// Pattern is repeated to fill a logical block.
	Pattern []byte
}

// Append appends the parameter list.
func (o Overwrite) Append(dst []byte) []byte {
	dst = append(dst, o.Count&0x1f|bit(o.Invert, 0x80), 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(o.Pattern)))
	return append(dst, o.Pattern...)
}

// DecodeOverwrite reads the parameter list for blocks of blockSize bytes. Pattern
// borrows b. A list that is shorter than it says is ErrTruncated; a count of 0, a
// pattern that is empty or longer than a block, a test of the vendor and reserved
// bits are ErrMalformed.
func DecodeOverwrite(b []byte, blockSize uint32) (Overwrite, error) {
	if len(b) < 4 {
		return Overwrite{}, truncated("overwrite parameters", len(b), 4)
	}
	o := Overwrite{Invert: b[0]&0x80 != 0, Count: b[0] & 0x1f}
	n := int(binary.BigEndian.Uint16(b[2:]))
	switch {
	case o.Count == 0, b[0]&0x60 != 0, b[1] != 0, n == 0, n > int(blockSize):
		return Overwrite{}, malformed("overwrite parameters", fmt.Sprintf("%x", b[:4]))
	case len(b) < 4+n:
		return Overwrite{}, truncated("overwrite pattern", len(b)-4, n)
	}
	o.Pattern = b[4 : 4+n]
	return o, nil
}

// FormatUnit is FORMAT UNIT (SBC-3), 6 bytes. Its parameter list is as long as
// the initiator says outside the CDB.
type FormatUnit struct {
	// Protection is FMTPINFO, 0-3; 0 without protection information.
	Protection uint8
	// Data (FMTDATA): there is a parameter list, with a header of 8 bytes instead
	// of 4 if LongList.
	Data, LongList bool
	// Complete (CMPLST): the defect list is complete; its format is DefectFormat.
	Complete     bool
	DefectFormat uint8
}

// Encode fills b and returns 6, or 0 if a field does not fit.
func (c FormatUnit) Encode(b *[16]byte) int {
	if c.Protection > 3 || c.DefectFormat > 7 {
		return 0
	}
	start(b, OpFormatUnit)
	b[1] = c.Protection<<6 | bit(c.LongList, 0x20) | bit(c.Data, 0x10) | bit(c.Complete, 0x08) | c.DefectFormat
	return 6
}

// DecodeFormatUnit reads a FORMAT UNIT.
func DecodeFormatUnit(b *[16]byte) (FormatUnit, error) {
	if Opcode(b[0]) != OpFormatUnit {
		return FormatUnit{}, ErrOpcode
	}
	return FormatUnit{
		Protection: b[1] >> 6, LongList: b[1]&0x20 != 0, Data: b[1]&0x10 != 0,
		Complete: b[1]&0x08 != 0, DefectFormat: b[1] & 0x07,
	}, nil
}

// HeaderBytes is the length of the parameter list's header.
func (c FormatUnit) HeaderBytes() int {
	if c.LongList {
		return 8
	}
	return 4
}

// Format is the header of FORMAT UNIT's parameter list. What is said of defects
// (DPRY, DCRT, STPF) is passed over: there are none.
type Format struct {
	// Options (FOV): the bits that follow count.
	Options bool
	// InitializationPattern (IP): a pattern descriptor follows.
	InitializationPattern bool
	// Immediate (IMMED): status comes before the operation ends.
	Immediate bool
	// ProtectionUsage is PROTECTION FIELD USAGE; 0 without protection information.
	ProtectionUsage uint8
	// DefectBytes is the length of the defect list.
	DefectBytes uint32
}

const (
	formatOptions   = 0x80
	formatDefects   = 0x70 // DPRY, DCRT, STPF
	formatPattern   = 0x08
	formatImmediate = 0x02
	formatVendor    = 0x01
)

// Append appends the header in the form that c says.
func (f Format) Append(dst []byte, c FormatUnit) []byte {
	dst = append(dst, f.ProtectionUsage&7,
		bit(f.Options, formatOptions)|bit(f.InitializationPattern, formatPattern)|bit(f.Immediate, formatImmediate))
	if c.LongList {
		return binary.BigEndian.AppendUint32(append(dst, 0, 0), f.DefectBytes)
	}
	return binary.BigEndian.AppendUint16(dst, uint16(f.DefectBytes))
}

// DecodeFormat reads the header of the parameter list that belongs to c. Bits of
// options without FOV, and those of a vendor, are ErrMalformed.
func DecodeFormat(b []byte, c FormatUnit) (Format, error) {
	if len(b) < c.HeaderBytes() {
		return Format{}, truncated("format parameters", len(b), c.HeaderBytes())
	}
	f := Format{
		ProtectionUsage: b[0] & 7, Options: b[1]&formatOptions != 0, InitializationPattern: b[1]&formatPattern != 0,
		Immediate: b[1]&formatImmediate != 0, DefectBytes: uint32(binary.BigEndian.Uint16(b[2:])),
	}
	if c.LongList {
		f.DefectBytes = binary.BigEndian.Uint32(b[4:])
	}
	if b[1]&formatVendor != 0 || !f.Options && b[1]&(formatDefects|formatPattern) != 0 {
		return Format{}, malformed("format parameters", fmt.Sprintf("options %02x", b[1]))
	}
	return f, nil
}
