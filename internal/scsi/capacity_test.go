// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"errors"
	"testing"
)

func TestCapacity16(t *testing.T) {
	want := Capacity{
		Blocks: 1 << 33, BlockSize: 4096, PhysicalExponent: 3, LowestAligned: 0x1234,
		Provisioned: true, ReadZeros: true, ProtectionType: 2,
	}
	wire := fixture(t, `
		00000001ffffffff  # last LBA
		00001000          # block size
		03                # P_TYPE 1, PROT_EN
		03                # physical block exponent
		d234              # LBPME, LBPRZ, lowest aligned LBA
		00000000000000000000000000000000`)
	wantBytes(t, "Append16", want.Append16(nil), wire)
	if got, err := DecodeCapacity16(wire); err != nil || got != want {
		t.Errorf("decoded %+v, %v, want %+v", got, err, want)
	}
	wantPrefixErrors(t, wire, func(b []byte) error { _, err := DecodeCapacity16(b); return err })
	if want.Bytes() != 1<<45 {
		t.Errorf("Bytes() = %d, want 2^45", want.Bytes())
	}
}

func TestCapacity10(t *testing.T) {
	for _, tc := range []struct {
		name   string
		blocks uint64
		wire   string
		more   bool
	}{
		{"small", 0x1000, "00000fff 00000200", false},
		{"one block", 1, "00000000 00000200", false},
		{"largest", 0xffffffff, "fffffffe 00000200", false},
		{"one more", 1 << 32, "ffffffff 00000200", true},
		{"far more", 1 << 40, "ffffffff 00000200", true},
	} {
		wire := fixture(t, tc.wire)
		wantBytes(t, tc.name, Capacity{Blocks: tc.blocks, BlockSize: 512}.Append10(nil), wire)
		want := Capacity{Blocks: tc.blocks, BlockSize: 512}
		if tc.more {
			want.Blocks = 0
		}
		got, more, err := DecodeCapacity10(wire)
		if err != nil || more != tc.more || got != want {
			t.Errorf("%s: %+v, %v, %v, want %+v, %v", tc.name, got, more, err, want, tc.more)
		}
		wantPrefixErrors(t, wire, func(b []byte) error { _, _, err := DecodeCapacity10(b); return err })
	}
}

func TestB37CapacityValidate(t *testing.T) {
	for _, tc := range []struct {
		name string
		c    Capacity
		ok   bool
	}{
		{"usual", Capacity{Blocks: 131072, BlockSize: 512}, true},
		{"one block", Capacity{Blocks: 1, BlockSize: 4096}, true},
		{"largest", Capacity{Blocks: (1<<63 - 1) / 512, BlockSize: 512}, true},
		{"2^63 bytes", Capacity{Blocks: 1 << 54, BlockSize: 512}, false},
		{"no blocks", Capacity{BlockSize: 512}, false},
		{"block size 0", Capacity{Blocks: 8}, false},
		{"block size 520", Capacity{Blocks: 8, BlockSize: 520}, false},
		{"block size 256", Capacity{Blocks: 8, BlockSize: 256}, false},
		{"block size 65536", Capacity{Blocks: 8, BlockSize: 65536}, true},
		{"block size 131072", Capacity{Blocks: 8, BlockSize: 131072}, false},
		{"block size 2^31", Capacity{Blocks: 8, BlockSize: 1 << 31}, false},
		{"protection type 4", Capacity{Blocks: 8, BlockSize: 512, ProtectionType: 4}, false},
	} {
		if err := tc.c.Validate(); (err == nil) != tc.ok || err != nil && !errors.Is(err, ErrCapacity) {
			t.Errorf("%s: %v, want ok = %v", tc.name, err, tc.ok)
		}
	}
	// A last LBA of 2^64-1 must not turn into an empty but valid disk.
	c, err := DecodeCapacity16(fixture(t, "ffffffffffffffff 00000200 0000 0000 00000000000000000000000000000000"))
	if err != nil || c.Blocks != 0 || c.Validate() == nil {
		t.Errorf("last LBA 2^64-1: %+v, %v, valid %v", c, err, c.Validate())
	}
}

func FuzzCapacity(f *testing.F) {
	f.Add(Capacity{Blocks: 5, BlockSize: 512}.Append16(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := DecodeCapacity16(b); err == nil {
			same(t, c, c.Append16(nil), DecodeCapacity16)
			if c.Validate() == nil && c.Bytes()/uint64(c.BlockSize) != c.Blocks {
				t.Errorf("%+v is valid, but its size overflows", c)
			}
		}
		if c, more, err := DecodeCapacity10(b); err == nil && !more {
			same(t, c, c.Append10(nil), func(b []byte) (Capacity, error) { c, _, err := DecodeCapacity10(b); return c, err })
		}
	})
}
