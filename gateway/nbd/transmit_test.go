// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"pathgate/backends"
	nc "pathgate/integration/nbdclient"
)

// offer serves d as x.
func offer(t testing.TB, d backends.Device, change ...func(*Config)) *bed {
	cfg := Config{Exports: newSource().add("x", d)}
	for _, f := range change {
		f(&cfg)
	}
	return serve(t, cfg)
}

// ask sends one request and gives the error of its reply.
func ask(t *testing.T, c *nc.Client, cmd nc.Command, flags nc.Flags, off uint64, length uint32, data []byte) nc.Errno {
	t.Helper()
	_, err := c.Do(t.Context(), cmd, flags, off, length, data)
	var e nc.Errno
	if err != nil && !errors.As(err, &e) {
		t.Fatalf("%v: %v", cmd, err)
	}
	return e
}

func TestB46RequestMagic(t *testing.T) {
	b := offer(t, memory(t, diskSize))
	for _, magic := range []uint32{1, 0x12560953, 0x25609514, 0x21e41c71} {
		r := b.entered(t)
		r.Send(nc.Request{Magic: magic, Cmd: nc.CmdRead, Length: 512}.Append(nil))
		closed(t, r)
	}
}

func TestB47CommandsAndFlags(t *testing.T) {
	d := newTestDevice(t, diskSize)
	c := offer(t, d).client(t)
	tests := []struct {
		name   string
		cmd    nc.Command
		flags  nc.Flags
		length uint32
		want   nc.Errno
	}{
		{"FUA on READ", nc.CmdRead, nc.FlagFUA, 512, 0},
		{"FUA on WRITE", nc.CmdWrite, nc.FlagFUA, 512, 0},
		{"FUA on FLUSH", nc.CmdFlush, nc.FlagFUA, 0, 0},
		{"FUA on TRIM", nc.CmdTrim, nc.FlagFUA, 512, 0},
		{"FUA on CACHE", nc.CmdCache, nc.FlagFUA, 512, 0},
		{"FUA on WRITE_ZEROES", nc.CmdWriteZeroes, nc.FlagFUA, 512, 0},
		{"NO_HOLE and FAST_ZERO", nc.CmdWriteZeroes, nc.FlagNoHole | nc.FlagFastZero, 512, 0},
		{"NO_HOLE on WRITE", nc.CmdWrite, nc.FlagNoHole, 512, nc.EINVAL},
		{"unknown flag on WRITE", nc.CmdWrite, 1 << 15, 4096, nc.EINVAL},
		{"B52 DF without structured replies", nc.CmdRead, nc.FlagDF, 512, nc.EINVAL},
		{"REQ_ONE on READ", nc.CmdRead, nc.FlagReqOne, 512, nc.EINVAL},
		{"B52 BLOCK_STATUS without a context", nc.CmdBlockStatus, 0, 512, nc.EINVAL},
		{"RESIZE", nc.CmdResize, 0, 512, nc.EINVAL},
		{"unknown command", 0xffff, nc.FlagFUA, 512, nc.EINVAL},
	}
	for _, tt := range tests {
		var data []byte
		if tt.cmd == nc.CmdWrite {
			data = make([]byte, tt.length)
		}
		if got := ask(t, c, tt.cmd, tt.flags, 0, tt.length, data); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
	// What the device was asked: FUA only where it means something.
	want := []seen{
		{backends.Read, 0, 512, false, false, false},
		{backends.Write, 0, 512, true, false, false},
		{backends.Flush, 0, 0, false, false, false},
		{backends.Unmap, 0, 512, true, false, false},
		{backends.Cache, 0, 512, false, false, false},
		{backends.WriteZeroes, 0, 512, true, false, false},
		{backends.WriteZeroes, 0, 512, false, true, true},
	}
	got := d.requests()
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("request %d: got %v, want %v", i, got[i], want[i])
		}
	}
}

func TestCommandsThatWereNotOffered(t *testing.T) {
	d := newTestDevice(t, diskSize)
	d.info.Caps = 0
	c := offer(t, d).client(t)
	if got := c.Export().Flags; got != nc.HasFlags|nc.SendFlush|nc.SendFUA|nc.SendWriteZeroes|nc.SendFastZero {
		t.Errorf("flags %#x", got)
	}
	for _, cmd := range []nc.Command{nc.CmdTrim, nc.CmdCache} {
		if got := ask(t, c, cmd, 0, 0, 512, nil); got != nc.EINVAL {
			t.Errorf("%v: got %v, want EINVAL", cmd, got)
		}
	}
	if n := len(d.requests()); n != 0 {
		t.Errorf("%d requests reached the device", n)
	}
}

func TestB48PayloadLimit(t *testing.T) {
	d := newTestDevice(t, diskSize)
	b := offer(t, d, func(c *Config) { c.MaxPayload = 1 << 20 })
	c := b.client(t)
	for _, n := range []uint32{1<<20 + 512, 1 << 25} {
		if got := ask(t, c, nc.CmdWrite, 0, 0, n, make([]byte, n)); got != nc.EINVAL {
			t.Errorf("write of %d bytes: got %v, want EINVAL", n, got)
		}
		if got := ask(t, c, nc.CmdRead, 0, 0, n, nil); got != nc.EINVAL {
			t.Errorf("read of %d bytes: got %v, want EINVAL", n, got)
		}
	}
	if got := ask(t, c, nc.CmdWrite, 0, 0, 1<<20, make([]byte, 1<<20)); got != 0 {
		t.Errorf("write of the maximum: got %v", got)
	}
	if n := len(d.requests()); n != 1 {
		t.Errorf("%d requests reached the device, want 1", n)
	}
	for _, n := range []uint32{1<<25 + 1, 1 << 31, 0xffffffff} {
		r := b.entered(t)
		r.Send(nc.Request{Cmd: nc.CmdWrite, Length: n}.Append(nil))
		closed(t, r)
	}
}

func TestLargestPayload(t *testing.T) {
	c := offer(t, memory(t, diskSize)).client(t)
	p := make([]byte, 1<<25)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(p)
	if _, err := c.WriteAt(p, 512); err != nil {
		t.Fatal(err)
	}
	q := make([]byte, 1<<25)
	if _, err := c.ReadAt(q, 512); err != nil || !bytes.Equal(p, q) {
		t.Errorf("32 MiB come back different: %v", err)
	}
}

func TestB49LongRequestsInPieces(t *testing.T) {
	d := newTestDevice(t, 8<<30)
	d.info.MaxUnmap, d.info.MaxZeroes = 64<<20, 32<<20+100 // the second is rounded down
	c := offer(t, d).client(t)
	const length = 1<<32 - 512
	for _, cmd := range []nc.Command{nc.CmdTrim, nc.CmdWriteZeroes} {
		before := len(d.requests())
		if got := ask(t, c, cmd, nc.FlagFUA, 4096, length, nil); got != 0 {
			t.Errorf("%v of 2^32-512: got %v", cmd, got)
		}
		limit := uint64(64 << 20)
		if cmd == nc.CmdWriteZeroes {
			limit = 32 << 20
		}
		at := uint64(4096)
		for _, r := range d.requests()[before:] {
			if r.off != at || r.length > limit || !r.fua {
				t.Fatalf("%v: piece %+v at %d", cmd, r, at)
			}
			at += r.length
		}
		if at != 4096+length {
			t.Errorf("%v: pieces end at %d", cmd, at)
		}
	}
	d.hold()
	done := make(chan nc.Errno, 1)
	go func() { done <- ask(t, c, nc.CmdTrim, 0, 0, length, nil) }()
	eventually(t, "a window of pieces", func() bool { return d.heldCount() == splitWindow })
	d.release()
	if e := <-done; e != 0 {
		t.Errorf("got %v", e)
	}
}

// A fast zero may fail only before it has changed anything.
func TestB49FastZeroInPieces(t *testing.T) {
	d := newTestDevice(t, 1<<30)
	d.info.MaxZeroes = 1 << 20
	d.fail = func(r *backends.Request) backends.Class {
		if r.FastZero {
			return backends.Unsupported
		}
		return 0
	}
	c := offer(t, d).client(t)
	if got := ask(t, c, nc.CmdWriteZeroes, nc.FlagFastZero, 0, 16<<20, nil); got != nc.ENOTSUP {
		t.Errorf("got %v, want ENOTSUP", got)
	}
	if n := len(d.requests()); n != 1 {
		t.Errorf("%d pieces were begun, want 1", n)
	}
	d.set(func() { d.fail = nil })
	if got := ask(t, c, nc.CmdWriteZeroes, nc.FlagFastZero, 0, 16<<20, nil); got != 0 {
		t.Errorf("got %v", got)
	}
	for i, r := range d.requests()[1:] {
		if r.quick != (i == 0) {
			t.Errorf("piece %d: fast %v", i, r.quick)
		}
	}
}

func TestSplitTransfers(t *testing.T) {
	d := newTestDevice(t, 16<<20)
	d.info.MaxTransfer = 96 << 10
	c := offer(t, d).client(t)
	r := rand.New(rand.NewPCG(3, 4))
	model := make([]byte, 16<<20)
	for range 60 {
		off := uint64(r.IntN(15<<20)) &^ 511
		n := uint32(1+r.IntN(2000)) * 512
		p := make([]byte, min(uint64(n), 16<<20-off))
		_, _ = rand.NewChaCha8([32]byte{byte(off >> 9), byte(n >> 9)}).Read(p)
		if got := ask(t, c, nc.CmdWrite, 0, off, uint32(len(p)), p); got != 0 {
			t.Fatal(got)
		}
		copy(model[off:], p)
	}
	for off := 0; off < len(model); off += 4 << 20 {
		got, err := c.Do(t.Context(), nc.CmdRead, 0, uint64(off), 4<<20, nil)
		if err != nil || !bytes.Equal(got, model[off:off+4<<20]) {
			t.Errorf("read at %d differs: %v", off, err)
		}
	}
	// A piece that fails fails the request, and no data leaves.
	d.set(func() {
		d.fail = func(r *backends.Request) backends.Class {
			if r.Offset >= 1<<20 {
				return backends.Medium
			}
			return 0
		}
	})
	for _, cmd := range []nc.Command{nc.CmdRead, nc.CmdWrite} {
		var p []byte
		if cmd == nc.CmdWrite {
			p = make([]byte, 2<<20)
		}
		if got := ask(t, c, cmd, 0, 0, 2<<20, p); got != nc.EIO {
			t.Errorf("%v: got %v, want EIO", cmd, got)
		}
	}
	if err := c.Flush(); err != nil {
		t.Errorf("the stream is out of step: %v", err)
	}
}

func TestB50RangesAndProtection(t *testing.T) {
	const size = diskSize
	type row struct {
		name   string
		cmd    nc.Command
		off    uint64
		length uint32
		want   nc.Errno
	}
	rows := []row{
		{"last block", nc.CmdRead, size - 512, 512, 0},
		{"last block", nc.CmdWrite, size - 512, 512, 0},
		{"last block", nc.CmdWriteZeroes, size - 512, 512, 0},
		{"nonzero offset", nc.CmdFlush, 512, 0, nc.EINVAL},
		{"nonzero length", nc.CmdFlush, 0, 512, nc.EINVAL},
	}
	for cmd, beyond := range map[nc.Command]nc.Errno{
		nc.CmdRead: nc.EINVAL, nc.CmdTrim: nc.EINVAL, nc.CmdCache: nc.EINVAL,
		nc.CmdWrite: nc.ENOSPC, nc.CmdWriteZeroes: nc.ENOSPC,
	} {
		rows = append(rows,
			row{"across the end", cmd, size - 512, 1024, beyond},
			row{"behind the end", cmd, size, 512, beyond},
			row{"far behind the end", cmd, 1 << 62, 512, beyond},
			row{"offset + length wraps", cmd, 1<<64 - 512, 1024, nc.EINVAL},
			row{"offset + length is 2^64", cmd, 1<<64 - 512, 512, nc.EINVAL},
			row{"length 0", cmd, 0, 0, nc.EINVAL},
			row{"offset unaligned", cmd, 1, 512, nc.EINVAL},
			row{"length unaligned", cmd, 0, 513, nc.EINVAL},
			row{"all wrong", cmd, 1<<64 - 1, 1, nc.EINVAL})
	}
	d := newTestDevice(t, size)
	c := offer(t, d).client(t)
	for _, r := range rows {
		var p []byte
		if r.cmd == nc.CmdWrite {
			p = make([]byte, r.length)
		}
		if got := ask(t, c, r.cmd, 0, r.off, r.length, p); got != r.want {
			t.Errorf("%s, %v: got %v, want %v", r.name, r.cmd, got, r.want)
		}
	}
	if n := len(d.requests()); n != 3 {
		t.Errorf("%d requests reached the device, want 3", n)
	}

	ro := newTestDevice(t, size)
	ro.info.Caps |= backends.ReadOnly
	c = offer(t, ro).client(t)
	if c.Export().Flags&nc.ReadOnly == 0 {
		t.Error("READ_ONLY is not set")
	}
	for cmd, p := range map[nc.Command][]byte{nc.CmdWrite: make([]byte, 512), nc.CmdTrim: nil, nc.CmdWriteZeroes: nil} {
		if got := ask(t, c, cmd, 0, 0, 512, p); got != nc.EPERM {
			t.Errorf("%v on a read-only export: got %v, want EPERM", cmd, got)
		}
	}
	if got := ask(t, c, nc.CmdRead, 0, 0, 512, nil); got != 0 {
		t.Errorf("read of a read-only export: %v", got)
	}
}

func TestB51BackendErrors(t *testing.T) {
	d := newTestDevice(t, diskSize)
	c := offer(t, d).client(t)
	for class := backends.Transport; class <= backends.Aborted; class++ {
		d.set(func() { d.fail = func(*backends.Request) backends.Class { return class } })
		want := nc.Errno(errnoOf(&backends.Request{Op: backends.Read}, class, false))
		if got := ask(t, c, nc.CmdRead, 0, 0, 4096, nil); got != want || got == 0 {
			t.Errorf("read that ends with %v: got %v, want %v", class, got, want)
		}
	}
	d.set(func() { d.fail, d.short = nil, true }) // promise P8: a short read is an error
	if got := ask(t, c, nc.CmdRead, 0, 0, 4096, nil); got != nc.EIO {
		t.Errorf("short read: got %v, want EIO", got)
	}
	d.set(func() { d.short = false })
	if got := ask(t, c, nc.CmdRead, 0, 0, 4096, nil); got != 0 {
		t.Errorf("read afterwards: %v", got)
	}
}

func TestRepliesOutOfOrder(t *testing.T) {
	d := newTestDevice(t, diskSize)
	r := offer(t, d).entered(t)
	d.hold()
	var msg []byte
	for i := range uint64(8) { // the same cookie twice each: cookies are opaque
		msg = nc.Request{Cmd: nc.CmdWrite, Cookie: i / 2, Offset: i * 512, Length: 512}.Append(msg)
		msg = append(msg, make([]byte, 512)...)
	}
	r.Send(msg)
	eventually(t, "all with the device", func() bool { return d.heldCount() == 8 })
	d.release()
	for i := range uint64(8) {
		if cookie, e, err := r.ReadSimpleReply(); cookie != (7-i)/2 || e != 0 || err != nil {
			t.Errorf("reply %d: cookie %d, %v, %v", i, cookie, e, err)
		}
	}
}

// One wake-up is one Submit.
func TestOneSubmitPerWakeUp(t *testing.T) {
	d := newTestDevice(t, diskSize)
	r := offer(t, d).entered(t)
	d.hold()
	var msg []byte
	for i := range uint64(64) {
		msg = nc.Request{Cmd: nc.CmdRead, Cookie: i, Length: 512}.Append(msg)
	}
	r.Send(msg)
	eventually(t, "all with the device", func() bool { return d.heldCount() == 64 })
	d.set(func() {
		if d.batches > 2 {
			t.Errorf("%d Submit calls for one write of 64 requests", d.batches)
		}
	})
	d.release()
	r.skip(64 * (16 + 512))
}

func TestB53DisconnectWithRequestsInFlight(t *testing.T) {
	d := newTestDevice(t, diskSize)
	s := newSource().add("x", d)
	b := serve(t, Config{Exports: s})
	r := b.entered(t)
	d.hold()
	want := bytes.Repeat([]byte{0x77}, 4096)
	msg := append(nc.Request{Cmd: nc.CmdWrite, Cookie: 1, Length: 4096}.Append(nil), want...)
	msg = nc.Request{Cmd: nc.CmdRead, Cookie: 2, Offset: 8192, Length: 512}.Append(msg)
	msg = nc.Request{Cmd: nc.CmdDisc}.Append(msg)
	r.Send(msg)
	eventually(t, "both with the device", func() bool { return d.heldCount() == 2 })
	d.release()
	got, err := io.ReadAll(r.Conn)
	if err != nil || len(got) != 16+512+16 {
		t.Errorf("got %d bytes, %v, want both replies and the end", len(got), err)
	}
	eventually(t, "handle closed", func() bool { return s.inUse() == 0 })
	var batch backends.Batch
	check := &backends.Request{Op: backends.Read, Length: 4096, Completer: backends.CompleterFunc(
		func(_ *backends.Batch, r *backends.Request, _ backends.Result) {
			if !bytes.Equal(r.Data.Bytes(), want) {
				t.Error("the write in flight was not carried out")
			}
		})}
	d.Memory.Submit(&batch, []*backends.Request{check})
	batch.Run()
}

func TestB53ManyInFlight(t *testing.T) {
	d := newTestDevice(t, diskSize)
	d.grant = backends.NewGrant(100, backends.NewPool(1000, 1<<20))
	r := offer(t, d).entered(t)
	d.hold()
	const n = 16384
	go func() {
		var msg []byte
		for range n {
			msg = nc.Request{Cmd: nc.CmdRead, Cookie: 5, Length: 512}.Append(msg)
		}
		r.Send(msg)
	}()
	eventually(t, "the credits used up", func() bool { return d.heldCount() == 100 })
	most := make(chan int, 1)
	go func() {
		m := 0
		for d.count() < n {
			m = max(m, d.heldCount())
			d.release()
			d.hold()
		}
		d.release()
		most <- m
	}()
	for i := range n {
		cookie, e, err := r.ReadSimpleReply()
		if cookie != 5 || e != 0 || err != nil {
			t.Fatalf("reply %d: %d, %v, %v", i, cookie, e, err)
		}
		if _, err := r.Read(512); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "credits given back", func() bool {
		cmds, bytes := d.grant.Outstanding()
		return cmds == 0 && bytes == 0
	})
	if m := <-most; m > 100 {
		t.Errorf("%d requests at once, want at most 100", m)
	}
}

// Promise P1: a flush is given to the device after the writes that were
// answered before it, and its failure is the client's.
func TestP1FlushAfterAnsweredWrites(t *testing.T) {
	d := newTestDevice(t, diskSize)
	c := offer(t, d).client(t)
	for i := range 100 {
		if got := ask(t, c, nc.CmdWrite, 0, uint64(i)*512, 512, make([]byte, 512)); got != 0 {
			t.Fatal(got)
		}
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	for i, r := range d.requests() {
		if want := [2]backends.Op{backends.Write, backends.Flush}[i%2]; r.op != want {
			t.Fatalf("request %d is %v, want %v", i, r.op, want)
		}
	}
	d.hold()
	done := make(chan error, 1)
	go func() { done <- c.Flush() }()
	eventually(t, "flush with the device", func() bool { return d.heldCount() == 1 })
	select {
	case err := <-done:
		t.Errorf("answered before the device was done: %v", err)
	default:
	}
	d.set(func() { d.fail = func(*backends.Request) backends.Class { return backends.Transport } })
	d.release()
	if err := <-done; !errors.Is(err, nc.EIO) {
		t.Errorf("a failed flush: got %v, want EIO", err)
	}
}

// Promise P3: the flag is the device's word, and connections share the device.
func TestP3MultiConn(t *testing.T) {
	for _, multi := range []bool{true, false} {
		d := newTestDevice(t, diskSize)
		if !multi {
			d.info.Caps &^= backends.MultiConn
		}
		b := offer(t, d)
		one, two := b.client(t), b.client(t)
		if got := one.Export().Flags&nc.CanMultiConn != 0; got != multi {
			t.Errorf("CAN_MULTI_CONN %v, want %v", got, multi)
		}
		p := bytes.Repeat([]byte{9}, 4096)
		if _, err := one.WriteAt(p, 0); err != nil {
			t.Fatal(err)
		}
		if err := two.Flush(); err != nil {
			t.Error(err)
		}
		q := make([]byte, 4096)
		if _, err := two.ReadAt(q, 0); err != nil || !bytes.Equal(p, q) {
			t.Errorf("the other connection's write is not seen: %v", err)
		}
	}
}

func TestDeviceGrows(t *testing.T) {
	d := newTestDevice(t, diskSize)
	d.info.Size = diskSize / 2
	c := offer(t, d).client(t)
	if got := ask(t, c, nc.CmdRead, 0, diskSize/2, 512, nil); got != nc.EINVAL {
		t.Errorf("behind the end: %v", got)
	}
	d.become(backends.SizeChanged, func(i *backends.Info) { i.Size = diskSize })
	if got := ask(t, c, nc.CmdRead, 0, diskSize/2, 512, nil); got != 0 {
		t.Errorf("after the growth: %v", got)
	}
	d.become(backends.CapsChanged, func(i *backends.Info) { i.MaxTransfer = 4096 })
	if got := ask(t, c, nc.CmdRead, 0, 0, 65536, nil); got != 0 {
		t.Errorf("with a new limit: %v", got)
	}
	if log := d.requests(); log[len(log)-1].length != 4096 {
		t.Errorf("last request has %d bytes, want 4096", log[len(log)-1].length)
	}
}

func TestSeveralClientsVerify(t *testing.T) {
	b := offer(t, memory(t, diskSize))
	var wg sync.WaitGroup
	for i := range 4 {
		c := b.client(t)
		for j := range 8 {
			wg.Go(func() {
				base := uint64(i*8+j) << 20
				r := rand.New(rand.NewPCG(uint64(i), uint64(j)))
				for k := range 40 {
					n := uint32(1+r.IntN(256)) * 512
					p := bytes.Repeat(binary.BigEndian.AppendUint32(nil, uint32(i<<24|j<<16|k)), int(n)/4)
					if _, err := c.Do(t.Context(), nc.CmdWrite, 0, base, n, p); err != nil {
						t.Error(err)
						return
					}
					if got, err := c.Do(t.Context(), nc.CmdRead, 0, base, n, nil); err != nil || !bytes.Equal(got, p) {
						t.Errorf("client %d job %d round %d: differs, %v", i, j, k, err)
						return
					}
				}
			})
		}
	}
	wg.Wait()
}
