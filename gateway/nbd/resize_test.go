// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"pathgate/backends"
	nc "pathgate/integration/nbdclient"
)

const growDisk = 1 << 20

// growable serves a disk in a file, which clients may let grow to four times its size.
func growable(t *testing.T) (*bed, *backends.File) {
	f, err := backends.OpenFile(filepath.Join(t.TempDir(), "disk"), backends.FileOptions{Size: growDisk})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	s := newSource().add("x", f)
	s.grow = func(size uint64) error {
		if size > 4*growDisk {
			return fmt.Errorf("%w: at most %d", ErrTooLarge, 4*growDisk)
		}
		err := f.Grow(size, false)
		if errors.Is(err, backends.ErrShrink) {
			return fmt.Errorf("%w: has %d", ErrShrink, f.Info().Size)
		}
		return err
	}
	return serve(t, Config{Exports: s}), f
}

// TestResize: a disk grows for all its connections, at once.
func TestResize(t *testing.T) {
	data := bytes.Repeat([]byte{7}, 4096)
	for _, d := range dialects {
		b, f := growable(t)
		one, two := b.speaking(t, d), b.speaking(t, d)
		last := nc.Asked{Cmd: nc.CmdWrite, Offset: 2*growDisk - 4096, Payload: data}
		if a := one.do(t, d, last); a.Errno != nc.ENOSPC {
			t.Errorf("dialect %d: write behind the end: %v", d, a.Errno)
		}
		if a := one.do(t, d, nc.Asked{Cmd: nc.CmdResize, Offset: 2 * growDisk}); a.Errno != 0 {
			t.Fatalf("dialect %d: %v %q", d, a.Errno, a.Message)
		}
		if a := one.do(t, d, last); a.Errno != 0 {
			t.Errorf("dialect %d: write at the new end: %v", d, a.Errno)
		}
		if a := two.do(t, d, nc.Asked{Cmd: nc.CmdRead, Offset: 2*growDisk - 8192, Length: 8192}); a.Errno != 0 ||
			!bytes.Equal(a.Data, append(make([]byte, 4096), data...)) {
			t.Errorf("dialect %d: read on another connection: %v", d, a.Errno)
		}
		// Again: somebody whose connection was lost does not know that it is done.
		if a := two.do(t, d, nc.Asked{Cmd: nc.CmdResize, Flags: nc.FlagFUA, Offset: 2 * growDisk}); a.Errno != 0 {
			t.Errorf("dialect %d: to the size that there is: %v", d, a.Errno)
		}
		c := b.client(t)
		if c.Size() != 2*growDisk || c.Export().Flags&nc.SendResize == 0 || f.Info().Size != 2*growDisk {
			t.Errorf("dialect %d: a new client is told %d bytes, flags %#x", d, c.Size(), c.Export().Flags)
		}
	}
}

// TestResizeIsOffered tells where the flag is, on every way into an export.
func TestResizeIsOffered(t *testing.T) {
	for _, tt := range []struct {
		name     string
		readOnly bool
		grow     func(uint64) error
		want     nc.TransmissionFlags
		errno    nc.Errno
	}{
		{"offered", false, func(uint64) error { return nil }, nc.SendResize, 0},
		{"fixed", false, nil, 0, nc.EINVAL},
		{"read-only", true, func(uint64) error { return errors.New("asked") }, 0, nc.EPERM},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dev := newTestDevice(t, growDisk)
			if tt.readOnly {
				dev.info.Caps |= backends.ReadOnly
			}
			s := newSource().add("x", dev)
			s.grow = tt.grow
			b := serve(t, Config{Exports: s})
			for _, old := range []bool{false, true} {
				c, err := nc.Connect(t.Context(), nc.Config{Addr: b.addr, Export: "x", UseExportName: old})
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if got := c.Export().Flags & nc.SendResize; got != tt.want {
					t.Errorf("EXPORT_NAME %v: %#x", old, got)
				}
				if got := ask(t, c, nc.CmdResize, 0, 2*growDisk, 0, nil); got != tt.errno {
					t.Errorf("EXPORT_NAME %v: %v, want %v", old, got, tt.errno)
				}
			}
			r := b.greeted(t)
			if e, err := r.Info(nc.OptInfo, "x"); err != nil || e.Flags&nc.SendResize != tt.want {
				t.Errorf("INFO: %#x, %v", e.Flags, err)
			}
		})
	}
}

// TestB47Resize: what makes no sense is refused, in every dialect, and changes nothing.
func TestB47Resize(t *testing.T) {
	b, f := growable(t)
	tests := []struct {
		name string
		a    nc.Asked
		want nc.Errno
		why  string
	}{
		{"shrink", nc.Asked{Offset: growDisk - 512}, nc.EPERM, ErrShrink.Error()},
		{"to nothing", nc.Asked{}, nc.EPERM, ErrShrink.Error()},
		{"not in blocks", nc.Asked{Offset: growDisk + 1}, nc.EINVAL, refusedSize.text},
		{"shrink, not in blocks", nc.Asked{Offset: 511}, nc.EINVAL, refusedSize.text},
		{"beyond what is allowed", nc.Asked{Offset: 4*growDisk + 512}, nc.EPERM, ErrTooLarge.Error()},
		{"2^63", nc.Asked{Offset: 1 << 63}, nc.EPERM, ErrTooLarge.Error()},
		{"2^64-512", nc.Asked{Offset: 1<<64 - 512}, nc.EPERM, ErrTooLarge.Error()},
		{"2^64-1", nc.Asked{Offset: 1<<64 - 1}, nc.EINVAL, refusedSize.text},
		{"B49 a length", nc.Asked{Offset: 2 * growDisk, Length: 512}, nc.EINVAL, refusedSize.text},
		{"B49 the longest", nc.Asked{Offset: 2 * growDisk, Length: 0xffffffff}, nc.EINVAL, refusedSize.text},
		{"a length as the size", nc.Asked{Length: 2 * growDisk}, nc.EINVAL, refusedSize.text},
		{"NO_HOLE", nc.Asked{Flags: nc.FlagNoHole, Offset: 2 * growDisk}, nc.EINVAL, refusedFlag.text},
		{"an unknown flag", nc.Asked{Flags: 1 << 15, Offset: 2 * growDisk}, nc.EINVAL, refusedFlag.text},
	}
	for _, d := range dialects {
		r := b.speaking(t, d)
		all := slices.Clone(tests)
		if d == nc.Extended {
			for _, n := range []int{1, 8, 4096, 1 << 20} {
				a := nc.Asked{Offset: 2 * growDisk, Payload: make([]byte, n)}
				all = append(all, struct {
					name string
					a    nc.Asked
					want nc.Errno
					why  string
				}{fmt.Sprintf("B49 a payload of %d", n), a, nc.EINVAL, refusedFlag.text})
			}
		}
		for _, tt := range all {
			tt.a.Cmd = nc.CmdResize
			a := r.do(t, d, tt.a)
			if a.Errno != tt.want || d != nc.Simple && a.Message != tt.why {
				t.Errorf("dialect %d: %s: %v %q, want %v %q", d, tt.name, a.Errno, a.Message, tt.want, tt.why)
			}
			if f.Info().Size != growDisk {
				t.Fatalf("dialect %d: %s: the disk has %d bytes", d, tt.name, f.Info().Size)
			}
		}
		if a := r.do(t, d, nc.Asked{Cmd: nc.CmdFlush}); a.Errno != 0 {
			t.Errorf("dialect %d: then: %v", d, a.Errno)
		}
	}
	r := b.speaking(t, nc.Extended)
	r.Send(nc.Extended.Append(nil, &nc.Asked{Cmd: nc.CmdResize, Flags: nc.FlagPayloadLen, Offset: 2 * growDisk, Length: 1<<25 + 1}))
	closed(t, r)
}

// TestResizeErrors: a client learns which kind it is, and nothing of the files behind.
func TestResizeErrors(t *testing.T) {
	tests := map[string]struct {
		err  error
		want nc.Errno
		why  string
	}{
		"full":          {fmt.Errorf("%w in /secret", ErrNoSpace), nc.ENOSPC, ErrNoSpace.Error()},
		"not permitted": {fmt.Errorf("%w by /secret", ErrNotPermitted), nc.EPERM, ErrNotPermitted.Error()},
		"stopping":      {fmt.Errorf("%w: /secret", ErrShutdown), nc.ESHUTDOWN, ErrShutdown.Error()},
		"any other":     {errors.New("open /secret"), nc.EIO, "the size could not be changed"},
		"not a reason":  {ErrUnknownExport, nc.EIO, "the size could not be changed"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSource().add("x", memory(t, growDisk))
			s.grow = func(uint64) error { return tt.err }
			b := serve(t, Config{Exports: s})
			for _, d := range dialects {
				a := b.speaking(t, d).do(t, d, nc.Asked{Cmd: nc.CmdResize, Offset: 2 * growDisk})
				if a.Errno != tt.want || d != nc.Simple && a.Message != tt.why {
					t.Errorf("dialect %d: %v %q", d, a.Errno, a.Message)
				}
			}
		})
	}
}

// slowGrowth is a growth that waits for the test.
type slowGrowth struct {
	begun  chan uint64
	goOn   chan error
	mu     sync.Mutex
	active int
	most   int
}

func (g *slowGrowth) grow(size uint64) error {
	g.mu.Lock()
	g.active++
	g.most = max(g.most, g.active)
	g.mu.Unlock()
	g.begun <- size
	err := <-g.goOn
	g.mu.Lock()
	g.active--
	g.mu.Unlock()
	return err
}

// offerSlow serves a memory disk whose growth is g.
func offerSlow(t *testing.T) (*bed, *slowGrowth, *source) {
	g := &slowGrowth{begun: make(chan uint64, 64), goOn: make(chan error, 64)}
	s := newSource().add("x", memory(t, growDisk))
	s.grow = g.grow
	return serve(t, Config{Exports: s}), g, s
}

// TestResizeOrder: those of a connection are done in order, and hold nobody else up.
func TestResizeOrder(t *testing.T) {
	b, g, _ := offerSlow(t)
	r := b.speaking(t, nc.Structured)
	const n = 20
	var msg []byte
	for i := range uint64(n) {
		msg = nc.Structured.Append(msg, &nc.Asked{Cmd: nc.CmdResize, Cookie: i, Offset: (2 + i) * growDisk})
	}
	r.Send(msg)
	if size := <-g.begun; size != 2*growDisk {
		t.Errorf("%d bytes", size)
	}
	if a := r.do(t, nc.Structured, nc.Asked{Cmd: nc.CmdRead, Cookie: 99, Length: 512}); a.Errno != 0 {
		t.Errorf("a read meanwhile: %v", a.Errno)
	}
	for i := range uint64(n) {
		if i > 0 {
			if size := <-g.begun; size != (2+i)*growDisk {
				t.Errorf("%d bytes, want %d", size, (2+i)*growDisk)
			}
		}
		g.goOn <- nil
		c, err := r.ReadChunk()
		if err != nil || c.Cookie != i || c.Errno != 0 {
			t.Fatalf("reply %d: %+v, %v", i, c, err)
		}
	}
	if g.most != 1 {
		t.Errorf("%d at once", g.most)
	}
}

// TestB54ResizeAndStop: the one that is under way is answered, those behind it get
// ESHUTDOWN, and the use of the export ends after them, also when the client is gone.
func TestB54ResizeAndStop(t *testing.T) {
	for _, d := range dialects {
		b, g, s := offerSlow(t)
		r := b.speaking(t, d)
		var msg []byte
		list := make([]*nc.Answer, 3)
		for i := range list {
			a := nc.Asked{Cmd: nc.CmdResize, Cookie: uint64(i), Offset: 2 * growDisk}
			list[i] = &nc.Answer{Asked: a, Dialect: d}
			msg = d.Append(msg, &a)
		}
		r.Send(msg)
		<-g.begun
		eventually(t, "all are taken", func() bool {
			list := b.Connections()
			return len(list) == 1 && list[0].Outstanding == len(msg)/len(d.Append(nil, &nc.Asked{}))
		})
		go b.Withdraw(t.Context(), "x")
		eventually(t, "stopping", func() bool { return b.isStopping() })
		g.goOn <- nil
		for i, a := range list {
			c, err := r.ReadChunk()
			if err == nil {
				err = a.Take(&c, r.Raw)
			}
			want := nc.ESHUTDOWN
			if i == 0 {
				want = 0
			}
			if err != nil || c.Cookie != uint64(i) || !a.Done || a.Errno != want {
				t.Fatalf("dialect %d: reply %d: %+v, %v", d, i, a, err)
			}
		}
		closed(t, r)
		eventually(t, "no use", func() bool { return s.inUse() == 0 })
	}
	b, g, s := offerSlow(t)
	r := b.speaking(t, nc.Simple)
	r.Send(nc.Simple.Append(nil, &nc.Asked{Cmd: nc.CmdResize, Offset: 2 * growDisk}))
	<-g.begun
	r.Close()
	withdrawn := make(chan struct{})
	go func() {
		defer close(withdrawn)
		b.Withdraw(ended(t), "x") // aborts what is outstanding, which this cannot be
	}()
	eventually(t, "stopping", func() bool { return b.isStopping() })
	if s.inUse() != 1 {
		t.Error("the export is closed under a growth")
	}
	g.goOn <- nil
	<-withdrawn
	if s.inUse() != 0 {
		t.Error("the export is in use")
	}
}

// TestH04Reconnect: what a client was answered for is done, what it was not answered for
// is not, in every dialect, and nobody gets an error.
func TestH04Reconnect(t *testing.T) {
	for _, d := range dialects {
		dev := newTestDevice(t, growDisk)
		s := newSource().add("x", dev).add("y", memory(t, growDisk))
		b := serve(t, Config{Exports: s, DrainTimeout: time.Minute})
		r, other := b.speaking(t, d), b.speaking(t, d)
		early := b.greeted(t) // has chosen no export yet
		dev.hold()
		write := nc.Asked{Cmd: nc.CmdWrite, Cookie: 1, Payload: bytes.Repeat([]byte{1}, 4096)}
		r.Send(d.Append(nil, &write))
		eventually(t, "in flight", func() bool { return dev.heldCount() == 1 })
		half := d.Append(nil, &nc.Asked{Cmd: nc.CmdWrite, Cookie: 2, Offset: 8192, Payload: make([]byte, 4096)})
		r.Send(half[:len(half)-1])
		if n := b.Reconnect("z") + b.Reconnect("y"); n != 0 {
			t.Errorf("%d of other exports", n)
		}
		if n := b.Reconnect("x"); n != 2 {
			t.Errorf("%d connections, want 2", n)
		}
		r.Send(half[len(half)-1:])
		r.Send(d.Append(nil, &nc.Asked{Cmd: nc.CmdTrim, Cookie: 3, Length: 4096}))
		closed(t, other)
		dev.release()
		answered := map[uint64]bool{}
		for {
			c, err := r.ReadChunk()
			if err != nil {
				break
			}
			if c.Errno != 0 || c.Type == nc.ChunkError {
				t.Errorf("dialect %d: request %d gets an error", d, c.Cookie)
			}
			answered[c.Cookie] = true
		}
		done := map[uint64]bool{}
		for _, q := range dev.requests() {
			done[map[uint64]uint64{0: 1, 8192: 2}[q.off]] = q.op == backends.Write
		}
		if !answered[1] || answered[3] || !maps.Equal(answered, done) {
			t.Errorf("dialect %d: done %v, answered %v", d, done, answered)
		}
		if _, err := early.Info(nc.OptGo, "x"); err != nil {
			t.Errorf("dialect %d: one that has begun to connect: %v", d, err)
		}
	}
}
