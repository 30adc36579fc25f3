// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"pathgate/share"
)

// This file reads the scheduler's values. It checks their form alone: their ranges are
// known to package share, which the validator asks, and whose words the faults use.

var (
	errOutOfRange = errors.New("is out of range")
	errWhole      = errors.New("is not a whole number")
	errNumber     = errors.New("is not a number")
	errRate       = errors.New("is not a rate")
)

// knob reads a whole number whose rule has the key's own name.
func knob[T ~int | ~int64 | ~uint64](o object, name string, into *T) { whole(o, name, name, into) }

// whole reads a whole number; rule is the name of its rule.
func whole[T ~int | ~int64 | ~uint64](o object, name, rule string, into *T) {
	parsed(o, name, into, func(s string) (T, error) {
		n, err := strconv.ParseInt(s, 10, 64)
		switch {
		case errors.Is(err, strconv.ErrRange):
			return 0, errOutOfRange
		case err != nil:
			return 0, errWhole
		}
		if n < 0 && T(0)-1 > 0 {
			return 0, errOutOfRange
		}
		return T(n), nil
	}, share.Rule(rule))
}

// shares reads a weight, as a number or one of three words.
func (o object) shares(into *uint32) {
	parsed(o, "shares", into, ParseShares, "low, normal, high, or "+share.Rule("shares"))
}

// ParseShares reads "low", "normal", "high" or a number; the range is not checked.
func ParseShares(s string) (uint32, error) {
	switch s {
	case "low":
		return share.SharesLow, nil
	case "normal":
		return share.SharesNormal, nil
	case "high":
		return share.SharesHigh, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) || err == nil && (n < 0 || n > math.MaxUint32):
		return 0, errOutOfRange
	case err != nil:
		return 0, errWhole
	}
	return uint32(n), nil
}

// depth reads the window's width.
func (o object) depth(into *share.Unit) {
	if v, _, ok := o.get("depth"); ok && v.kind == kindScalar && v.text == "auto" {
		*into = 0
		return
	}
	knob(o, "depth", into)
}

// rate reads `iops` and `bandwidth`; prefix is that of their rules.
func (o object) rate(prefix string, r *share.Rate) {
	whole(o, "iops", prefix+".iops", &r.Ops)
	parsed(o, "bandwidth", &r.Bytes, ParseByteRate, share.Rule(prefix+".bandwidth"))
}

// byteCount reads a number of bytes, with or without a binary unit.
func (o object) byteCount(name, rule string, into *int64) {
	parsed(o, name, into, func(s string) (int64, error) {
		n, err := ParseSize(s)
		return int64(n), err
	}, share.Rule(rule))
}

func (o object) span(name, rule string, into *time.Duration) {
	parsed(o, name, into, func(s string) (time.Duration, error) {
		d, err := time.ParseDuration(s)
		if err != nil {
			return 0, errDuration
		}
		return d, nil
	}, share.Rule(rule))
}

func (o object) fraction(name string, into *float64) {
	parsed(o, name, into, func(s string) (float64, error) {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return 0, errNumber
		}
		return f, nil
	}, share.Rule(name))
}

// words reads an enumeration by its names, in the order of the values.
func words[T ~uint8](o object, name string, into *T, names ...string) {
	parsed(o, name, into, func(s string) (T, error) {
		i := slices.Index(names, s)
		if i < 0 {
			return 0, errWord
		}
		return T(i), nil
	}, "one of "+strings.Join(names, ", "))
}

// ParseByteRate reads bytes per second: "5000000", "5MB/s" (10^6) or "5MiB/s" (2^20).
// kB, MB, GB and TB are powers of 1000, KiB to TiB of 1024, and "/s" may be left out.
// "5M" is refused, since it means either. The range is not checked.
func ParseByteRate(s string) (int64, error) {
	if strings.HasPrefix(s, "-") {
		return 0, errSizeSign
	}
	digits := 0
	for digits < len(s) && s[digits] >= '0' && s[digits] <= '9' {
		digits++
	}
	unit := strings.TrimSuffix(strings.TrimPrefix(s[digits:], " "), "/s")
	factor := int64(1)
	if unit != "" && unit != "B" {
		i := strings.IndexByte("KMGT", unit[0]&^0x20)
		base := int64(1000)
		switch {
		case i < 0 || unit[0] >= 'a' && unit[0] != 'k':
			return 0, errRate
		case unit[1:] == "iB" && unit[0] != 'k':
			base = 1024
		case unit[1:] != "B":
			return 0, errRate
		}
		for range i + 1 {
			factor *= base
		}
	}
	n, err := strconv.ParseInt(s[:digits], 10, 64)
	switch {
	case digits == 0:
		return 0, errRate
	case err != nil || n > math.MaxInt64/factor:
		return 0, errOutOfRange
	}
	return n * factor, nil
}
