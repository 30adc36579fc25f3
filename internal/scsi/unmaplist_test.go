// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"errors"
	"slices"
	"testing"
)

func TestUnmapList(t *testing.T) {
	ranges := []BlockRange{{LBA: 0x0102030405060708, Blocks: 0x090a0b0c}, {LBA: 5}}
	wire := fixture(t, `
		0026 0020 00000000                  # data length, descriptors length
		0102030405060708 090a0b0c 00000000
		0000000000000005 00000000 00000000`)
	if n := UnmapListBytes(2); n != len(wire) {
		t.Errorf("UnmapListBytes(2) = %d, want %d", n, len(wire))
	}
	wantBytes(t, "AppendUnmapList", AppendUnmapList(nil, ranges), wire)
	if got, err := DecodeUnmapList(nil, wire, 2); err != nil || !slices.Equal(got, ranges) {
		t.Errorf("decoded %+v, %v, want %+v", got, err, ranges)
	}
	wantPrefixErrors(t, wire, func(b []byte) error { _, err := DecodeUnmapList(nil, b, 2); return err })
	if got, err := DecodeUnmapList(nil, wire, 1); !errors.Is(err, ErrMalformed) || len(got) != 0 {
		t.Errorf("limit 1: %+v, %v, want ErrMalformed", got, err)
	}
	if got, err := DecodeUnmapList(nil, fixture(t, "0006 0000 00000000"), 1); err != nil || len(got) != 0 {
		t.Errorf("no range: %+v, %v", got, err)
	}
	// 17 bytes of descriptors: the second is incomplete and ignored.
	odd := fixture(t, "0017 0011 00000000 0000000000000001 00000002 00000000 ff")
	if got, err := DecodeUnmapList(nil, odd, 9); err != nil || !slices.Equal(got, []BlockRange{{1, 2}}) {
		t.Errorf("17 bytes: %+v, %v", got, err)
	}
}

func TestB26UnmapList(t *testing.T) {
	for name, wire := range map[string]string{
		"data length lies":              "00ff 0010 00000000 0000000000000001 00000002 00000000",
		"descriptors beyond the data":   "0016 0020 00000000 0000000000000001 00000002 00000000",
		"data length below the header":  "0000 0000 00000000",
		"descriptors behind that":       "0006 0010 00000000 0000000000000001 00000002 00000000",
		"all ones":                      "ffff ffff ffffffff",
		"7 bytes are less than a head ": "0005 0000 000000",
	} {
		if got, err := DecodeUnmapList(nil, fixture(t, wire), 9); !errors.Is(err, ErrTruncated) || len(got) != 0 {
			t.Errorf("%s: %+v, %v, want ErrTruncated", name, got, err)
		}
	}
	full := AppendUnmapList(nil, make([]BlockRange, MaxUnmapListRanges+7))
	if len(full) != UnmapListBytes(MaxUnmapListRanges) || len(full) > 0xffff {
		t.Errorf("too many ranges: %d bytes", len(full))
	}
	if got, err := DecodeUnmapList(nil, full, MaxUnmapListRanges); err != nil || len(got) != MaxUnmapListRanges {
		t.Errorf("the most ranges: %d, %v", len(got), err)
	}
}

func TestLBAStatus(t *testing.T) {
	want := []LBAStatus{{BlockRange{8, 16}, Mapped}, {BlockRange{24, 1}, Anchored}}
	wire := fixture(t, `
		00000024 00000000 # length behind itself
		0000000000000008 00000010 00 000000
		0000000000000018 00000001 02 000000`)
	wantBytes(t, "AppendLBAStatus", AppendLBAStatus(nil, want), wire)
	if got, err := DecodeLBAStatus(nil, wire); err != nil || !slices.Equal(got, want) {
		t.Errorf("decoded %+v, %v, want %+v", got, err, want)
	}
	for n := range wire {
		got, err := DecodeLBAStatus(nil, wire[:n])
		if n < 24 && !errors.Is(err, ErrTruncated) || n >= 24 && (err != nil || !slices.Equal(got, want[:1])) {
			t.Errorf("first %d bytes: %+v, %v", n, got, err)
		}
	}
	for name, bad := range map[string]string{
		"no blocks":     "00000014 00000000 0000000000000008 00000000 00 000000",
		"a gap":         "00000024 00000000 0000000000000008 00000010 00 000000 0000000000000019 00000001 00 000000",
		"going back":    "00000024 00000000 0000000000000008 00000010 00 000000 0000000000000008 00000001 00 000000",
		"no descriptor": "00000004 00000000 0000000000000008 00000010 00 000000",
	} {
		if _, err := DecodeLBAStatus(nil, fixture(t, bad)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v, want ErrMalformed", name, err)
		}
	}
}

func FuzzUnmapList(f *testing.F) {
	f.Add(AppendUnmapList(nil, []BlockRange{{1, 2}, {3, 4}}))
	f.Add(AppendLBAStatus(nil, []LBAStatus{{BlockRange{8, 16}, Mapped}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if got, err := DecodeUnmapList(nil, b, 16); err == nil {
			again, err := DecodeUnmapList(nil, AppendUnmapList(nil, got), 16)
			if err != nil || !slices.Equal(got, again) {
				t.Errorf("%+v decodes again as %+v, %v", got, again, err)
			}
		}
		if got, err := DecodeLBAStatus(nil, b); err == nil {
			again, err := DecodeLBAStatus(nil, AppendLBAStatus(nil, got))
			if err != nil || !slices.Equal(got, again) {
				t.Errorf("%+v decodes again as %+v, %v", got, again, err)
			}
		}
	})
}
