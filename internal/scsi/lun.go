// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// LUN is a logical unit number as people write it. Values up to 16383 have a
// single-level address of two bytes; larger ones need extended flat space.
type LUN uint16

// LUNField is the 8-byte form on the wire (SAM-5, LUN structures). A target
// may compare all of it: a task management request must carry the field of the
// command that it names, byte for byte.
type LUNField [8]byte

const (
	maxPeripheralLUN = 0xff   // peripheral device addressing, bus 0
	maxFlatLUN       = 0x3fff // flat space addressing

	methodPeripheral = 0
	methodFlat       = 1
	methodLogical    = 2
	methodExtended   = 3

	extendedFlat      = 0xd2 // method 11b, length 01b (4 bytes), extended method 2h
	longExtendedFlat  = 0xe2 // method 11b, length 10b (6 bytes), extended method 2h
	extendedWellKnown = 0xc1 // method 11b, length 00b (2 bytes), extended method 1h
)

// Well-known logical unit numbers (SPC-4, Well known logical units).
const (
	WellKnownReportLUNs    = 0x01
	WellKnownAccess        = 0x02
	WellKnownTargetLog     = 0x03
	WellKnownSecurity      = 0x04
	WellKnownManagement    = 0x05
	WellKnownProtocolSpecs = 0x06 // target commands
)

// String returns the decimal number.
func (l LUN) String() string { return strconv.Itoa(int(l)) }

// Field returns the shortest single-level form: peripheral device addressing
// up to 255, flat space up to 16383, extended flat space above.
func (l LUN) Field() LUNField {
	var f LUNField
	switch {
	case l <= maxPeripheralLUN:
		f[1] = byte(l)
	case l <= maxFlatLUN:
		binary.BigEndian.PutUint16(f[:], methodFlat<<14|uint16(l))
	default:
		f[0] = extendedFlat
		binary.BigEndian.PutUint16(f[2:], uint16(l))
	}
	return f
}

// WellKnownField returns the extended form of the well-known logical unit n.
func WellKnownField(n uint8) LUNField { return LUNField{extendedWellKnown, n} }

// WellKnown reports whether f addresses a well-known logical unit, and which.
func (f LUNField) WellKnown() (n uint8, ok bool) {
	return f[1], f[0] == extendedWellKnown && f.rest(2)
}

// rest reports whether all bytes from n on are zero.
func (f LUNField) rest(n int) bool {
	for _, b := range f[n:] {
		if b != 0 {
			return false
		}
	}
	return true
}

// LUN decodes a single-level address: peripheral device addressing on bus 0,
// flat space, extended flat space and long extended flat space. Logical unit addressing,
// other buses, more than one level, well-known logical units and values above
// 65535 are ErrLUNFormat.
func (f LUNField) LUN() (LUN, error) {
	switch f[0] >> 6 {
	case methodPeripheral:
		if f[0] == 0 && f.rest(2) {
			return LUN(f[1]), nil
		}
	case methodFlat:
		if f.rest(2) {
			return LUN(binary.BigEndian.Uint16(f[:]) & maxFlatLUN), nil
		}
	case methodExtended:
		return f.extended()
	case methodLogical: // bus, target and LUN behind this one: not a unit of this port
	}
	return 0, f.err()
}

// extended decodes the two extended flat forms, of 4 and of 6 bytes.
func (f LUNField) extended() (LUN, error) {
	var end int
	switch f[0] {
	case extendedFlat:
		end = 4
	case longExtendedFlat:
		end = 6
	default:
		return 0, f.err()
	}
	var v uint64
	for _, b := range f[1:end] {
		v = v<<8 | uint64(b)
	}
	if v > 0xffff || !f.rest(end) {
		return 0, f.err()
	}
	return LUN(v), nil
}

func (f LUNField) err() error { return fmt.Errorf("LUN field %x: %w", f[:], ErrLUNFormat) }
