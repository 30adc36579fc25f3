// SPDX-License-Identifier: Apache-2.0

package multipath

import "slices"

// span is a range of bytes that was changed, with the number of the latest change
// in it.
type span struct {
	off, end uint64
	seq      uint64
}

// maxSpans bounds a list of spans; a longer one becomes a single span over all of
// it. That errs on the side of writing more again.
const maxSpans = 4096

// spans is a list of ranges in order of their seq. The zero value is empty.
type spans []span

// add puts a range at the end, or makes the last one longer.
func (s *spans) add(off, end, seq uint64) {
	if n := len(*s); n > 0 {
		if l := &(*s)[n-1]; off <= l.end && l.off <= end {
			l.off, l.end, l.seq = min(l.off, off), max(l.end, end), seq
			return
		}
	}
	if len(*s) < maxSpans {
		*s = append(*s, span{off, end, seq})
		return
	}
	for _, e := range *s {
		off, end, seq = min(off, e.off), max(end, e.end), max(seq, e.seq)
	}
	*s = append((*s)[:0], span{off, end, seq})
}

// until takes out the ranges whose latest change is not later than seq.
func (s *spans) until(seq uint64) (out spans) {
	n := 0
	for n < len(*s) && (*s)[n].seq <= seq {
		n++
	}
	out = slices.Clone((*s)[:n])
	*s = slices.Delete(*s, 0, n)
	return out
}

// forget is until without the result.
func (s *spans) forget(seq uint64) {
	n := 0
	for n < len(*s) && (*s)[n].seq <= seq {
		n++
	}
	*s = slices.Delete(*s, 0, n)
}

// cut takes a range away.
func (s *spans) cut(off, end uint64) {
	for i := 0; i < len(*s); i++ {
		e := &(*s)[i]
		switch {
		case end <= e.off || e.end <= off:
		case off <= e.off && e.end <= end:
			*s = slices.Delete(*s, i, i+1)
			i--
		case off <= e.off:
			e.off = end
		case e.end <= end:
			e.end = off
		default: // out of the middle
			if len(*s) >= maxSpans {
				continue // it stays whole: more than needed is to be written again
			}
			tail := span{end, e.end, e.seq}
			e.end = off
			*s = slices.Insert(*s, i+1, tail)
			i++
		}
	}
}
