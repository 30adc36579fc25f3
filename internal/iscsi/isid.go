// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
)

// ISID is the initiator's part of a session identifier. Two live sessions of one initiator name at one target portal
// group must have different ISIDs: a second login with the same one ends the first session.
// RFC 7143 11.12.5 (ISID), 6.3.5 (Session Reinstatement, Closure, and Timeout).
type ISID [6]byte

// ISIDFormat is the T field, two bits.
type ISIDFormat uint8

// The formats of an ISID; 3 is reserved.
const (
	ISIDOUI    ISIDFormat = 0
	ISIDEN     ISIDFormat = 1 // IANA enterprise number
	ISIDRandom ISIDFormat = 2
)

// OUIISID makes an ISID from an IEEE OUI, whose I/G and U/L bits are dropped, and a 24-bit qualifier.
func OUIISID(oui [3]byte, qualifier uint32) ISID {
	return ISID{oui[0] >> 2, oui[1], oui[2], byte(qualifier >> 16), byte(qualifier >> 8), byte(qualifier)}
}

// ENISID makes an ISID from a 24-bit IANA enterprise number and a qualifier.
func ENISID(enterprise uint32, qualifier uint16) ISID {
	return ISID{byte(ISIDEN) << 6, byte(enterprise >> 16), byte(enterprise >> 8), byte(enterprise), byte(qualifier >> 8), byte(qualifier)}
}

// RandomISID makes an ISID of the random format from a 24-bit number and a qualifier.
func RandomISID(random uint32, qualifier uint16) ISID {
	i := ENISID(random, qualifier)
	i[0] = byte(ISIDRandom) << 6
	return i
}

// NewISID draws an ISID of the random format, its qualifier random too. The caller stores it: an ISID must survive a
// restart to be of use for session reinstatement.
func NewISID() ISID {
	var b [5]byte
	_, _ = rand.Read(b[:]) // never fails, crypto/rand ends the process instead
	return RandomISID(uint32(b[0])<<16|uint32(b[1])<<8|uint32(b[2]), binary.BigEndian.Uint16(b[3:]))
}

// ParseISID reads the twelve hexadecimal digits of String. CodeText: anything else.
func ParseISID(s string) (ISID, error) {
	var i ISID
	if len(s) != 2*len(i) {
		return ISID{}, fault(CodeText, "ISID is not 12 hexadecimal digits")
	}
	if _, err := hex.Decode(i[:], []byte(s)); err != nil {
		return ISID{}, fault(CodeText, "ISID is not 12 hexadecimal digits")
	}
	return i, nil
}

// Format returns the T field.
func (i ISID) Format() ISIDFormat { return ISIDFormat(i[0] >> 6) }

// String returns twelve hexadecimal digits.
func (i ISID) String() string { return hex.EncodeToString(i[:]) }
