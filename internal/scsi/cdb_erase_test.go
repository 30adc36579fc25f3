// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"bytes"
	"errors"
	"testing"
)

func TestFormatUnit(t *testing.T) {
	for _, tt := range []struct {
		wire   string
		want   FormatUnit
		header int
	}{
		{"04 00 00 00 00 00", FormatUnit{}, 4},
		{"04 bd 00 00 00 00", FormatUnit{Protection: 2, Data: true, LongList: true, Complete: true, DefectFormat: 5}, 8},
	} {
		var b [16]byte
		wire := fixture(t, tt.wire)
		n := tt.want.Encode(&b)
		wantBytes(t, "Encode", b[:n], wire)
		if got, err := DecodeFormatUnit(&b); err != nil || got != tt.want || got.HeaderBytes() != tt.header {
			t.Errorf("decoded %+v, %v, want %+v", got, err, tt.want)
		}
	}
	if (FormatUnit{Protection: 4}).Encode(new([16]byte)) != 0 || (Sanitize{Action: 0x20}).Encode(new([16]byte)) != 0 {
		t.Error("what does not fit is encoded")
	}
	if _, err := DecodeFormatUnit(&[16]byte{}); !errors.Is(err, ErrOpcode) {
		t.Error(err)
	}
	if _, err := DecodeSanitize(&[16]byte{}); !errors.Is(err, ErrOpcode) {
		t.Error(err)
	}
}

func TestFormatHeader(t *testing.T) {
	short, long := FormatUnit{Data: true}, FormatUnit{Data: true, LongList: true}
	for _, tt := range []struct {
		name, wire string
		cdb        FormatUnit
		want       Format
		err        error
	}{
		{"short", "00 02 0000", short, Format{Immediate: true}, nil},
		{"short, all", "03 8a 1234", short, Format{ProtectionUsage: 3, Options: true, InitializationPattern: true, Immediate: true, DefectBytes: 0x1234}, nil},
		{"long", "00 80 0000 00012345", long, Format{Options: true, DefectBytes: 0x12345}, nil},
		{"options without FOV", "00 20 0000", short, Format{}, ErrMalformed},
		{"pattern without FOV", "00 08 0000", short, Format{}, ErrMalformed},
		{"vendor", "00 81 0000", short, Format{}, ErrMalformed},
		{"ends early", "00 00 00", short, Format{}, ErrTruncated},
		{"long, ends early", "00 00 00 00 00 00 00", long, Format{}, ErrTruncated},
	} {
		wire := fixture(t, tt.wire)
		got, err := DecodeFormat(wire, tt.cdb)
		if !errors.Is(err, tt.err) || got != tt.want {
			t.Errorf("%s: %+v, %v, want %+v, %v", tt.name, got, err, tt.want, tt.err)
		}
		if tt.err == nil {
			wantBytes(t, tt.name, got.Append(nil, tt.cdb), wire)
		}
	}
}

func TestOverwrite(t *testing.T) {
	for _, tt := range []struct {
		name, wire string
		err        error
	}{
		{"one byte", "01 00 0001 aa", nil},
		{"inverted, 31 passes", "9f 00 0004 01020304", nil},
		{"as long as a block", "01 00 0008 0102030405060708", nil},
		{"longer than a block", "01 00 0009 010203040506070809", ErrMalformed},
		{"no pass", "80 00 0001 aa", ErrMalformed},
		{"no pattern", "01 00 0000", ErrMalformed},
		{"test of a vendor", "21 00 0001 aa", ErrMalformed},
		{"reserved byte", "01 01 0001 aa", ErrMalformed},
		{"pattern ends early", "01 00 0002 aa", ErrTruncated},
		{"header ends early", "01 00 00", ErrTruncated},
	} {
		wire := fixture(t, tt.wire)
		got, err := DecodeOverwrite(wire, 8)
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
		if tt.err == nil {
			wantBytes(t, tt.name, got.Append(nil), wire)
		}
	}
}

// Every prefix of a valid list is an error, and what is decoded encodes to itself.
func FuzzOverwrite(f *testing.F) {
	f.Add([]byte{0x9f, 0, 0, 4, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		if c := (FormatUnit{Data: true, LongList: len(b) > 6}); len(b) >= c.HeaderBytes() {
			if h, err := DecodeFormat(b, c); err == nil {
				if again, err := DecodeFormat(h.Append(nil, c), c); err != nil || again != h {
					t.Errorf("%+v becomes %+v, %v", h, again, err)
				}
			}
		}
		o, err := DecodeOverwrite(b, 512)
		if err != nil {
			return
		}
		wire := o.Append(nil)
		if !bytes.Equal(wire, b[:len(wire)]) {
			t.Errorf("%x becomes %x", b, wire)
		}
		for n := range wire {
			if _, err := DecodeOverwrite(wire[:n], 512); err == nil {
				t.Errorf("%d bytes of %d are taken", n, len(wire))
			}
		}
	})
}
