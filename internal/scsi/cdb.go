// SPDX-License-Identifier: Apache-2.0

package scsi

import "fmt"

// CDB is a command descriptor block of 6, 10, 12 or 16 bytes, zero behind its
// length. It converts from and to [16]byte, and *CDB to *[16]byte.
type CDB [16]byte

// Direction is the way a command's data goes.
type Direction uint8

const (
	// NoData: the command has no data phase.
	NoData Direction = iota
	// DataIn: from the device to the initiator.
	DataIn
	// DataOut: from the initiator to the device.
	DataOut
)

// String returns "none", "in" or "out".
func (d Direction) String() string {
	switch d {
	case NoData:
		return "none"
	case DataIn:
		return "in"
	case DataOut:
		return "out"
	default:
		return fmt.Sprintf("Direction(%d)", uint8(d))
	}
}

// Opcode returns the operation code.
func (c *CDB) Opcode() Opcode { return Opcode(c[0]) }

// ServiceAction returns the low 5 bits of byte 1. It means something only for
// operation codes that have service actions.
func (c *CDB) ServiceAction() uint8 { return c[1] & 0x1f }

// Len returns the length in bytes that the group code of the operation code
// fixes (SAM-5, OPERATION CODE). Group 3 (variable length and reserved) and the
// vendor specific groups 6 and 7 are ErrOpcode.
func (c *CDB) Len() (int, error) {
	switch c[0] >> 5 {
	case 0:
		return 6, nil
	case 1, 2:
		return 10, nil
	case 4:
		return 16, nil
	case 5:
		return 12, nil
	default:
		return 0, ErrOpcode
	}
}

// Control returns the CONTROL byte, the last of the CDB; 0 where the length is
// not known.
func (c *CDB) Control() uint8 {
	n, err := c.Len()
	if err != nil {
		return 0
	}
	return c[n-1]
}

// NACA reports the normal ACA bit of the CONTROL byte.
func (c *CDB) NACA() bool { return c.Control()&0x04 != 0 }

// start clears b and sets the operation code.
func start(b *[16]byte, op Opcode) { *b = [16]byte{byte(op)} }

// bit returns mask when v is set.
func bit(v bool, mask byte) byte {
	if v {
		return mask
	}
	return 0
}
