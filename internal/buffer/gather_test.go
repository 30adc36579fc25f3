// SPDX-License-Identifier: Apache-2.0

package buffer

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// B68: a payload that comes in parts of any length, each in a segment of its own, is
// what was sent, and takes no more memory than a few times its length.
func TestB68Gather(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 68))
	for _, longest := range []int{1, 600, 20000, 100000} {
		var v Vec
		var want []byte
		for len(want) < 1<<20 && len(v) < 2000 && len(want) < longest*500 {
			chunk := Get(64 << 10)
			n := 1 + r.IntN(min(longest, chunk.Cap()))
			from := r.IntN(chunk.Cap() - n + 1)
			for i := range n {
				chunk.b[from+i] = byte(r.Uint32())
			}
			want = append(want, chunk.b[from:from+n]...)
			var w Vec
			w.Append(chunk.Slice(from, from+n))
			v.Gather(&w)
			if len(w) != 0 {
				t.Fatal("Gather left slices")
			}
		}
		if !bytes.Equal(v.Bytes(), want) {
			t.Fatalf("seed %d: parts of up to %d bytes are not what was sent", seed, longest)
		}
		memory := 0
		for i := range v {
			if i == 0 || v[i].Seg != v[i-1].Seg {
				memory += v[i].Seg.Cap()
			}
		}
		if limit := 2*len(want) + 3*64<<10; memory > limit {
			t.Errorf("seed %d: %d bytes in parts of up to %d take %d", seed, len(want), longest, memory)
		}
		v.Release()
	}
}

// What somebody else holds is not written to.
func TestGatherShared(t *testing.T) {
	s := Get(64 << 10)
	copy(s.b, "abcdef")
	var v, w Vec
	v.AppendBytes([]byte("x"))
	v.Append(s.Slice(0, 3))
	s.Retain()
	w.AppendBytes([]byte("y"))
	v.Gather(&w)
	if got := string(v.Bytes()); got != "xabcy" || string(s.b[:6]) != "abcdef" {
		t.Errorf("got %q, and %q in the shared segment", got, s.b[:6])
	}
	w.Append(Slice{B: []byte("constant")})
	v.Gather(&w)
	if got := string(v.Bytes()); got != "xabcyconstant" {
		t.Errorf("got %q", got)
	}
	s.Release()
	v.Release()
}
