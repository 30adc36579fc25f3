// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"testing"
)

func TestParseSize(t *testing.T) {
	for in, want := range map[string]Size{
		"0": 0, "512": 512, "512B": 512, "1K": 1024, "1k": 1024, "1KiB": 1024, "1kib": 1024, "64MiB": 64 << 20, "64 MiB": 64 << 20,
		"1GiB": 1 << 30, "3T": 3 << 40, "8191P": 8191 << 50, "9223372036854775807": MaxSize, "007": 7,
	} {
		if got, err := ParseSize(in); got != want || err != nil {
			t.Errorf("%q = %d, %v; want %d", in, got, err, want)
		}
	}
	for in, want := range map[string]error{
		"": errSizeSyntax, "x": errSizeSyntax, "1.5G": errSizeSyntax, "1MB": errSizeSyntax, "1KB": errSizeSyntax, "1  K": errSizeSyntax,
		"+1": errSizeSyntax, "-1": errSizeSign, "-": errSizeSign, "1E": errSizeSyntax, "1KiBx": errSizeSyntax, "1iB": errSizeSyntax, "K": errSizeSyntax, "0x10": errSizeSyntax,
		"1e3": errSizeSyntax, "1_000": errSizeSyntax, "8192P": errSizeRange, "9223372036854775808": errSizeRange, "18446744073709551616": errSizeRange,
		"9007199254740992K": errSizeRange, "٣": errSizeSyntax,
	} {
		if got, err := ParseSize(in); !errors.Is(err, want) {
			t.Errorf("%q = %d, %v; want %v", in, got, err, want)
		}
	}
}

func TestSizeString(t *testing.T) {
	for in, want := range map[Size]string{0: "0", 1: "1", 1023: "1023", 1024: "1KiB", 1025: "1025", 64 << 20: "64MiB", 1 << 40: "1TiB", 1 << 60: "1024PiB", MaxSize: "9223372036854775807"} {
		if got := in.String(); got != want {
			t.Errorf("%d is %q, want %q", uint64(in), got, want)
		}
		var back Size
		if err := back.UnmarshalText([]byte(in.String())); err != nil || back != in {
			t.Errorf("%s reads back as %d, %v", in, back, err)
		}
	}
	if new(Size).UnmarshalText([]byte("x")) == nil {
		t.Error("a bad size was taken")
	}
}
