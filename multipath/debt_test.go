// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"math/rand/v2"
	"testing"
)

// The list is compared with one bit per byte.
func TestSpans(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	const size = 512
	for round := range 200 {
		var s spans
		var want [size]bool
		for range 40 {
			off := rnd.Uint64N(size - 1)
			end := min(off+1+rnd.Uint64N(64), size)
			lost := rnd.IntN(3) > 0
			if lost {
				s.add(off, end, 1)
			} else {
				s.cut(off, end)
			}
			for i := off; i < end; i++ {
				want[i] = lost
			}
			var have [size]bool
			for _, e := range s {
				for i := e.off; i < e.end; i++ {
					have[i] = true
				}
			}
			if have != want {
				t.Fatalf("round %d: after %d-%d, lost %v: %v", round, off, end, lost, s)
			}
		}
	}
}

func TestSpansAddCut(t *testing.T) {
	has := func(s spans, at uint64) bool {
		for _, e := range s {
			if e.off <= at && at < e.end {
				return true
			}
		}
		return false
	}
	var s spans
	s.add(0, 100, 1)
	s.add(100, 200, 2) // joined
	if len(s) != 1 || s[0].seq != 2 {
		t.Fatalf("%v", s)
	}
	s.cut(50, 150)
	for at, want := range map[uint64]bool{0: true, 49: true, 50: false, 149: false, 150: true, 199: true, 200: false} {
		if has(s, at) != want {
			t.Errorf("at %d: %v in %v", at, !want, s)
		}
	}
	s.cut(0, 1000)
	if len(s) != 0 {
		t.Errorf("%v", s)
	}
	for i := range uint64(3 * maxSpans) { // far apart
		s.add(i*10, i*10+1, i)
	}
	if len(s) > maxSpans {
		t.Errorf("%d spans", len(s))
	}
	for i := range uint64(3 * maxSpans) {
		if !has(s, i*10) {
			t.Fatalf("%d is gone", i*10)
		}
	}
	if out := s.until(3*maxSpans - 1); len(s) != 0 || !has(out, 0) {
		t.Errorf("%d left", len(s))
	}
	s.add(0, 1, 5)
	s.add(10, 11, 6)
	s.forget(5)
	if len(s) != 1 || s[0].off != 10 {
		t.Errorf("%v", s)
	}
}
