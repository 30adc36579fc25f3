// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"math/rand/v2"
	"testing"

	wire "pathgate/internal/iscsi"
)

// P4: the window never goes back and holds as many as have a place, whatever comes,
// also around the wrap; exactly the numbers in it are taken.
func TestP04Window(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var w window
		first := wire.SerialOf(rng.Uint32())
		if seed%2 == 0 {
			first = wire.SerialOf(-uint32(rng.IntN(20)))
		}
		depth := uint32(1 + rng.IntN(20))
		w.start(first, depth)
		most := depth
		for range 500 {
			before := w.max
			switch rng.IntN(4) {
			case 0, 1:
				if w.place(w.exp) != placeNext {
					if !w.closed() || w.busy < w.depth {
						t.Fatalf("seed %d: closed with %d of %d busy", seed, w.busy, w.depth)
					}
					break
				}
				w.enter()
				w.advance()
			case 2:
				if w.busy > 0 {
					w.leave()
				}
			case 3:
				w.depth = uint32(1 + rng.IntN(20))
				most = max(most, w.depth)
			}
			w.open()
			room := w.max.Sub(w.exp) + 1
			if w.max.Less(before) || room < 0 || uint32(room)+w.busy > most {
				t.Fatalf("seed %d: %d places and %d busy of %d, max %v after %v", seed, room, w.busy, most, w.max, before)
			}
			for d := -3; d < 30; d++ {
				want := placeOutside
				switch {
				case d == 0 && room > 0:
					want = placeNext
				case d > 0 && d < int(room):
					want = placeEarly
				}
				if got := w.place(w.exp.Add(uint32(d))); got != want {
					t.Fatalf("seed %d: place of %d in a window of %d is %v, want %v", seed, d, room, got, want)
				}
			}
		}
	}
}
