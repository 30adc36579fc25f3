// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"
)

// ParseNumber reads a numerical-value: a decimal-constant without leading zeros, or a hex-constant. RFC 7143 6.1.
func ParseNumber(s string) (n uint64, ok bool) {
	if digits, isHex := cutPrefixFold(s, 'x'); isHex {
		n, err := strconv.ParseUint(digits, 16, 64)
		return n, err == nil && onlyHex(digits)
	}
	if s == "" || s[0] < '0' || s[0] > '9' || s[0] == '0' && len(s) > 1 {
		return 0, false // also keeps "+1" and "_" from ParseUint
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

// onlyHex is stricter than ParseUint, which takes a sign.
func onlyHex(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if !('0' <= s[i] && s[i] <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	return s != ""
}

// cutPrefixFold cuts "0x" or "0X", or with another letter likewise.
func cutPrefixFold(s string, letter byte) (rest string, ok bool) {
	if len(s) >= 2 && s[0] == '0' && s[1]|0x20 == letter {
		return s[2:], true
	}
	return s, false
}

// ParseBoolean reads a boolean-value: exactly Yes or No. RFC 7143 6.1.
func ParseBoolean(s string) (value, ok bool) { return s == ValueYes, s == ValueYes || s == ValueNo }

func formatBoolean(v bool) string {
	if v {
		return ValueYes
	}
	return ValueNo
}

// DecodeBinary reads a binary-value in hexadecimal ("0x", an odd count of digits has an implied leading 0) or base64
// ("0b") into dst and returns its length. CodeText: another form, no digits at all, or more bytes than dst holds; dst
// bounds what is written, whatever the peer sent. RFC 7143 6.1 (hex-constant, base64-constant).
func DecodeBinary(dst []byte, s string) (int, error) {
	if digits, ok := cutPrefixFold(s, 'x'); ok {
		return decodeHex(dst, digits)
	}
	if digits, ok := cutPrefixFold(s, 'b'); ok {
		return decodeBase64(dst, digits)
	}
	return 0, fault(CodeText, "binary value is neither hexadecimal nor base64")
}

func decodeHex(dst []byte, digits string) (int, error) {
	n := (len(digits) + 1) / 2
	switch {
	case !onlyHex(digits):
		return 0, fault(CodeText, "ill-formed hexadecimal value")
	case n > len(dst):
		return 0, fault(CodeText, "binary value is too long")
	}
	if len(digits)%2 == 1 {
		digits = "0" + digits
	}
	_, _ = hex.Decode(dst, []byte(digits)) // digits and length are checked
	return n, nil
}

func decodeBase64(dst []byte, digits string) (int, error) {
	n := len(digits) / 4 * 3
	n -= min(strings.Count(digits, "="), n)
	switch {
	case digits == "" || len(digits)%4 != 0 || strings.ContainsAny(digits, "\r\n"): // Decode skips line ends
		return 0, fault(CodeText, "ill-formed base64 value")
	case n > len(dst):
		return 0, fault(CodeText, "binary value is too long")
	}
	b, err := base64.StdEncoding.Strict().DecodeString(digits)
	if err != nil || len(b) == 0 || len(b) > len(dst) {
		return 0, fault(CodeText, "ill-formed base64 value")
	}
	return copy(dst, b), nil
}

// EncodeBinary returns a binary-value in hexadecimal, the form that every peer reads.
func EncodeBinary(b []byte) string { return "0x" + hex.EncodeToString(b) }
