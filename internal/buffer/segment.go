// SPDX-License-Identifier: Apache-2.0

package buffer

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

const (
	minClassBits = 9  // 512 B: small control payloads, sense, text
	maxClassBits = 20 // 1 MiB: above, segments are made and dropped, not pooled
	unpooled     = -1
)

// MaxPooled is the largest segment, in bytes, that is kept for re-use.
const MaxPooled = 1 << maxClassBits

// pools holds one pool per size class: 512 B, 1 KiB, ... 1 MiB. The pools are
// the only package-level state; they hold memory, never data.
var pools [maxClassBits - minClassBits + 1]sync.Pool

// Segment is a block of memory with a count of its holders. Segments come from
// [Get] only; the zero Segment is not usable.
type Segment struct {
	b     []byte
	class int32
	refs  atomic.Int32
}

// Get gives back a segment of at least n bytes with one holder, the caller.
// Its content is undefined. n above MaxPooled is served, but by the allocator:
// a caller that a peer can make ask for more has to bound n first.
func Get(n int) *Segment {
	class := classOf(n)
	if class == unpooled {
		s := &Segment{b: make([]byte, n), class: unpooled}
		s.refs.Store(1)
		return s
	}
	if v := pools[class].Get(); v != nil {
		s := v.(*Segment)
		s.refs.Store(1)
		return s
	}
	s := &Segment{b: make([]byte, 1<<(class+minClassBits)), class: int32(class)}
	s.refs.Store(1)
	return s
}

// put returns s to its pool. The bytes stay: nobody reads a segment that he
// has not filled.
func put(s *Segment) {
	if s.class == unpooled {
		s.b = nil
		return
	}
	pools[s.class].Put(s)
}

// classOf gives the smallest class that holds n bytes.
func classOf(n int) int {
	if n <= 1<<minClassBits {
		return 0
	}
	if n > MaxPooled {
		return unpooled
	}
	return bits.Len(uint(n-1)) - minClassBits
}

// Bytes gives the whole memory of s. It is at least as long as was asked for.
// Borrowed from s: valid while the caller is a holder.
func (s *Segment) Bytes() []byte { return s.b }

// Cap gives the size of s in bytes.
func (s *Segment) Cap() int { return len(s.b) }

// Retain adds a holder.
func (s *Segment) Retain() {
	if s.refs.Add(1) <= 1 {
		panic("buffer: Retain of a released segment")
	}
}

// Release takes a holder away; the last one sends s back to its pool.
func (s *Segment) Release() {
	switch n := s.refs.Add(-1); {
	case n == 0:
		put(s)
	case n < 0:
		panic("buffer: Release of a segment that has no holder")
	}
}

// Shared tells whether s has more than one holder. A holder that sees false
// may write to the bytes again.
func (s *Segment) Shared() bool { return s.refs.Load() > 1 }

// Slice gives the bytes [from:to] of s as a Slice that has no holder of its
// own: the caller's hold passes to it, or the caller calls Retain.
func (s *Segment) Slice(from, to int) Slice {
	return Slice{B: s.b[from:to:to], Seg: s}
}
