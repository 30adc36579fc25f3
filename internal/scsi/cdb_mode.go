// SPDX-License-Identifier: Apache-2.0

package scsi

import "encoding/binary"

// PageControl tells which values of a mode page MODE SENSE returns.
type PageControl uint8

// Values of the PC field (SPC-4, MODE SENSE).
const (
	CurrentValues    PageControl = 0
	ChangeableValues PageControl = 1
	DefaultValues    PageControl = 2
	SavedValues      PageControl = 3
)

// ModeSense is MODE SENSE(6) or (10) (SPC-4).
type ModeSense struct {
	// Size of the CDB: 6 or 10. Zero: 6.
	Size int
	// NoBlockDescriptors (DBD) asks for pages without block descriptors.
	NoBlockDescriptors bool
	// LongLBA (LLBAA) accepts long block descriptors; 10 bytes only.
	LongLBA bool
	// Control is the PC field.
	Control PageControl
	// Page is the page code, AllModePages for all; Subpage its subpage.
	Page    ModePage
	Subpage uint8
	// AllocationLength in bytes; at most 255 in 6 bytes.
	AllocationLength uint16
}

// Encode fills b and returns the CDB's length, or 0 if a field does not fit.
func (c ModeSense) Encode(b *[16]byte) int {
	if c.Page > AllModePages || c.Control > SavedValues {
		return 0
	}
	switch c.Size {
	case 0, 6:
		if c.AllocationLength > 0xff || c.LongLBA {
			return 0
		}
		start(b, OpModeSense6)
		b[4] = byte(c.AllocationLength)
	case 10:
		start(b, OpModeSense10)
		binary.BigEndian.PutUint16(b[7:], c.AllocationLength)
	default:
		return 0
	}
	b[1] = bit(c.LongLBA, 0x10) | bit(c.NoBlockDescriptors, 0x08)
	b[2] = byte(c.Control)<<6 | byte(c.Page)
	b[3] = c.Subpage
	return len6or10(b)
}

// len6or10 is the length of a CDB of group 0 or 2.
func len6or10(b *[16]byte) int {
	if b[0] < 0x20 {
		return 6
	}
	return 10
}

// DecodeModeSense reads a MODE SENSE.
func DecodeModeSense(b *[16]byte) (ModeSense, error) {
	c := ModeSense{
		NoBlockDescriptors: b[1]&0x08 != 0, Control: PageControl(b[2] >> 6),
		Page: ModePage(b[2] & 0x3f), Subpage: b[3],
	}
	switch Opcode(b[0]) {
	case OpModeSense6:
		c.Size, c.AllocationLength = 6, uint16(b[4])
	case OpModeSense10:
		c.Size, c.AllocationLength = 10, binary.BigEndian.Uint16(b[7:])
		c.LongLBA = b[1]&0x10 != 0
	default:
		return ModeSense{}, ErrOpcode
	}
	return c, nil
}

// ModeSelect is MODE SELECT(6) or (10) (SPC-4).
type ModeSelect struct {
	// Size of the CDB: 6 or 10. Zero: 6.
	Size int
	// PageFormat (PF): the parameter list holds mode pages.
	PageFormat bool
	// SavePages (SP): keep the values over a reset.
	SavePages bool
	// ParameterListLength in bytes; at most 255 in 6 bytes.
	ParameterListLength uint16
}

// Encode fills b and returns the CDB's length, or 0 if a field does not fit.
func (c ModeSelect) Encode(b *[16]byte) int {
	switch c.Size {
	case 0, 6:
		if c.ParameterListLength > 0xff {
			return 0
		}
		start(b, OpModeSelect6)
		b[4] = byte(c.ParameterListLength)
	case 10:
		start(b, OpModeSelect10)
		binary.BigEndian.PutUint16(b[7:], c.ParameterListLength)
	default:
		return 0
	}
	b[1] = bit(c.PageFormat, 0x10) | bit(c.SavePages, 0x01)
	return len6or10(b)
}

// DecodeModeSelect reads a MODE SELECT.
func DecodeModeSelect(b *[16]byte) (ModeSelect, error) {
	c := ModeSelect{PageFormat: b[1]&0x10 != 0, SavePages: b[1]&0x01 != 0}
	switch Opcode(b[0]) {
	case OpModeSelect6:
		c.Size, c.ParameterListLength = 6, uint16(b[4])
	case OpModeSelect10:
		c.Size, c.ParameterListLength = 10, binary.BigEndian.Uint16(b[7:])
	default:
		return ModeSelect{}, ErrOpcode
	}
	return c, nil
}
