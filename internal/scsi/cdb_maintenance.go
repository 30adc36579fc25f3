// SPDX-License-Identifier: Apache-2.0

package scsi

import "encoding/binary"

// ReportPortGroups is REPORT TARGET PORT GROUPS (SPC-4), 12 bytes.
type ReportPortGroups struct {
	// Extended asks for the header with the implicit transition time
	// (PARAMETER DATA FORMAT 001b). Old targets refuse it with 5/24/00.
	Extended bool
	// AllocationLength in bytes.
	AllocationLength uint32
}

// Encode fills b and returns 12.
func (c ReportPortGroups) Encode(b *[16]byte) int {
	start(b, OpMaintenanceIn)
	b[1] = ActionReportPortGroups | bit(c.Extended, 0x20)
	binary.BigEndian.PutUint32(b[6:], c.AllocationLength)
	return 12
}

// DecodeReportPortGroups reads a REPORT TARGET PORT GROUPS. A PARAMETER DATA
// FORMAT above 1 is ErrMalformed.
func DecodeReportPortGroups(b *[16]byte) (ReportPortGroups, error) {
	if err := wantAction(b, OpMaintenanceIn, ActionReportPortGroups); err != nil {
		return ReportPortGroups{}, err
	}
	if b[1]>>5 > 1 {
		return ReportPortGroups{}, ErrMalformed
	}
	return ReportPortGroups{Extended: b[1]>>5 == 1, AllocationLength: binary.BigEndian.Uint32(b[6:])}, nil
}

// SetPortGroups is SET TARGET PORT GROUPS (SPC-4), 12 bytes.
type SetPortGroups struct {
	// ParameterListLength in bytes: 4, and 4 for each group. Zero changes none.
	ParameterListLength uint32
}

// Encode fills b and returns 12.
func (c SetPortGroups) Encode(b *[16]byte) int {
	start(b, OpMaintenanceOut)
	b[1] = ActionSetPortGroups
	binary.BigEndian.PutUint32(b[6:], c.ParameterListLength)
	return 12
}

// DecodeSetPortGroups reads a SET TARGET PORT GROUPS.
func DecodeSetPortGroups(b *[16]byte) (SetPortGroups, error) {
	if err := wantAction(b, OpMaintenanceOut, ActionSetPortGroups); err != nil {
		return SetPortGroups{}, err
	}
	return SetPortGroups{ParameterListLength: binary.BigEndian.Uint32(b[6:])}, nil
}

// Values of ReportSupportedOpcodes.Options.
const (
	ReportAllCommands         uint8 = 0 // every command
	ReportOneOpcode           uint8 = 1 // an operation code without service actions
	ReportOneAction           uint8 = 2 // an operation code with its service action
	ReportOneOpcodeAnyActions uint8 = 3 // as 1 or 2, whichever the operation code has (SPC-5)
)

// ReportSupportedOpcodes is REPORT SUPPORTED OPERATION CODES (SPC-4), 12 bytes.
type ReportSupportedOpcodes struct {
	// Timeouts (RCTD) asks for command timeouts descriptors.
	Timeouts bool
	// Options is REPORTING OPTIONS, 0-7.
	Options uint8
	// Requested and Action name the command that is asked about.
	Requested Opcode
	Action    uint16
	// AllocationLength in bytes.
	AllocationLength uint32
}

// Encode fills b and returns 12, or 0 if a field does not fit.
func (c ReportSupportedOpcodes) Encode(b *[16]byte) int {
	start(b, OpMaintenanceIn)
	if c.Options > 7 {
		return 0
	}
	b[1] = ActionReportSupportedOpcodes
	b[2] = bit(c.Timeouts, 0x80) | c.Options
	b[3] = byte(c.Requested)
	binary.BigEndian.PutUint16(b[4:], c.Action)
	binary.BigEndian.PutUint32(b[6:], c.AllocationLength)
	return 12
}

// DecodeReportSupportedOpcodes reads a REPORT SUPPORTED OPERATION CODES.
func DecodeReportSupportedOpcodes(b *[16]byte) (ReportSupportedOpcodes, error) {
	if err := wantAction(b, OpMaintenanceIn, ActionReportSupportedOpcodes); err != nil {
		return ReportSupportedOpcodes{}, err
	}
	return ReportSupportedOpcodes{
		Timeouts: b[2]&0x80 != 0, Options: b[2] & 0x07, Requested: Opcode(b[3]),
		Action: binary.BigEndian.Uint16(b[4:]), AllocationLength: binary.BigEndian.Uint32(b[6:]),
	}, nil
}
