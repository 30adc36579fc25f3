// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"strings"
	"unicode/utf8"
)

// MaxNameLength is the length of the longest iSCSI name in bytes. RFC 7143 4.2.7.1 (iSCSI Name Properties).
const MaxNameLength = 223

// ValidateName checks an iSCSI node name: an iqn., eui. or naa. prefix, at most 223 bytes of UTF-8, and none of the
// ASCII characters that the stringprep profile forbids; the underscore, which it forbids too, is let through because
// targets use it. CodeText: anything else. RFC 7143 4.2.7 (iSCSI Names).
func ValidateName(s string) error {
	if len(s) > MaxNameLength || !utf8.ValidString(s) {
		return fault(CodeText, "iSCSI name is too long or not UTF-8")
	}
	prefix, rest, ok := strings.Cut(s, ".")
	if !ok || rest == "" || prefix != "iqn" && prefix != "eui" && prefix != "naa" {
		return fault(CodeText, "iSCSI name has no iqn., eui. or naa. prefix")
	}
	for _, c := range s {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == ':', c == '_':
		case c >= 0x80:
		default:
			return fault(CodeText, "iSCSI name has a forbidden character")
		}
	}
	digits := 0
	switch prefix {
	case "iqn":
		return nil
	case "eui":
		digits = 16
		if len(rest) != digits {
			return fault(CodeText, "eui. name has not 16 hexadecimal digits")
		}
	case "naa":
		if len(rest) != 16 && len(rest) != 32 {
			return fault(CodeText, "naa. name has not 16 or 32 hexadecimal digits")
		}
	}
	if !onlyHex(rest) {
		return fault(CodeText, "iSCSI name has a digit that is not hexadecimal")
	}
	return nil
}
