// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"bytes"
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"pathgate/backends"
	nc "pathgate/integration/nbdclient"
	"pathgate/internal/buffer"
)

func TestIsZero(t *testing.T) {
	for n := range 100 {
		b := make([]byte, n)
		if !isZero(b) {
			t.Errorf("%d zeros are not zero", n)
		}
		for i := range b {
			b[i] = 1
			if isZero(b) {
				t.Errorf("%d bytes with byte %d set are zero", n, i)
			}
			b[i] = 0
		}
		for i := range b {
			b[i] = 5
		}
		if n > 0 && isZero(b) {
			t.Errorf("%d times 5 is zero", n)
		}
	}
}

func TestCursor(t *testing.T) {
	var v buffer.Vec
	defer v.Release()
	v.AppendBytes([]byte{0, 0, 0, 1, 0})
	v.AppendBytes([]byte{0, 0})
	v.AppendBytes([]byte{0, 9})
	c := cursor{v: v}
	for i, want := range []struct {
		n    int
		zero bool
	}{{3, true}, {1, false}, {2, true}, {2, true}, {1, false}} {
		if got := c.zero(want.n); got != want.zero {
			t.Errorf("step %d: got %v", i, got)
		}
	}
}

// A READ in chunks gives the bytes of the disk, with holes where whole units of it
// are zero, and nowhere else.
func TestReadsWithHoles(t *testing.T) {
	const unit = holeUnit
	d := memory(t, diskSize)
	b := offer(t, d)
	w := b.client(t)
	for _, off := range []int64{2 * unit, 5*unit + 512, 9*unit - 512} {
		if _, err := w.WriteAt(bytes.Repeat([]byte{1}, 512), off); err != nil {
			t.Fatal(err)
		}
	}
	want := make([]byte, 12*unit)
	if _, err := w.ReadAt(want, 0); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name        string
		off, length uint64
		flags       nc.Flags
		holes       []nc.Run
		content     int
	}{
		{"zeros", 0, unit, 0, []nc.Run{{Offset: 0, Length: unit}}, 1},
		{"many zeros", 9 * unit, 3 * unit, 0, []nc.Run{{Offset: 9 * unit, Length: 3 * unit}}, 1},
		{"a block of zeros", 512, 512, 0, []nc.Run{{Offset: 512, Length: 512}}, 1},
		{"a block of data", 2 * unit, 512, 0, nil, 1},
		{"both in a unit", 2 * unit, unit, 0, nil, 1},
		{"mixed", 0, 12 * unit, 0, []nc.Run{
			{Offset: 0, Length: 2 * unit},
			{Offset: 3 * unit, Length: 2 * unit},
			{Offset: 6 * unit, Length: 2 * unit},
			{Offset: 9 * unit, Length: 3 * unit},
		}, 7},
		{"not at a border", 512, 3 * unit, 0, []nc.Run{{Offset: 512, Length: 2*unit - 512}, {Offset: 3 * unit, Length: 512}}, 3},
		{"mixed with DF", 0, 12 * unit, nc.FlagDF, nil, 1},
		{"zeros with DF", 9 * unit, 3 * unit, nc.FlagDF, []nc.Run{{Offset: 9 * unit, Length: 3 * unit}}, 1},
	}
	for _, dialect := range []nc.Dialect{nc.Structured, nc.Extended} {
		r := b.speaking(t, dialect)
		for _, tt := range tests {
			a := r.do(t, dialect, nc.Asked{Cmd: nc.CmdRead, Flags: tt.flags, Offset: tt.off, Length: tt.length})
			if a.Errno != 0 || !bytes.Equal(a.Data, want[tt.off:tt.off+tt.length]) {
				t.Errorf("%s: got %v or other data", tt.name, a.Errno)
			}
			if !slices.Equal(a.Holes, tt.holes) || len(a.Content) != tt.content {
				t.Errorf("%s: got holes %v of %v, want %v of %d", tt.name, a.Holes, a.Content, tt.holes, tt.content)
			}
		}
	}
}

// Random reads of a random sparse disk, in every dialect, whole and in pieces.
func TestReadsOfASparseDisk(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	d := newTestDevice(t, 4<<20)
	d.info.MaxTransfer = 128 << 10
	b := offer(t, d)
	w := b.client(t)
	want := make([]byte, 4<<20)
	for range 30 {
		off, n := rnd.IntN(8000), 1+rnd.IntN(150)
		p := want[off*512 : min((off+n)*512, len(want))]
		for i := range p {
			p[i] = byte(rnd.Uint32())
		}
		if _, err := w.WriteAt(p, int64(off*512)); err != nil {
			t.Fatal(err)
		}
	}
	for _, dialect := range dialects {
		r := b.speaking(t, dialect)
		for range 60 {
			off := rnd.IntN(8191)
			n := 1 + rnd.IntN(min(8192-off, 600))
			a := r.do(t, dialect, nc.Asked{Cmd: nc.CmdRead, Flags: nc.Flags(rnd.IntN(2)) * nc.FlagDF * nc.Flags(min(dialect, 1)), Offset: uint64(off) * 512, Length: uint64(n) * 512})
			if a.Errno != 0 || !bytes.Equal(a.Data, want[off*512:(off+n)*512]) {
				t.Fatalf("dialect %d: read of %d blocks at %d: %v or other data", dialect, n, off, a.Errno)
			}
		}
	}
}

// After a long READ of zeros the device is asked about the next, which spares the
// read where it tells a hole; where it tells data, that is read, and it is asked
// no more.
func TestHolesByTheDevicesWord(t *testing.T) {
	const m = 1 << 20
	d := newTestDevice(t, diskSize)
	b := offer(t, d)
	if _, err := b.client(t).WriteAt(bytes.Repeat([]byte{1}, m), 4*m); err != nil {
		t.Fatal(err)
	}
	r := b.speaking(t, nc.Structured)
	read := func(off, length uint64, flags nc.Flags) (ops []backends.Op, a *nc.Answer) {
		t.Helper()
		before := d.count()
		a = r.do(t, nc.Structured, nc.Asked{Cmd: nc.CmdRead, Flags: flags, Offset: off, Length: length})
		for _, s := range d.requests()[before:] {
			ops = append(ops, s.op)
		}
		return ops, a
	}
	steps := []struct {
		name        string
		off, length uint64
		want        []backends.Op
		zero        bool
	}{
		{"the first is read", 0, m, []backends.Op{backends.Read}, true},
		{"the next is asked about", m, m, []backends.Op{backends.BlockStatus}, true},
		{"a short one is read", 2 * m, 4096, []backends.Op{backends.Read}, true},
		{"still sparse", 2 * m, 2 * m, []backends.Op{backends.BlockStatus}, true},
		{"data is read", 4 * m, m, []backends.Op{backends.BlockStatus, backends.Read}, false},
		{"and not asked about again", 4*m + 4096, m / 2, []backends.Op{backends.Read}, false},
		{"until zeros are read", 8 * m, m, []backends.Op{backends.Read}, true},
		{"partly a hole", 3 * m, 2 * m, []backends.Op{backends.BlockStatus, backends.Read}, false},
	}
	for _, tt := range steps {
		ops, a := read(tt.off, tt.length, 0)
		zero := len(a.Holes) == 1 && len(a.Content) == 1
		if !slices.Equal(ops, tt.want) || zero != tt.zero || a.Errno != 0 {
			t.Errorf("%s: device did %v with holes %v, want %v and %v", tt.name, ops, a.Holes, tt.want, tt.zero)
		}
		if !tt.zero && !slices.Contains(a.Data, 1) {
			t.Errorf("%s: data is lost", tt.name)
		}
	}
	// A device whose word fails is read all the same; one that cannot tell is not asked.
	read(8*m, m, 0)
	d.set(func() {
		d.fail = func(r *backends.Request) backends.Class {
			if r.Op == backends.BlockStatus {
				return backends.Medium
			}
			return 0
		}
	})
	if ops, a := read(9*m, m, 0); !slices.Equal(ops, []backends.Op{backends.BlockStatus, backends.Read}) || a.Errno != 0 {
		t.Errorf("after a failure: %v, %v", ops, a.Errno)
	}
	d.become(backends.CapsChanged, func(i *backends.Info) { i.Caps &^= backends.CanBlockStatus })
	read(8*m, m, 0)
	if ops, a := read(9*m, m, 0); !slices.Equal(ops, []backends.Op{backends.Read}) || a.Errno != 0 {
		t.Errorf("a device that cannot tell: %v, %v", ops, a.Errno)
	}
}

// A connection that is killed while the device is asked about a READ leaves nothing
// behind, and reads no more.
func TestB69KillWhileProbing(t *testing.T) {
	const m = 1 << 20
	d := newTestDevice(t, diskSize)
	s := newSource().add("x", d)
	b := serve(t, Config{Exports: s})
	r := b.speaking(t, nc.Structured)
	r.do(t, nc.Structured, nc.Asked{Cmd: nc.CmdRead, Length: m})
	d.hold()
	r.Send(nc.Structured.Append(nil, &nc.Asked{Cmd: nc.CmdRead, Offset: m, Length: m}))
	eventually(t, "a probe", func() bool { return d.heldCount() == 1 })
	b.Withdraw(ended(t), "x")
	if got := d.requests(); got[len(got)-1].op != backends.BlockStatus || d.heldCount() != 0 || s.inUse() != 0 {
		t.Errorf("last request %v, %d held, %d in use", got[len(got)-1], d.heldCount(), s.inUse())
	}
}

// ended is a context that has ended.
func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
