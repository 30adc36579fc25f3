// SPDX-License-Identifier: Apache-2.0

//go:build !race

package gateway

import (
	"testing"

	"pathgate/backends"
)

type again struct{ backends.Request }

func (a *again) Complete(*backends.Batch, *backends.Request, backends.Result) {}

func TestDiskDoesNotAllocate(t *testing.T) {
	dev := newLimited(t, 1<<20, 0, 0)
	d := NewDisk(DiskSpec{VM: "vm1", Name: "root", Pieces: []PieceSpec{{Ref: "a", Length: 1 << 20}}})
	if err := d.Attach("a", newTestRouter(t, dev.Memory)); err != nil {
		t.Fatal(err)
	}
	var b backends.Batch
	var w, r again
	list := []*backends.Request{&w.Request, &r.Request}
	work := func() {
		w.Op, w.Offset, w.Length, w.Completer = backends.Write, 4096, 4096, &w
		w.Data.AppendZeros(4096)
		r.Op, r.Offset, r.Length, r.Completer = backends.Read, 8192, 4096, &r
		d.Submit(&b, list)
		b.Run()
		w.Reset()
		r.Reset()
	}
	work()
	if n := testing.AllocsPerRun(500, work); n != 0 {
		t.Errorf("%v allocations for a write and a read, want 0", n)
	}
}

func BenchmarkDiskRead(b *testing.B) {
	m, err := backends.NewMemory(1 << 20)
	if err != nil {
		b.Fatal(err)
	}
	d := NewDisk(DiskSpec{VM: "vm1", Name: "root", Pieces: []PieceSpec{{Ref: "a", Length: 1 << 20}}})
	if err := d.Attach("a", newTestRouter(b, m)); err != nil {
		b.Fatal(err)
	}
	var batch backends.Batch
	var r again
	list := []*backends.Request{&r.Request}
	b.ReportAllocs()
	for b.Loop() {
		r.Op, r.Offset, r.Length, r.Completer = backends.Read, 8192, 4096, &r
		d.Submit(&batch, list)
		batch.Run()
		r.Reset()
	}
}
