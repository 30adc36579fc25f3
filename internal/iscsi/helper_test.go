// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
)

// wire reads a fixture: hexadecimal bytes, with a comment after "#" on each line.
func wire(t testing.TB, s string) []byte {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(s) {
		line, _, _ = strings.Cut(line, "#")
		b.WriteString(strings.Join(strings.Fields(line), ""))
	}
	out, err := hex.DecodeString(b.String())
	if err != nil {
		t.Fatalf("fixture: %v", err)
	}
	return out
}

func header(t testing.TB, s string) BHS {
	t.Helper()
	b := wire(t, s)
	if len(b) != HeaderLength {
		t.Fatalf("fixture has %d bytes, want %d", len(b), HeaderLength)
	}
	return BHS(b)
}

func wantCode(t testing.TB, name string, err error, want ErrorCode) {
	t.Helper()
	var pe *ProtocolError
	switch {
	case err == nil:
		t.Errorf("%s: no error, want %v", name, want)
	case !errors.Is(err, want) || !errors.As(err, &pe) || pe.Code != want:
		t.Errorf("%s: %v, want %v", name, err, want)
	}
}

// pdu is what all PDU structs have in common.
type pdu interface {
	comparable
	Encode(*BHS)
}

// golden checks a PDU against its bytes, both ways, and every bit of the header: bits is the number of bits that the RFC
// gives a meaning to in this PDU (or demands to be 0), so all others must be ignored on decode and 0 after encode.
func golden[P pdu](t *testing.T, fixture string, want P, bits int, decode func(*BHS) (P, error)) {
	t.Helper()
	h := header(t, fixture)
	got, err := decode(&h)
	if err != nil {
		t.Fatalf("decode: %v", err)
	}
	if got != want {
		t.Errorf("decode: got %+v\nwant %+v", got, want)
	}
	out := BHS{}
	for i := range out {
		out[i] = 0xee // Encode must overwrite everything
	}
	want.Encode(&out)
	if out != h {
		t.Errorf("encode: got %x\nwant %x", out, h)
	}
	meaningful := 0
	for i := range HeaderLength * 8 {
		x := h
		x[i/8] ^= 0x80 >> (i % 8)
		p, err := decode(&x)
		if err != nil || p != want {
			meaningful++
		}
		if err != nil {
			continue
		}
		p.Encode(&out)
		if q, err := decode(&out); err != nil || q != p {
			t.Errorf("bit %d of byte %d: decode of encode of %+v is %+v, %v", i%8, i/8, p, q, err)
		}
	}
	if meaningful != bits {
		t.Errorf("%d bits have a meaning, want %d", meaningful, bits)
	}
	if n := testing.AllocsPerRun(100, func() {
		p, _ := decode(&h)
		p.Encode(&out)
	}); n != 0 {
		t.Errorf("decode and encode allocate %v times, want 0", n)
	}
	for op := range Opcode(64) {
		x := h
		x[0] = x[0]&^opcodeMask | byte(op)
		if _, err := decode(&x); op != h.Opcode() {
			wantCode(t, "opcode "+op.String(), err, CodeOpcode)
		}
	}
}

// refuse checks that a change of the fixture is refused.
func refuse[P pdu](t *testing.T, fixture string, decode func(*BHS) (P, error), name string, change func(*BHS)) {
	t.Helper()
	h := header(t, fixture)
	change(&h)
	_, err := decode(&h)
	wantCode(t, name, err, CodeFormat)
}

func set(off int, b ...byte) func(*BHS) { return func(h *BHS) { copy(h[off:], b) } }
