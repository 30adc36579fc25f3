// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"strings"
	"testing"
)

// fixture reads hex with a comment behind '#' on each line.
func fixture(t testing.TB, text string) []byte {
	t.Helper()
	var b []byte
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		raw, err := hex.DecodeString(strings.Join(strings.Fields(line), ""))
		if err != nil {
			t.Fatalf("fixture line %q: %v", line, err)
		}
		b = append(b, raw...)
	}
	return b
}

// captured returns the answers in testdata/tgtd.txt by name.
func captured(t testing.TB) map[string][]byte {
	t.Helper()
	text, err := os.ReadFile("testdata/tgtd.txt")
	if err != nil {
		t.Fatal(err)
	}
	m := make(map[string][]byte)
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[0] == "#" {
			continue
		}
		b, err := hex.DecodeString(f[2])
		if err != nil {
			t.Fatalf("%s: %v", f[0], err)
		}
		m[f[0]] = b
	}
	return m
}

// wantPrefixErrors checks that every proper prefix of b is refused with one of
// the package's errors.
func wantPrefixErrors(t *testing.T, b []byte, decode func([]byte) error) {
	t.Helper()
	if err := decode(b); err != nil {
		t.Fatalf("whole input: %v", err)
	}
	for n := range b {
		err := decode(b[:n:n])
		if !errors.Is(err, ErrTruncated) && !errors.Is(err, ErrMalformed) {
			t.Errorf("first %d of %d bytes: error %v, want ErrTruncated or ErrMalformed", n, len(b), err)
		}
	}
	// Bytes behind the stated length change nothing.
	if err := decode(append(bytes.Clone(b), 0xff, 0xff)); err != nil {
		t.Errorf("with bytes behind it: %v", err)
	}
}

func wantBytes(t *testing.T, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Errorf("%s:\n got %x\nwant %x", what, got, want)
	}
}
