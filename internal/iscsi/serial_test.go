// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"math/rand/v2"
	"testing"
)

// lessSlow is the definition of RFC 1982 3.2 word by word.
func lessSlow(s1, s2 uint32) bool {
	i1, i2 := uint64(s1), uint64(s2)
	return i1 != i2 && (i1 < i2 && i2-i1 < 1<<31 || i1 > i2 && i1-i2 > 1<<31)
}

func TestSerialLessMatchesDefinition(t *testing.T) {
	edges := []uint32{0, 1, 2, 1<<31 - 1, 1 << 31, 1<<31 + 1, 1<<32 - 2, 1<<32 - 1}
	var pairs [][2]uint32
	for _, a := range edges {
		for _, b := range edges {
			pairs = append(pairs, [2]uint32{a, b})
		}
	}
	seed := uint64(7143)
	rnd := rand.New(rand.NewPCG(seed, 1982))
	for range 10000 {
		a := rnd.Uint32()
		pairs = append(pairs, [2]uint32{a, a + uint32(int32(rnd.Uint32())>>rnd.UintN(32))})
	}
	for _, p := range pairs {
		if p[0]-p[1] == 1<<31 {
			continue // undefined in RFC 1982
		}
		a, b := SerialOf(p[0]), SerialOf(p[1])
		if got, want := a.Less(b), lessSlow(p[0], p[1]); got != want {
			t.Errorf("Less(%d, %d) = %v, want %v (seed %d)", p[0], p[1], got, want, seed)
		}
		if got, want := a.LessEq(b), p[0] == p[1] || lessSlow(p[0], p[1]); got != want {
			t.Errorf("LessEq(%d, %d) = %v, want %v (seed %d)", p[0], p[1], got, want, seed)
		}
	}
}

func TestSerialArithmetic(t *testing.T) {
	top := SerialOf(1<<32 - 1)
	if got := top.Next(); got != SerialOf(0) {
		t.Errorf("after the last number: %v, want 0", got)
	}
	if got := SerialOf(0).Prev(); got != top {
		t.Errorf("before 0: %v, want %v", got, top)
	}
	if got := top.Add(6); got != SerialOf(5) {
		t.Errorf("last + 6 = %v, want 5", got)
	}
	if got := SerialOf(5).Sub(top); got != 6 {
		t.Errorf("5 - last = %d, want 6", got)
	}
	if got := top.Sub(SerialOf(5)); got != -6 {
		t.Errorf("last - 5 = %d, want -6", got)
	}
	if got := SerialOf(17).String(); got != "17" {
		t.Errorf("String() = %q, want 17", got)
	}
}

func TestSerialInWindow(t *testing.T) {
	for _, c := range []struct {
		name      string
		s, lo, hi uint32
		want      bool
	}{
		{"below", 9, 10, 20, false},
		{"lower end", 10, 10, 20, true},
		{"inside", 15, 10, 20, true},
		{"upper end", 20, 10, 20, true},
		{"above", 21, 10, 20, false},
		{"window of one", 10, 10, 10, true},
		{"closed, at lo", 10, 10, 9, false},
		{"closed, at hi", 9, 10, 9, false},
		{"closed over the wrap", 0, 0, 1<<32 - 1, false},
		{"wrapped, before 0", 1<<32 - 1, 1<<32 - 2, 3, true},
		{"wrapped, after 0", 2, 1<<32 - 2, 3, true},
		{"wrapped, below", 1<<32 - 3, 1<<32 - 2, 3, false},
		{"wrapped, above", 4, 1<<32 - 2, 3, false},
	} {
		if got := SerialOf(c.s).InWindow(SerialOf(c.lo), SerialOf(c.hi)); got != c.want {
			t.Errorf("%s: %d in [%d, %d] = %v, want %v", c.name, c.s, c.lo, c.hi, got, c.want)
		}
	}
}

func TestNumbersValidWindow(t *testing.T) {
	for _, c := range []struct {
		exp, max uint32
		want     bool
	}{
		{10, 20, true}, {10, 10, true}, {10, 9, true}, {10, 8, false}, {0, 1<<32 - 1, true}, {0, 1<<32 - 2, false},
	} {
		n := Numbers{ExpCmdSN: SerialOf(c.exp), MaxCmdSN: SerialOf(c.max)}
		if got := n.ValidWindow(); got != c.want {
			t.Errorf("ExpCmdSN %d, MaxCmdSN %d: valid %v, want %v", c.exp, c.max, got, c.want)
		}
	}
}
