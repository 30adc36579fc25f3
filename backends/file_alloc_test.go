// SPDX-License-Identifier: Apache-2.0

//go:build !race

package backends

import (
	"path/filepath"
	"testing"
)

// fileLoop is a request that is used again and again.
type fileLoop struct {
	Request
	batch Batch
	list  []*Request
	ended chan Result
}

func (l *fileLoop) Complete(_ *Batch, r *Request, res Result) {
	r.Data.Release()
	l.ended <- res
}

func (l *fileLoop) turn(d Device, op Op, n uint64) Result {
	l.Op, l.Offset, l.Length, l.Completer = op, 4096, n, l
	if op == Write {
		l.Data.AppendZeros(int(n))
	}
	d.Submit(&l.batch, l.list)
	l.batch.Run()
	res := <-l.ended
	l.Reset()
	return res
}

func newFileLoop() *fileLoop {
	l := &fileLoop{ended: make(chan Result, 1)}
	l.list = []*Request{&l.Request}
	return l
}

// TestFileDoesNotAllocate: neither what Submit does itself nor what workers do.
func TestFileDoesNotAllocate(t *testing.T) {
	for _, tt := range []struct {
		name  string
		op    Op
		n     uint64
		quick quickness
	}{
		{"read inside Submit", Read, 4096, quickMemory},
		{"write inside Submit", Write, 4096, quickMemory},
		{"read of what is cached", Read, 4096, quickCached},
		{"read by a worker", Read, 4096, quickNothing},
		{"write by a worker", Write, 4096, quickNothing},
		{"long read", Read, 256 << 10, quickMemory},
		{"long write", Write, 256 << 10, quickMemory},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := openTestFile(t, filepath.Join(t.TempDir(), "disk"), FileOptions{Size: 1 << 20})
			if tt.quick != quickCached { // which a file system may not have
				d.quick = tt.quick
			}
			l := newFileLoop()
			work := func() {
				if res := l.turn(d, tt.op, tt.n); !res.OK() {
					t.Fatal(res)
				}
			}
			for range 20 {
				work()
			}
			// A collection empties the pools; its share is far below one.
			if got := testing.AllocsPerRun(400, work); got != 0 {
				t.Errorf("%v allocations, want 0", got)
			}
		})
	}
}

func BenchmarkFile(b *testing.B) {
	for _, bb := range []struct {
		name  string
		op    Op
		quick quickness
	}{
		{"read4k", Read, quickMemory},
		{"read4k-worker", Read, quickNothing},
		{"write4k", Write, quickMemory},
		{"write4k-worker", Write, quickNothing},
	} {
		b.Run(bb.name, func(b *testing.B) {
			d, err := OpenFile(filepath.Join(b.TempDir(), "disk"), FileOptions{Size: 1 << 20})
			if err != nil {
				b.Fatal(err)
			}
			d.quick = bb.quick
			l := newFileLoop()
			b.ReportAllocs()
			for b.Loop() {
				l.turn(d, bb.op, 4096)
			}
			if err := d.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
