// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// SecretMask is what every printed or encoded form of a Secret shows.
const SecretMask = "********"

// Secret is a CHAP secret. Whatever prints, logs or encodes it gets SecretMask; only this package reads the bytes. The
// zero value is no secret. Copies share the bytes, which nobody changes.
//
// The bytes are behind a function because package fmt does not call methods on unexported fields of a caller's struct: it
// would print a slice there, and what a pointer points to for some verbs, but of a function only the address.
type Secret struct{ bytes func() []byte }

// NewSecret copies b.
func NewSecret(b []byte) Secret {
	if len(b) == 0 {
		return Secret{}
	}
	own := append([]byte(nil), b...)
	return Secret{func() []byte { return own }}
}

// Empty reports whether there is no secret.
func (s Secret) Empty() bool { return s.bytes == nil }

// Len returns the length in bytes.
func (s Secret) Len() int { return len(s.reveal()) }

// Equal compares in constant time, but for the length. An empty secret equals nothing.
func (s Secret) Equal(t Secret) bool {
	return !s.Empty() && subtle.ConstantTimeCompare(s.reveal(), t.reveal()) == 1
}

// String returns the mask.
func (s Secret) String() string { return SecretMask }

// GoString returns the mask.
func (s Secret) GoString() string { return SecretMask }

// Format writes the mask for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, SecretMask) }

// MarshalText returns the mask.
func (s Secret) MarshalText() ([]byte, error) { return []byte(SecretMask), nil }

// MarshalJSON returns the mask as a JSON string.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + SecretMask + `"`), nil }

// LogValue returns the mask.
func (s Secret) LogValue() slog.Value { return slog.StringValue(SecretMask) }

func (s Secret) reveal() []byte {
	if s.bytes == nil {
		return nil
	}
	return s.bytes()
}
