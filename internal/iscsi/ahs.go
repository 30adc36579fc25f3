// SPDX-License-Identifier: Apache-2.0

package iscsi

import "encoding/binary"

// AHS codes. RFC 7143 11.2.2.1 (AHSType).
const (
	ahsExtendedCDB = 1
	ahsBidiRead    = 2
	ahsCodeMask    = 0x3f
	ahsHeader      = 3   // AHSLength and AHSType
	ahsBidiLength  = 5   // reserved byte and the 32-bit length
	maxCDB         = 260 // SPC: longest variable-length CDB
	cdbInHeader    = 16
)

// CommandAHS are the additional header segments that a SCSI Command may have. RFC 7143 11.2.2.3 (Extended CDB AHS),
// 11.2.2.4 (Bidirectional Read Expected Data Transfer Length AHS).
type CommandAHS struct {
	ExtendedCDB []byte // CDB bytes from 16 on; nil when the CDB has at most 16. At most 244 bytes; borrows the input
	HasBidiRead bool
	BidiRead    uint32 // expected length of the read direction in bytes
}

// DecodeCommandAHS reads all additional header segments of a SCSI Command; b is exactly TotalAHSLength bytes. CodeAHS: a
// segment that is a runt, ends beyond b, is of a reserved type, comes twice, or has a length its type does not allow.
func DecodeCommandAHS(b []byte) (CommandAHS, error) {
	var a CommandAHS
	for len(b) > 0 {
		if len(b) < 4 {
			return CommandAHS{}, fault(CodeAHS, "segment is a runt")
		}
		n := int(binary.BigEndian.Uint16(b))
		end := ahsHeader + n
		padded := end + PadLength(end)
		if padded > len(b) {
			return CommandAHS{}, fault(CodeAHS, "AHSLength beyond TotalAHSLength")
		}
		if err := a.add(b[2]&ahsCodeMask, b[ahsHeader:end]); err != nil {
			return CommandAHS{}, err
		}
		b = b[padded:]
	}
	return a, nil
}

// add takes one segment: its code, and its bytes from the reserved byte 3 on.
func (a *CommandAHS) add(code byte, body []byte) error {
	switch code {
	case ahsExtendedCDB:
		if a.ExtendedCDB != nil {
			return fault(CodeAHS, "two extended CDBs")
		}
		if len(body) < 2 || len(body)-1 > maxCDB-cdbInHeader {
			return fault(CodeAHS, "extended CDB of an impossible length")
		}
		a.ExtendedCDB = body[1:len(body):len(body)]
	case ahsBidiRead:
		if a.HasBidiRead {
			return fault(CodeAHS, "two bidirectional read lengths")
		}
		if len(body) != ahsBidiLength {
			return fault(CodeAHS, "bidirectional read length of the wrong size")
		}
		a.HasBidiRead = true
		a.BidiRead = binary.BigEndian.Uint32(body[1:])
	default:
		return fault(CodeAHS, "segment of a reserved type")
	}
	return nil
}

// Len returns the bytes that Append appends: the TotalAHSLength.
func (a CommandAHS) Len() int {
	n := 0
	if len(a.ExtendedCDB) > 0 {
		n += 4 + len(a.ExtendedCDB) + PadLength(len(a.ExtendedCDB))
	}
	if a.HasBidiRead {
		n += 8
	}
	return n
}

// Append appends the segments, padded. It panics when ExtendedCDB is longer than 244 bytes.
func (a CommandAHS) Append(dst []byte) []byte {
	if n := len(a.ExtendedCDB); n > 0 {
		if n > maxCDB-cdbInHeader {
			panic("iscsi: extended CDB too long")
		}
		dst = binary.BigEndian.AppendUint16(dst, uint16(n+1)) // the reserved byte counts
		dst = append(dst, ahsExtendedCDB, 0)
		dst = append(dst, a.ExtendedCDB...)
		for range PadLength(n) {
			dst = append(dst, 0)
		}
	}
	if a.HasBidiRead {
		dst = binary.BigEndian.AppendUint16(dst, ahsBidiLength)
		dst = append(dst, ahsBidiRead, 0)
		dst = binary.BigEndian.AppendUint32(dst, a.BidiRead)
	}
	return dst
}
