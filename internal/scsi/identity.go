// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
)

// ErrNoIdentity: a logical unit names itself in no usable way.
var ErrNoIdentity = errors.New("logical unit has no identity")

// Identity is what a logical unit is known by. It is comparable: two paths with
// equal Identities lead to one unit, if it is not Weak. The zero value names
// nothing.
type Identity struct {
	// ID is "naa." or "eui." and lower-case hex, "t10.VENDOR:id", or
	// "serial.VENDOR:PRODUCT:serial". Bytes that could hurt a terminal, a shell
	// or a configuration file are written as %XX.
	ID string
	// Weak: different units are known to have this ID too, so it identifies
	// only within one target name.
	Weak bool
}

// String returns ID.
func (i Identity) String() string { return i.ID }

// IsZero reports whether i names nothing.
func (i Identity) IsZero() bool { return i.ID == "" }

// SelectIdentity returns the identity of a logical unit: from the designators
// of its VPD page 83h, NAA before EUI-64 before T10; without any, from vendor,
// product and serial number (VPD page 80h). Only designators of the unit itself
// count, and malformed ones are passed over. Of several of one type the longest
// counts, and of these the smallest, so that their order does not matter.
func SelectIdentity(list []Designator, q StandardInquiry, serial string) (Identity, error) {
	for _, t := range [...]DesignatorType{DesignatorNAA, DesignatorEUI64, DesignatorT10} {
		var best []byte
		for _, d := range list {
			if d.Association == OfUnit && d.Type == t && identifies(d) && better(d.Value, best) {
				best = d.Value
			}
		}
		if best != nil {
			return identityOf(t, best), nil
		}
	}
	serial = strings.Trim(serial, " \x00")
	if serial == "" {
		return Identity{}, ErrNoIdentity
	}
	id := "serial." + escapeID(strings.TrimSpace(q.Vendor), true) + ":" +
		escapeID(strings.TrimSpace(q.Product), true) + ":" + escapeID(serial, false)
	return Identity{ID: id, Weak: true}, nil
}

// better prefers the longer value, then the smaller.
func better(v, best []byte) bool {
	if len(v) != len(best) {
		return len(v) > len(best)
	}
	return bytes.Compare(v, best) < 0
}

// identifies reports whether the value has a form that its type allows.
func identifies(d Designator) bool {
	v := d.Value
	switch d.Type {
	case DesignatorNAA:
		if len(v) == 0 {
			return false
		}
		switch v[0] >> 4 {
		case 2, 3, 5:
			return len(v) == 8
		case 6:
			return len(v) == 16
		}
		return false
	case DesignatorEUI64:
		return (len(v) == 8 || len(v) == 12 || len(v) == 16) && !zero(v)
	case DesignatorT10:
		return len(v) > 8 && len(bytes.Trim(v[8:], " \x00")) > 0
	default:
		return false
	}
}

func identityOf(t DesignatorType, v []byte) Identity {
	switch t {
	case DesignatorNAA:
		return Identity{ID: "naa." + hex.EncodeToString(v), Weak: weakNAA(v)}
	case DesignatorEUI64:
		oui := v[:3]
		if len(v) == 16 { // the identifier extension comes first
			oui = v[8:11]
		}
		return Identity{ID: "eui." + hex.EncodeToString(v), Weak: zero(oui)}
	default:
		vendor := string(bytes.TrimRight(v[:8], " \x00"))
		id := string(bytes.TrimRight(v[8:], " \x00"))
		return Identity{ID: "t10." + escapeID(vendor, true) + ":" + escapeID(id, false), Weak: vendor == "IET"}
	}
}

// weakNAA: type 3 is assigned by whoever set the target up, and a company
// identifier of 0 was never assigned: tgt makes such NAA 6 from LUN numbers.
func weakNAA(v []byte) bool {
	switch v[0] >> 4 {
	case 2: // 12 bits vendor specific A, then the company
		return zero(v[2:5])
	case 5, 6: // the company's 24 bits follow the 4 bits of the type
		return v[0]&0x0f == 0 && zero(v[1:3]) && v[3]>>4 == 0
	default:
		return true
	}
}

func zero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// escapeID writes every byte but letters, digits and "._+-" as %XX; ':' too
// where it would end a part.
func escapeID(s string, part bool) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= '0' && c <= '9', c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z',
			c == '.', c == '_', c == '+', c == '-', c == ':' && !part:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&0x0f])
		}
	}
	return b.String()
}
