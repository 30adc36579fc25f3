// SPDX-License-Identifier: Apache-2.0

package buffer

// Slice is a run of bytes inside a segment. Seg nil means memory that needs no
// holder, such as constant bytes; it must never change.
type Slice struct {
	B   []byte
	Seg *Segment
}

// Vec is a payload: the slices in order. The zero Vec is an empty payload.
// Each slice of it that has a segment counts as one holder of that segment.
// Not safe for concurrent change. A Vec that is re-used keeps its capacity, so
// that a pooled owner allocates nothing in the long run.
type Vec []Slice

// Len gives the number of bytes.
func (v Vec) Len() int {
	n := 0
	for i := range v {
		n += len(v[i].B)
	}
	return n
}

// Retain adds a holder to every segment of v.
func (v Vec) Retain() {
	for i := range v {
		if v[i].Seg != nil {
			v[i].Seg.Retain()
		}
	}
}

// Release takes a holder from every segment of v and empties v. The slots are
// cleared, so that a kept capacity holds no memory alive.
func (v *Vec) Release() {
	for i := range *v {
		s := &(*v)[i]
		if s.Seg != nil {
			s.Seg.Release()
		}
		*s = Slice{}
	}
	*v = (*v)[:0]
}

// Append takes s: the hold that the caller had passes to v.
func (v *Vec) Append(s Slice) { *v = append(*v, s) }

// AppendVec borrows w and adds its slices to v, each with a holder of its own.
func (v *Vec) AppendVec(w Vec) {
	w.Retain()
	*v = append(*v, w...)
}

// AppendRange borrows w and adds its bytes [off, off+n) to v, with holders of
// their own. It panics when w is shorter than off+n.
func (v *Vec) AppendRange(w Vec, off, n int) {
	for i := range w {
		if n == 0 {
			return
		}
		b := w[i].B
		if off >= len(b) {
			off -= len(b)
			continue
		}
		b = b[off:]
		off = 0
		if len(b) > n {
			b = b[:n]
		}
		n -= len(b)
		if w[i].Seg != nil {
			w[i].Seg.Retain()
		}
		*v = append(*v, Slice{B: b[:len(b):len(b)], Seg: w[i].Seg})
	}
	if n != 0 {
		panic("buffer: AppendRange beyond the end of the vector")
	}
}

// Move takes all slices of w to the end of v and leaves w empty.
func (v *Vec) Move(w *Vec) {
	*v = append(*v, *w...)
	clear(*w)
	*w = (*w)[:0]
}

// CopyTo copies the bytes of v to p and gives the number copied, the lesser of
// both lengths.
func (v Vec) CopyTo(p []byte) int {
	n := 0
	for i := range v {
		c := copy(p[n:], v[i].B)
		n += c
		if c < len(v[i].B) {
			break
		}
	}
	return n
}

// AppendBytes appends a copy of p in a segment of its own.
func (v *Vec) AppendBytes(p []byte) {
	if len(p) == 0 {
		return
	}
	s := Get(len(p))
	copy(s.b, p)
	v.Append(s.Slice(0, len(p)))
}

// Bytes gives back the payload as one run of bytes: the memory of v itself
// when it is one slice, a copy otherwise.
func (v Vec) Bytes() []byte {
	if len(v) == 1 {
		return v[0].B
	}
	p := make([]byte, v.Len())
	v.CopyTo(p)
	return p
}

// zeros is the memory of Zeros. It is never written.
var zeros [64 << 10]byte

// AppendZeros appends n zero bytes without using any memory of the pools.
func (v *Vec) AppendZeros(n int) {
	for n > 0 {
		k := min(n, len(zeros))
		*v = append(*v, Slice{B: zeros[:k:k]})
		n -= k
	}
}

// gatherBelow is the length, in bytes, below which Gather copies slices: a shorter one
// may keep a segment of 64 KiB alive.
const gatherBelow = 32 << 10

// Gather takes all slices of w to the end of v, as Move does, and leaves w empty. Behind
// the first two, short ones are copied into segments that they share: so a payload that
// comes in small parts takes no more than a few times its length.
func (v *Vec) Gather(w *Vec) {
	for _, s := range *w {
		if len(*v) < 2 || len(s.B) >= gatherBelow {
			v.Append(s)
			continue
		}
		for b := s.B; len(b) > 0; {
			n := v.extend(b)
			if n == 0 {
				t := Get(2 * gatherBelow)
				n = copy(t.b, b)
				v.Append(t.Slice(0, n))
			}
			b = b[n:]
		}
		if s.Seg != nil {
			s.Seg.Release()
		}
	}
	clear(*w)
	*w = (*w)[:0]
}

// extend copies from p what there is room for behind the last slice of v, whose
// segment nobody else holds, and tells how many bytes that was.
func (v Vec) extend(p []byte) int {
	s := &v[len(v)-1]
	if s.Seg == nil || len(s.B) == 0 || s.Seg.Shared() || &s.B[0] != &s.Seg.b[0] {
		return 0
	}
	n := len(s.B)
	k := copy(s.Seg.b[n:], p)
	s.B = s.Seg.b[: n+k : n+k]
	return k
}
