// SPDX-License-Identifier: Apache-2.0

package buffer

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestGetSizes(t *testing.T) {
	tests := []struct{ n, want int }{
		{0, 512},
		{1, 512},
		{512, 512},
		{513, 1024},
		{4096, 4096},
		{4097, 8192},
		{1 << 20, 1 << 20},
		{1<<20 + 1, 1<<20 + 1},
	}
	for _, tt := range tests {
		s := Get(tt.n)
		if got := s.Cap(); got != tt.want {
			t.Errorf("Get(%d).Cap() = %d, want %d", tt.n, got, tt.want)
		}
		s.Release()
	}
}

func mustPanic(t *testing.T, what string, f func()) {
	t.Helper()
	defer func() {
		if recover() == nil {
			t.Errorf("%s: no panic", what)
		}
	}()
	f()
}

func TestWrongCountPanics(t *testing.T) {
	s := Get(MaxPooled + 1) // not pooled, so nobody else can revive it
	s.Release()
	mustPanic(t, "second Release", s.Release)
	mustPanic(t, "Retain after Release", s.Retain)
}

func TestShared(t *testing.T) {
	s := Get(10)
	if s.Shared() {
		t.Error("a fresh segment is shared")
	}
	s.Retain()
	if !s.Shared() {
		t.Error("a segment with two holders is not shared")
	}
	s.Release()
	s.Release()
}

// TestVecAgainstBytes compares every Vec operation with plain byte slices.
func TestVecAgainstBytes(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	for range 500 {
		var v Vec
		var want []byte
		for range r.IntN(6) {
			p := make([]byte, r.IntN(3000))
			for i := range p {
				p[i] = byte(r.Uint32())
			}
			if r.IntN(4) == 0 {
				v.AppendZeros(len(p))
				clear(p)
			} else {
				v.AppendBytes(p)
			}
			want = append(want, p...)
		}
		if v.Len() != len(want) || !bytes.Equal(v.Bytes(), want) {
			t.Fatalf("seed %d: Vec differs from bytes", seed)
		}
		off := r.IntN(len(want) + 1)
		n := r.IntN(len(want) - off + 1)
		var part Vec
		part.AppendRange(v, off, n)
		if got := part.Bytes(); !bytes.Equal(got, want[off:off+n]) {
			t.Fatalf("seed %d: AppendRange(%d, %d) differs", seed, off, n)
		}
		var all Vec
		all.AppendVec(v)
		v.Release()
		if v.Len() != 0 {
			t.Fatal("Release left bytes")
		}
		all.Move(&part)
		if got := all.Bytes(); !bytes.Equal(got[len(want):], want[off:off+n]) {
			t.Fatalf("seed %d: Move differs", seed)
		}
		p := make([]byte, 100)
		c := all.CopyTo(p)
		if !bytes.Equal(p[:c], all.Bytes()[:c]) {
			t.Fatalf("seed %d: CopyTo differs", seed)
		}
		all.Release()
	}
}

func TestAppendRangeBeyondEnd(t *testing.T) {
	var v, w Vec
	v.AppendBytes([]byte("abc"))
	mustPanic(t, "AppendRange", func() { w.AppendRange(v, 2, 2) })
}

func BenchmarkGetRelease(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Get(4096).Release()
	}
}
