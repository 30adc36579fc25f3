// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"errors"
	"slices"
	"testing"
)

func TestLUNList(t *testing.T) {
	fields := []LUNField{{}, {0, 1}, {0x41, 0x00}, {0xd2, 0, 0x40, 0}}
	wire := fixture(t, `
		00000020 00000000 # list length, reserved
		0000000000000000  # LUN 0
		0001000000000000  # 1
		4100000000000000  # 256, flat
		d200400000000000  # 16384, extended flat`)
	wantBytes(t, "AppendLUNList", AppendLUNList(nil, fields), wire)
	got, err := DecodeLUNList(wire, 100)
	want := []ReportedLUN{{0, fields[0]}, {1, fields[1]}, {256, fields[2]}, {16384, fields[3]}}
	if err != nil || !slices.Equal(got.LUNs, want) || got.Cut || got.Skipped+got.Duplicates != 0 {
		t.Errorf("decoded %+v, %v, want %+v", got, err, want)
	}
	wantPrefixErrors(t, wire, func(b []byte) error { _, err := DecodeLUNList(b, 100); return err })
}

func TestB38LUNList(t *testing.T) {
	if got, err := DecodeLUNList(fixture(t, "00000000 00000000"), 10); err != nil || len(got.LUNs) != 0 {
		t.Errorf("empty list: %+v, %v", got, err)
	}
	for name, tc := range map[string]struct {
		wire string
		want error
	}{
		"no multiple of 8":    {"0000000c 00000000 0000000000000000 00000000", ErrMalformed},
		"lies by one entry":   {"00000010 00000000 0000000000000000", ErrTruncated},
		"claims 4 GiB":        {"fffffff8 00000000 0000000000000000", ErrTruncated},
		"wraps with its head": {"ffffffff 00000000 0000000000000000", ErrMalformed},
	} {
		if got, err := DecodeLUNList(fixture(t, tc.wire), 10); !errors.Is(err, tc.want) || got.LUNs != nil {
			t.Errorf("%s: %+v, %v, want %v", name, got, err, tc.want)
		}
	}
	if n, err := LUNListBytes(fixture(t, "fffffff8 00000000")); err != nil || n != 1<<32 {
		t.Errorf("LUNListBytes = %d, %v, want 2^32", n, err)
	}

	// A million entries: bounded by the limit, not by the peer.
	many := AppendLUNList(nil, slices.Repeat([]LUNField{{0, 5}, {0x40, 5}, {0xc1, 1}, {0x80, 1}}, 250_000))
	got, err := DecodeLUNList(many, 10)
	if err != nil || len(got.LUNs) != 1 || got.LUNs[0].Field != (LUNField{0, 5}) || got.Duplicates != 499_999 || got.Skipped != 500_000 {
		t.Errorf("duplicates: %+v, %v", got, err)
	}
	var all []LUNField
	for l := range 1 << 16 {
		all = append(all, LUN(l).Field())
	}
	got, err = DecodeLUNList(AppendLUNList(nil, all), 256)
	if err != nil || len(got.LUNs) != 256 || !got.Cut || got.LUNs[255].LUN != 255 {
		t.Errorf("65536 LUNs, limit 256: %d, cut %v, %v", len(got.LUNs), got.Cut, err)
	}
	got, err = DecodeLUNList(AppendLUNList(nil, all), 1<<16)
	if err != nil || len(got.LUNs) != 1<<16 || got.Cut || got.Duplicates != 0 {
		t.Errorf("65536 LUNs, limit 65536: %d, cut %v, %v", len(got.LUNs), got.Cut, err)
	}
}

func FuzzDecodeLUNList(f *testing.F) {
	f.Add(AppendLUNList(nil, []LUNField{{}, {0, 1}, {0xc1, 1}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := DecodeLUNList(b, 8)
		if err != nil {
			return
		}
		if len(got.LUNs) > 8 || len(got.LUNs)*8 > len(b) {
			t.Fatalf("%d LUNs from %d bytes", len(got.LUNs), len(b))
		}
		for i, l := range got.LUNs {
			if n, err := l.Field.LUN(); err != nil || n != l.LUN {
				t.Errorf("entry %+v: field reads as %v, %v", l, n, err)
			}
			if slices.ContainsFunc(got.LUNs[:i], func(o ReportedLUN) bool { return o.LUN == l.LUN }) {
				t.Errorf("LUN %v twice", l.LUN)
			}
		}
	})
}
