// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"bytes"
	"sync"
	"testing"
)

// TestMemoryWriteIsAtomic: a write over the border of two units of memory is seen
// wholly or not at all (Info.MaxAtomic, promise P12).
func TestMemoryWriteIsAtomic(t *testing.T) {
	const length, offset = 64 << 10, memChunk - 32<<10
	m, err := NewMemory(2 * memChunk)
	if err != nil {
		t.Fatal(err)
	}
	end := CompleterFunc(func(_ *Batch, _ *Request, res Result) {
		if !res.OK() {
			t.Error(res.Err())
		}
	})
	var wg sync.WaitGroup
	for writer := range byte(2) {
		wg.Go(func() {
			var b Batch
			var r Request
			for i := range byte(100) {
				r.Reset()
				r.Op, r.Offset, r.Length, r.Completer = Write, offset, length, end
				r.Data.AppendBytes(bytes.Repeat([]byte{2*i + writer}, length))
				m.Submit(&b, []*Request{&r})
				b.Run()
			}
		})
	}
	wg.Go(func() {
		var b Batch
		var r Request
		for range 200 {
			r.Reset()
			r.Op, r.Offset, r.Length, r.Completer = Read, offset, length, end
			m.Submit(&b, []*Request{&r})
			b.Run()
			got := r.Data.Bytes()
			if !bytes.Equal(got, bytes.Repeat(got[:1], length)) {
				t.Error("a torn write was read")
			}
		}
	})
	wg.Wait()
}

// The status of a huge range, or of a fragmented one, is told in parts.
func TestMemoryStatusIsBounded(t *testing.T) {
	const size = 2 * memStatus * memChunk
	m, err := NewMemory(size)
	if err != nil {
		t.Fatal(err)
	}
	status := func() []Extent {
		r := &Request{Op: BlockStatus, Length: size, Completer: CompleterFunc(func(_ *Batch, _ *Request, res Result) {
			if !res.OK() {
				t.Error(res.Err())
			}
		})}
		var b Batch
		m.Submit(&b, []*Request{r})
		b.Run()
		return r.Extents
	}
	if x := status(); len(x) != 1 || x[0] != (Extent{memStatus * memChunk, true, true}) {
		t.Errorf("an empty disk: %v", x)
	}
	for i := 0; i < 3*memExtents; i += 2 {
		m.chunks[i].b = []byte{} // is there
	}
	x := status()
	if len(x) != memExtents {
		t.Fatalf("%d extents, want %d", len(x), memExtents)
	}
	for i, e := range x {
		if hole := i%2 == 1; e != (Extent{memChunk, hole, hole}) {
			t.Fatalf("extent %d: %v", i, e)
		}
	}
}
