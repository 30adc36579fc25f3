// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"slices"
	"testing"

	"pathgate/backends"
)

// brief tells only the first extent of a range: zeros for odd 4 KiB, data for even.
type brief struct{ *limited }

func (d *brief) Submit(b *backends.Batch, reqs []*backends.Request) {
	for _, r := range reqs {
		if r.Op != backends.BlockStatus {
			d.limited.Submit(b, []*backends.Request{r})
			continue
		}
		zero := r.Offset>>12&1 == 1
		r.Extents = append(r.Extents, backends.Extent{Length: min(r.Length, 4096-r.Offset&4095), Hole: zero, Zero: zero})
		b.Complete(r, backends.Done())
	}
}

// The status of a range over several devices, of which one tells less than it was
// asked: what another one told is not taken for what comes next.
func TestDiskStatusOfShortAnswers(t *testing.T) {
	a, z := &brief{newLimited(t, 1<<20, 0, 0)}, newLimited(t, 1<<20, 0, 0)
	d := NewDisk(DiskSpec{VM: "vm1", Name: "root", Pieces: []PieceSpec{
		{Ref: "z", Length: 64 << 10}, {Ref: "a", Length: 8192}, {Ref: "z", Offset: 512 << 10, Length: 64 << 10},
	}})
	for ref, dev := range map[string]backends.Device{"a": a, "z": z} {
		if err := d.Attach(ref, newTestRouter(t, dev)); err != nil {
			t.Fatal(err)
		}
	}
	zero := func(n uint64) backends.Extent { return backends.Extent{Length: n, Hole: true, Zero: true} }
	for _, tt := range []struct {
		off, length uint64
		want        []backends.Extent
	}{
		{0, 136 << 10, []backends.Extent{zero(64 << 10), {Length: 4096}}},
		{64<<10 + 4096, 68 << 10, []backends.Extent{zero(4096), zero(64 << 10)}},
		{64 << 10, 72 << 10, []backends.Extent{{Length: 4096}}},
	} {
		p := start(d, backends.BlockStatus, tt.off, tt.length, nil)
		if p.ends != 1 || !p.res.OK() || !slices.Equal(p.Extents, tt.want) {
			t.Errorf("status at %d of %d: %v, %v, want %v", tt.off, tt.length, p.res.Class, p.Extents, tt.want)
		}
	}
}

// holder holds parts back.
type holder struct {
	*limited
	held []backends.Range
}

func (h *holder) Held(list []backends.Range, within backends.Range) []backends.Range {
	for _, r := range h.held {
		if r, ok := r.Intersect(within); ok {
			list = append(list, r)
		}
	}
	return list
}

// What the devices hold back is held at the disk's places, twice where the disk has it twice.
func TestDiskTellsHeldParts(t *testing.T) {
	a := &holder{newLimited(t, 1<<20, 0, 0), []backends.Range{{Offset: 0, Length: 8192}, {Offset: 64 << 10, Length: 4096}, {Offset: 512 << 10, Length: 512}}}
	d := NewDisk(DiskSpec{VM: "vm1", Name: "root", Pieces: []PieceSpec{
		{Ref: "z", Length: 64 << 10}, {Ref: "a", Offset: 4096, Length: 64 << 10}, {Ref: "a", Offset: 4096, Length: 8192},
	}})
	all := backends.Range{Length: 1 << 20}
	if got := d.Held(nil, all); len(got) != 0 {
		t.Errorf("without devices: got %v", got)
	}
	for ref, dev := range map[string]backends.Device{"a": a, "z": newLimited(t, 1<<20, 0, 0)} {
		if err := d.Attach(ref, newTestRouter(t, dev)); err != nil {
			t.Fatal(err)
		}
	}
	want := []backends.Range{{Offset: 64 << 10, Length: 4096}, {Offset: 124 << 10, Length: 4096}, {Offset: 128 << 10, Length: 4096}}
	if got := d.Held(nil, all); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := d.Held(nil, backends.Range{Offset: 64<<10 + 512, Length: 512}), []backends.Range{{Offset: 64<<10 + 512, Length: 512}}; !slices.Equal(got, want) {
		t.Errorf("within: got %v, want %v", got, want)
	}
}

// What of the devices is degraded or cut is so at the disk's places.
func TestDiskTellsDegradedParts(t *testing.T) {
	a, z := newLimited(t, 1<<20, 0, 0), newLimited(t, 1<<20, 0, 0)
	a.info.Degraded, a.info.Cut = []backends.Range{{Length: 1 << 20}}, []backends.Range{{Offset: 8192, Length: 1 << 19}}
	d := NewDisk(DiskSpec{VM: "vm1", Name: "root", Pieces: []PieceSpec{
		{Ref: "z", Length: 64 << 10}, {Ref: "a", Offset: 4096, Length: 64 << 10}, {Ref: "z", Offset: 512 << 10, Length: 64 << 10},
	}})
	for ref, dev := range map[string]backends.Device{"a": a, "z": z} {
		if err := d.Attach(ref, newTestRouter(t, dev)); err != nil {
			t.Fatal(err)
		}
	}
	i := d.Info()
	if want := []backends.Range{{Offset: 64 << 10, Length: 64 << 10}}; !slices.Equal(i.Degraded, want) {
		t.Errorf("degraded: got %v, want %v", i.Degraded, want)
	}
	if want := []backends.Range{{Offset: 68 << 10, Length: 60 << 10}}; !slices.Equal(i.Cut, want) {
		t.Errorf("cut: got %v, want %v", i.Cut, want)
	}
}
