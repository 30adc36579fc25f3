// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"math/big"
	"strings"

	"pathgate/multipath"
)

// Bandwidth is what an adapter or a portal carries, in bytes per second; 0: not
// known. It bounds nothing: the scheduler learns by it what the loss of a path
// costs (the patent, par. 0110).
type Bandwidth uint64

const bandwidthRule = "bytes or bits per second, such as 1.25GB/s, 800MiB/s or 10Gbit; more than 0, at most 1000 TB/s"

var errBandwidthZero = errors.New("is 0")

// ParseBandwidth reads what ParseByteRate does, and kbit, Mbit, Gbit and Tbit (powers
// of 1000), with or without "/s"; decimal fractions are allowed ("1.25GB/s",
// "2.5Gbit"), and rounded down to whole bytes. "10G" and "10Gb" are refused, since
// they mean bytes to some and bits to others. From 1 to multipath.MaxBandwidth.
func ParseBandwidth(s string) (Bandwidth, error) {
	if strings.HasPrefix(s, "-") {
		return 0, errSizeSign
	}
	digits := len(s) - len(strings.TrimLeft(s, "0123456789."))
	whole, fraction, dot := strings.Cut(s[:digits], ".")
	if whole == "" || strings.Contains(fraction, ".") || dot && fraction == "" || digits > 32 {
		return 0, errRate
	}
	factor, err := bandwidthUnit(s[digits:])
	if err != nil {
		return 0, err
	}
	n, ok := new(big.Rat).SetString(s[:digits])
	if !ok {
		return 0, errRate
	}
	n.Mul(n, factor)
	switch b := new(big.Int).Quo(n.Num(), n.Denom()); {
	case !b.IsUint64() || b.Uint64() > multipath.MaxBandwidth:
		return 0, errOutOfRange
	case b.Sign() == 0:
		return 0, errBandwidthZero
	default:
		return Bandwidth(b.Uint64()), nil
	}
}

// bandwidthUnit gives the bytes per second of a unit.
func bandwidthUnit(unit string) (*big.Rat, error) {
	if bits, ok := strings.CutSuffix(strings.TrimSuffix(unit, "/s"), "bit"); ok {
		if strings.TrimPrefix(bits, " ") == "" || strings.HasSuffix(bits, "i") {
			return nil, errRate // bare bits are a slip of the pen
		}
		n, err := ParseByteRate("1" + bits + "B")
		return big.NewRat(n, 8), err
	}
	n, err := ParseByteRate("1" + unit)
	return big.NewRat(n, 1), err
}

// bandwidth reads the `bandwidth` of an adapter or target.
func (o object) bandwidth(into *Bandwidth) {
	parsed(o, "bandwidth", into, ParseBandwidth, bandwidthRule)
}
