// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"encoding/binary"
	"strings"
)

// Peripheral is byte 0 of all INQUIRY data: qualifier and device type.
type Peripheral uint8

const (
	// PeripheralDisk: a direct access block device that is there.
	PeripheralDisk Peripheral = 0x00
	// PeripheralNoUnit: the target cannot have a unit at this LUN (qualifier 3,
	// type 1Fh).
	PeripheralNoUnit Peripheral = 0x7f
	// TypeWellKnown is the device type of a well-known logical unit.
	TypeWellKnown = 0x1e
)

// Qualifier is 0 if the unit is there, 1 if it could be, 3 if it cannot.
func (p Peripheral) Qualifier() uint8 { return uint8(p) >> 5 }

// DeviceType is 0 for a disk.
func (p Peripheral) DeviceType() uint8 { return uint8(p) & 0x1f }

// StandardInquiry is standard INQUIRY data (SPC-4), as far as a disk needs it.
type StandardInquiry struct {
	// Peripheral tells whether a unit is there, and of what type.
	Peripheral Peripheral
	// Removable is RMB.
	Removable bool
	// Version: 5 = SPC-3, 6 = SPC-4, 7 = SPC-5.
	Version uint8
	// PortGroupAccess is TPGS: bit 0 implicit, bit 1 explicit ALUA.
	PortGroupAccess uint8
	// ThirdPartyCopy is 3PC, Protect is PROTECT, MultiPort is MULTIP,
	// CommandQueue is CMDQUE, HiSup is HISUP.
	ThirdPartyCopy, Protect, MultiPort, CommandQueue, HiSup bool
	// Vendor (8), Product (16) and Revision (4 bytes): trailing spaces and NULs
	// removed. They come from the peer and may hold any byte: quote them.
	Vendor, Product, Revision string
	// VersionDescriptors are the standards that are claimed; 0 = none.
	VersionDescriptors [8]uint16
}

// Bits of StandardInquiry.PortGroupAccess.
const (
	ALUAImplicit = 1
	ALUAExplicit = 2
)

const (
	standardInquiryBytes = 36 // the part that everyone has
	fullInquiryBytes     = 96 // as written by Append
	responseDataFormat   = 2
)

// DecodeStandardInquiry reads standard INQUIRY data. Less than 36 bytes is
// ErrTruncated, an additional length that leaves out the revision ErrMalformed;
// version descriptors count as far as they were received.
func DecodeStandardInquiry(b []byte) (StandardInquiry, error) {
	if len(b) < standardInquiryBytes {
		return StandardInquiry{}, truncated("standard INQUIRY data", len(b), standardInquiryBytes)
	}
	n := 5 + int(b[4])
	if n < standardInquiryBytes {
		return StandardInquiry{}, malformed("standard INQUIRY data", "additional length below 31")
	}
	b = b[:min(n, len(b))]
	q := StandardInquiry{
		Peripheral: Peripheral(b[0]), Removable: b[1]&0x80 != 0, Version: b[2], HiSup: b[3]&0x10 != 0,
		PortGroupAccess: b[5] >> 4 & 3, ThirdPartyCopy: b[5]&0x08 != 0, Protect: b[5]&0x01 != 0,
		MultiPort: b[6]&0x10 != 0, CommandQueue: b[7]&0x02 != 0,
		Vendor: trimPad(b[8:16]), Product: trimPad(b[16:32]), Revision: trimPad(b[32:36]),
	}
	for i := range q.VersionDescriptors {
		if at := 58 + 2*i; at+2 <= len(b) {
			q.VersionDescriptors[i] = binary.BigEndian.Uint16(b[at:])
		}
	}
	return q, nil
}

// Append appends 96 bytes of standard INQUIRY data. Names that are too long are
// cut.
func (q StandardInquiry) Append(dst []byte) []byte {
	var b [fullInquiryBytes]byte
	b[0] = byte(q.Peripheral)
	b[1] = bit(q.Removable, 0x80)
	b[2] = q.Version
	b[3] = responseDataFormat | bit(q.HiSup, 0x10)
	b[4] = fullInquiryBytes - 5
	b[5] = q.PortGroupAccess&3<<4 | bit(q.ThirdPartyCopy, 0x08) | bit(q.Protect, 0x01)
	b[6] = bit(q.MultiPort, 0x10)
	b[7] = bit(q.CommandQueue, 0x02)
	putPadded(b[8:16], q.Vendor)
	putPadded(b[16:32], q.Product)
	putPadded(b[32:36], q.Revision)
	for i, v := range q.VersionDescriptors {
		binary.BigEndian.PutUint16(b[58+2*i:], v)
	}
	return append(dst, b[:]...)
}

// trimPad returns b without the spaces and NULs at its end.
func trimPad(b []byte) string { return strings.TrimRight(string(b), " \x00") }

// putPadded copies s into b and fills the rest with spaces.
func putPadded(b []byte, s string) {
	for i := copy(b, s); i < len(b); i++ {
		b[i] = ' '
	}
}
