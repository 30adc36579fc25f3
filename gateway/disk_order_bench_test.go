// SPDX-License-Identifier: Apache-2.0

//go:build !race

package gateway

import (
	"testing"

	"pathgate/backends"
	"pathgate/share"
)

// BenchmarkDiskWrite is a write through disk and router, of a device that does nothing,
// with so many outstanding from each of so many connections.
func BenchmarkDiskWrite(b *testing.B) {
	for _, c := range []struct {
		name         string
		conns, depth int
	}{{"1x1", 1, 1}, {"1x32", 1, 32}, {"1x512", 1, 512}, {"4x32", 4, 32}, {"16x32", 16, 32}} {
		b.Run(c.name, func(b *testing.B) {
			null := newNull(b)
			w := newWriters(b, null, c.conns, c.depth)
			defer null.end(w.rt)
			var batch backends.Batch
			for i := range w.list {
				w.list[i].send(&batch)
			}
			b.ReportAllocs()
			for b.Loop() {
				null.completeOne(&batch)
			}
		})
	}
}

// TestOrderDoesNotAllocate: not even where the changes of connections mix.
func TestOrderDoesNotAllocate(t *testing.T) {
	null := newNull(t)
	w := newWriters(t, null, 4, 8)
	defer null.end(w.rt)
	var b backends.Batch
	for i := range w.list {
		w.list[i].send(&b)
	}
	for range 1000 {
		null.completeOne(&b)
	}
	if n := testing.AllocsPerRun(2000, func() { null.completeOne(&b) }); n != 0 {
		t.Errorf("%v allocations for a write, want 0", n)
	}
	if !w.disk.changes.mixed {
		t.Error("they do not mix")
	}
}

// writers are requests of several connections that are sent again when they end.
type writers struct {
	rt   *Router
	disk *Disk
	list []writer
}

func newWriters(tb testing.TB, null *null, conns, depth int) *writers {
	null.big = 1 << 30
	w := &writers{rt: NewRouter(null, RouterOptions{Plan: sharedPlan(100_000_000, share.Unit(2*conns*depth))})}
	w.disk = NewDisk(DiskSpec{VM: "vm1", Name: "root", Pieces: []PieceSpec{{Ref: "a"}}})
	if err := w.disk.Attach("a", w.rt); err != nil {
		tb.Fatal(err)
	}
	w.list = make([]writer, conns*depth)
	for c := range conns {
		origin := new(backends.Origin)
		for i := range depth {
			q := &w.list[c*depth+i]
			q.disk, q.null, q.origin, q.next = w.disk, null, origin, uint64(c*depth+i)
			q.one = []*backends.Request{&q.Request}
		}
	}
	return w
}

// writer writes blocks that nobody else writes at the time, all over the disk.
type writer struct {
	backends.Request
	null   *null
	disk   *Disk
	origin *backends.Origin
	next   uint64
	one    []*backends.Request
}

func (w *writer) send(b *backends.Batch) {
	const blocks = 1 << 30 / 4096
	at := w.next % blocks
	for range 2 { // other ones for others, in no order
		at = at * 0x9e3779b1 % blocks
		at ^= at >> 9
	}
	w.Op, w.Offset, w.Length, w.Origin, w.Completer = backends.WriteZeroes, at*4096, 4096, w.origin, w
	w.next += 512
	w.disk.Submit(b, w.one)
}

func (w *writer) Complete(b *backends.Batch, _ *backends.Request, _ backends.Result) {
	w.Reset()
	if !w.null.over {
		w.send(b)
	}
}
