// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"bytes"
	"strings"
)

// Limits of text segments. RFC 7143 6.1 (Text Format).
const (
	// MaxKeyLength is the length of the longest key name in bytes.
	MaxKeyLength = 63
	// MaxValueLength is the length of the longest value in bytes, except for keys that carry lists or binary values.
	MaxValueLength = 255
	// MaxLongValueLength is the length of the longest value of the other keys: a CHAP value of 1024 bytes in hexadecimal.
	MaxLongValueLength = 2 + 2*MaxCHAPBinary
	// MaxTextLength is the default bound on one logical text segment, continuations included: what the RFC demands at
	// least, so that a peer cannot make us hold more.
	MaxTextLength = 8192
	// MaxTextPairs bounds the pairs of one segment. All keys that exist are fewer than half of it.
	MaxTextPairs = 96
)

// KeyValue is one key=value pair.
type KeyValue struct{ Key, Value string }

// Text is an ordered list of pairs. The zero value is empty and ready to use.
type Text []KeyValue

// Add appends a pair.
func (t *Text) Add(key, value string) { *t = append(*t, KeyValue{key, value}) }

// Get returns the value of the first pair with the key.
func (t Text) Get(key string) (string, bool) {
	for i := range t {
		if t[i].Key == key {
			return t[i].Value, true
		}
	}
	return "", false
}

// Len returns the length of the encoded list in bytes.
func (t Text) Len() int {
	n := 0
	for i := range t {
		n += len(t[i].Key) + len(t[i].Value) + 2
	}
	return n
}

// Append appends the encoded list: key, "=", value and a null byte for each pair.
func (t Text) Append(dst []byte) []byte {
	for i := range t {
		dst = append(append(dst, t[i].Key...), '=')
		dst = append(append(dst, t[i].Value...), 0)
	}
	return dst
}

// String returns the pairs for a log line, with the values of CHAP responses masked.
func (t Text) String() string {
	var b strings.Builder
	for i := range t {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(t[i].Key)
		b.WriteByte('=')
		if t[i].Key == KeyCHAPR {
			b.WriteString(SecretMask)
			continue
		}
		b.WriteString(t[i].Value)
	}
	return b.String()
}

// ParseText reads one logical text segment of a login or of a negotiation. The result copies data. CodeText: a pair
// without "=" or without its null byte, an ill-formed or too long key, a value that is too long, more than MaxTextPairs
// pairs. CodeNegotiation: a key that comes twice, except TargetAddress.
// RFC 7143 6.1 (Text Format), 6.3 (Login Phase).
func ParseText(data []byte) (Text, error) {
	var t Text
	err := scanText(data, func(key, value string) error {
		if len(t) == MaxTextPairs {
			return fault(CodeText, "too many keys")
		}
		if _, dup := t.Get(key); dup && key != KeyTargetAddress {
			return fault(CodeNegotiation, "key "+key+" comes twice")
		}
		t.Add(key, value)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return t, nil
}

// scanText calls emit for each pair of a segment, in order, until one fails.
func scanText(data []byte, emit func(key, value string) error) error {
	for len(data) > 0 {
		end := bytes.IndexByte(data, 0)
		if end < 0 {
			return fault(CodeText, "pair without a null byte at its end")
		}
		pair := data[:end]
		data = data[end+1:]
		eq := bytes.IndexByte(pair, '=')
		if eq < 0 {
			return fault(CodeText, "pair without an equals sign")
		}
		if !validKey(pair[:eq]) {
			return fault(CodeText, "ill-formed key")
		}
		key := string(pair[:eq])
		if len(pair)-eq-1 > maxValue(key) {
			return fault(CodeText, "value of "+key+" is too long")
		}
		if err := emit(key, string(pair[eq+1:])); err != nil {
			return err
		}
	}
	return nil
}

// validKey checks for a standard-label, or the one key with a "#".
func validKey(k []byte) bool {
	if len(k) == 0 || len(k) > MaxKeyLength || k[0] < 'A' || k[0] > 'Z' {
		// iSCSIProtocolLevel of RFC 7144 is the one key that does not begin with a capital letter.
		return string(k) == KeyProtocolLevel
	}
	for _, c := range k {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case c == '.', c == '-', c == '+', c == '@', c == '_', c == '#':
		default:
			return false
		}
	}
	return true
}

// maxValue returns the limit for the value of a key: longer for those that carry lists or large binary values.
func maxValue(key string) int {
	switch key {
	case KeyCHAPC, KeyCHAPR, KeyAuthMethod, KeyHeaderDigest, KeyDataDigest, KeyTaskReporting, KeyCHAPA:
		return MaxLongValueLength
	}
	return MaxValueLength
}
