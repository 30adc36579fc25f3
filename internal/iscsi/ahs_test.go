// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"bytes"
	"testing"
)

func TestCommandAHSGolden(t *testing.T) {
	for _, c := range []struct {
		name, wire string
		want       CommandAHS
	}{
		{"none", "", CommandAHS{}},
		{
			"CDB of 32 bytes", `
			0011 01 00                          # AHSLength 17: reserved byte and 16 bytes; extended CDB
			10111213 14151617 18191a1b 1c1d1e1f # CDB bytes 16-31`,
			CommandAHS{ExtendedCDB: wire(t, "101112131415161718191a1b1c1d1e1f")},
		},
		{
			"CDB of 17 bytes", `
			0002 01 00 aa 000000                # AHSLength 2; one byte, three of padding`,
			CommandAHS{ExtendedCDB: []byte{0xaa}},
		},
		{
			"bidirectional read length", `
			0005 02 00 00010000                 # AHSLength 5; 65536`,
			CommandAHS{HasBidiRead: true, BidiRead: 65536},
		},
		{
			"both", `
			0003 01 00 aabb 0000                # CDB of 18 bytes
			0005 02 00 00000007`,
			CommandAHS{ExtendedCDB: []byte{0xaa, 0xbb}, HasBidiRead: true, BidiRead: 7},
		},
	} {
		b := wire(t, c.wire)
		got, err := DecodeCommandAHS(b)
		if err != nil || !bytes.Equal(got.ExtendedCDB, c.want.ExtendedCDB) || got.HasBidiRead != c.want.HasBidiRead || got.BidiRead != c.want.BidiRead {
			t.Errorf("%s: got %+v, %v, want %+v", c.name, got, err, c.want)
		}
		if out := c.want.Append(nil); !bytes.Equal(out, b) || c.want.Len() != len(b) {
			t.Errorf("%s: encoded %x (Len %d), want %x", c.name, out, c.want.Len(), b)
		}
		if n := testing.AllocsPerRun(10, func() { _, _ = DecodeCommandAHS(b) }); n != 0 {
			t.Errorf("%s: allocates %v times, want 0", c.name, n)
		}
		for n := range b {
			if n%4 == 0 && (n == 0 || c.name == "both" && n == 8) {
				continue // ends between two segments
			}
			_, err := DecodeCommandAHS(b[:n])
			wantCode(t, c.name+" cut", err, CodeAHS)
		}
	}
}

// TestB04BadAHS: runts, lengths that lie, reserved types. Framing stays in step, since TotalAHSLength alone decides.
func TestB04BadAHS(t *testing.T) {
	for _, c := range []struct{ name, wire string }{
		{"extended CDB with AHSLength 0", "0000 01 00"},
		{"extended CDB with nothing but the reserved byte", "0001 01 00"},
		{"AHSLength beyond the segment", "0006 01 00 aabbccdd"},
		{"AHSLength 0xffff", "ffff 01 00 aabbccdd"},
		{"type 0", "0005 00 00 00000000"},
		{"type 3", "0005 03 00 00000000"},
		{"type 63", "0005 3f 00 00000000"},
		{"bidirectional length too short", "0004 02 00 000000 00"},
		{"bidirectional length too long", "0009 02 00 00000000 00000000"},
		{"two extended CDBs", "0002 01 00 aa000000 0002 01 00 bb000000"},
		{"two bidirectional lengths", "0005 02 00 00000001 0005 02 00 00000001"},
		{"padding only", "00000000"},
	} {
		_, err := DecodeCommandAHS(wire(t, c.wire))
		wantCode(t, c.name, err, CodeAHS)
	}
	long := append(wire(t, "00f6 01 00"), make([]byte, 248)...) // CDB of 261 bytes
	_, err := DecodeCommandAHS(long)
	wantCode(t, "CDB above 260 bytes", err, CodeAHS)
}

func TestSplitSense(t *testing.T) {
	b := AppendSense(nil, []byte{0x70, 0, 6})
	if want := wire(t, "0003 700006"); !bytes.Equal(b, want) {
		t.Errorf("AppendSense: got %x, want %x", b, want)
	}
	sense, rest, err := SplitSense(append(b, 0xee))
	if err != nil || !bytes.Equal(sense, []byte{0x70, 0, 6}) || !bytes.Equal(rest, []byte{0xee}) || cap(sense) != 3 {
		t.Errorf("SplitSense: got %x, %x, %v", sense, rest, err)
	}
	if sense, rest, err := SplitSense(nil); sense != nil || rest != nil || err != nil {
		t.Errorf("SplitSense of nothing: got %x, %x, %v", sense, rest, err)
	}
	for n := 1; n < len(b); n++ {
		_, _, err := SplitSense(b[:n])
		wantCode(t, "B33 sense length that lies", err, CodeFormat)
	}
}
