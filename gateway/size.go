// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a length or an offset in bytes, at most MaxSize. Its text form is what
// the configuration uses: plain bytes or a binary unit ("4096", "64MiB", "1G").
type Size uint64

// MaxSize is the largest Size that ParseSize gives: 2^63-1, since file offsets and
// the arithmetic on extents are signed 64-bit.
const MaxSize Size = math.MaxInt64

const sizeRule = "a whole number of bytes, or with KiB, MiB, GiB, TiB, PiB; a multiple of 512, less than 2^63"

var (
	errSizeSyntax = errors.New("is not a size")
	errSizeSign   = errors.New("is negative")
	errSizeRange  = errors.New("is too large")
)

// ParseSize reads "4096", "64MiB", "64M" or "64 MiB". K, M, G, T and P are powers
// of 1024, with or without "iB", in either case; "64MB" is refused, since it means
// 10^6 to some and 2^20 to others. No fraction, no sign, nothing at or over 2^63.
func ParseSize(s string) (Size, error) {
	if strings.HasPrefix(s, "-") {
		return 0, errSizeSign
	}
	digits := 0
	for digits < len(s) && s[digits] >= '0' && s[digits] <= '9' {
		digits++
	}
	if digits == 0 {
		return 0, errSizeSyntax
	}
	shift, ok := unitShift(strings.TrimPrefix(s[digits:], " "))
	if !ok {
		return 0, errSizeSyntax
	}
	n, err := strconv.ParseUint(s[:digits], 10, 64)
	if err != nil || n > uint64(MaxSize)>>shift {
		return 0, errSizeRange
	}
	return Size(n << shift), nil
}

// unitShift returns log2 of a unit's bytes.
func unitShift(unit string) (shift uint, ok bool) {
	if unit == "" || unit == "B" {
		return 0, true
	}
	i := strings.IndexByte("KMGTP", unit[0]&^0x20)
	if i < 0 || unit[1:] != "" && !strings.EqualFold(unit[1:], "ib") {
		return 0, false
	}
	return uint(10 * (i + 1)), true
}

// String is the shortest exact form: "64MiB", "1000", "0". ParseSize reads it back.
func (s Size) String() string {
	const units = "KMGTP"
	n, unit := uint64(s), -1
	for n != 0 && n%1024 == 0 && unit+1 < len(units) {
		n /= 1024
		unit++
	}
	if unit < 0 {
		return strconv.FormatUint(n, 10)
	}
	return fmt.Sprintf("%d%ciB", n, units[unit])
}

// MarshalText is String, so that JSON and YAML show what the user may write.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is ParseSize.
func (s *Size) UnmarshalText(b []byte) error {
	v, err := ParseSize(string(b))
	if err != nil {
		return fmt.Errorf("size %q %w", b, err)
	}
	*s = v
	return nil
}
