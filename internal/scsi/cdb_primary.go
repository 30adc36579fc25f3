// SPDX-License-Identifier: Apache-2.0

package scsi

import "encoding/binary"

// TestUnitReady is TEST UNIT READY (SPC-4).
type TestUnitReady struct{}

// Encode fills b and returns 6.
func (TestUnitReady) Encode(b *[16]byte) int {
	start(b, OpTestUnitReady)
	return 6
}

// DecodeTestUnitReady reads a TEST UNIT READY.
func DecodeTestUnitReady(b *[16]byte) (TestUnitReady, error) {
	return TestUnitReady{}, want(b, OpTestUnitReady)
}

// want is ErrOpcode unless b starts with op.
func want(b *[16]byte, op Opcode) error {
	if Opcode(b[0]) != op {
		return ErrOpcode
	}
	return nil
}

// wantAction is ErrOpcode unless b starts with op and has the service action.
func wantAction(b *[16]byte, op Opcode, action uint8) error {
	if Opcode(b[0]) != op || b[1]&0x1f != action {
		return ErrOpcode
	}
	return nil
}

// Inquiry is INQUIRY (SPC-4).
type Inquiry struct {
	// VPD asks for the vital product data page Page; standard data else, and
	// then Page must be 0.
	VPD bool
	// Page is the VPD page code.
	Page VPDPage
	// AllocationLength in bytes.
	AllocationLength uint16
}

// Encode fills b and returns 6.
func (c Inquiry) Encode(b *[16]byte) int {
	start(b, OpInquiry)
	b[1] = bit(c.VPD, 0x01)
	b[2] = byte(c.Page)
	binary.BigEndian.PutUint16(b[3:], c.AllocationLength)
	return 6
}

// DecodeInquiry reads an INQUIRY.
func DecodeInquiry(b *[16]byte) (Inquiry, error) {
	if err := want(b, OpInquiry); err != nil {
		return Inquiry{}, err
	}
	return Inquiry{VPD: b[1]&0x01 != 0, Page: VPDPage(b[2]), AllocationLength: binary.BigEndian.Uint16(b[3:])}, nil
}

// RequestSense is REQUEST SENSE (SPC-4).
type RequestSense struct {
	// Descriptor asks for descriptor format sense data (DESC).
	Descriptor bool
	// AllocationLength in bytes; 252 is the most that sense data can be.
	AllocationLength uint8
}

// Encode fills b and returns 6.
func (c RequestSense) Encode(b *[16]byte) int {
	start(b, OpRequestSense)
	b[1] = bit(c.Descriptor, 0x01)
	b[4] = c.AllocationLength
	return 6
}

// DecodeRequestSense reads a REQUEST SENSE.
func DecodeRequestSense(b *[16]byte) (RequestSense, error) {
	if err := want(b, OpRequestSense); err != nil {
		return RequestSense{}, err
	}
	return RequestSense{Descriptor: b[1]&0x01 != 0, AllocationLength: b[4]}, nil
}

// Values of ReportLUNs.Select.
const (
	SelectAddressable uint8 = 0x00 // logical units, without the well-known ones
	SelectWellKnown   uint8 = 0x01 // well-known logical units only
	SelectAll         uint8 = 0x02 // both
)

// ReportLUNs is REPORT LUNS (SPC-4), 12 bytes.
type ReportLUNs struct {
	// Select is SELECT REPORT.
	Select uint8
	// AllocationLength in bytes; at least 16.
	AllocationLength uint32
}

// Encode fills b and returns 12.
func (c ReportLUNs) Encode(b *[16]byte) int {
	start(b, OpReportLUNs)
	b[2] = c.Select
	binary.BigEndian.PutUint32(b[6:], c.AllocationLength)
	return 12
}

// DecodeReportLUNs reads a REPORT LUNS.
func DecodeReportLUNs(b *[16]byte) (ReportLUNs, error) {
	if err := want(b, OpReportLUNs); err != nil {
		return ReportLUNs{}, err
	}
	return ReportLUNs{Select: b[2], AllocationLength: binary.BigEndian.Uint32(b[6:])}, nil
}

// ReadCapacity10 is READ CAPACITY(10) (SBC-3); its data is 8 bytes.
type ReadCapacity10 struct{}

// Encode fills b and returns 10.
func (ReadCapacity10) Encode(b *[16]byte) int {
	start(b, OpReadCapacity10)
	return 10
}

// DecodeReadCapacity10 reads a READ CAPACITY(10). A set PMI bit or LBA
// (obsolete) is ErrMalformed, to be answered with 5/24/00.
func DecodeReadCapacity10(b *[16]byte) (ReadCapacity10, error) {
	if err := want(b, OpReadCapacity10); err != nil {
		return ReadCapacity10{}, err
	}
	if binary.BigEndian.Uint32(b[2:]) != 0 || b[8]&0x01 != 0 {
		return ReadCapacity10{}, ErrMalformed
	}
	return ReadCapacity10{}, nil
}

// ReadCapacity16 is READ CAPACITY(16) (SBC-3); its data is 32 bytes.
type ReadCapacity16 struct {
	// AllocationLength in bytes.
	AllocationLength uint32
}

// Encode fills b and returns 16.
func (c ReadCapacity16) Encode(b *[16]byte) int {
	start(b, OpServiceActionIn16)
	b[1] = ActionReadCapacity16
	binary.BigEndian.PutUint32(b[10:], c.AllocationLength)
	return 16
}

// DecodeReadCapacity16 reads a READ CAPACITY(16).
func DecodeReadCapacity16(b *[16]byte) (ReadCapacity16, error) {
	if err := wantAction(b, OpServiceActionIn16, ActionReadCapacity16); err != nil {
		return ReadCapacity16{}, err
	}
	return ReadCapacity16{AllocationLength: binary.BigEndian.Uint32(b[10:])}, nil
}

// StartStopUnit is START STOP UNIT (SBC-3).
type StartStopUnit struct {
	// Immediate: status before the work is done.
	Immediate bool
	// PowerCondition 0 = the Start bit counts; Modifier refines it.
	PowerCondition, Modifier uint8
	// NoFlush: do not write the cache out first.
	NoFlush bool
	// LoadEject moves removable media; Start starts, else stops the unit.
	LoadEject, Start bool
}

// Encode fills b and returns 6, or 0 if a field does not fit.
func (c StartStopUnit) Encode(b *[16]byte) int {
	start(b, OpStartStopUnit)
	if c.PowerCondition > 0x0f || c.Modifier > 0x0f {
		return 0
	}
	b[1] = bit(c.Immediate, 0x01)
	b[3] = c.Modifier
	b[4] = c.PowerCondition<<4 | bit(c.NoFlush, 0x04) | bit(c.LoadEject, 0x02) | bit(c.Start, 0x01)
	return 6
}

// DecodeStartStopUnit reads a START STOP UNIT.
func DecodeStartStopUnit(b *[16]byte) (StartStopUnit, error) {
	if err := want(b, OpStartStopUnit); err != nil {
		return StartStopUnit{}, err
	}
	return StartStopUnit{
		Immediate: b[1]&0x01 != 0, PowerCondition: b[4] >> 4, Modifier: b[3] & 0x0f,
		NoFlush: b[4]&0x04 != 0, LoadEject: b[4]&0x02 != 0, Start: b[4]&0x01 != 0,
	}, nil
}
