// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"bytes"
	"testing"

	"pathgate/backends"
	nc "pathgate/integration/nbdclient"
)

var dialects = []nc.Dialect{nc.Simple, nc.Structured, nc.Extended}

// speaking dials and goes to transmission on the export x in d, with contexts.
func (b *bed) speaking(tb testing.TB, d nc.Dialect, contexts ...string) *peer {
	tb.Helper()
	r := b.greeted(tb)
	if err := r.Speak(d); err != nil {
		tb.Fatal(err)
	}
	if len(contexts) > 0 {
		if got, err := r.Meta(nc.OptSetMetaContext, "x", contexts...); err != nil || len(got) != len(contexts) {
			tb.Fatal(got, err)
		}
	}
	if _, err := r.Info(nc.OptGo, "x"); err != nil {
		tb.Fatal(err)
	}
	return r
}

// do sends one request and gives its reply, which keeps to the protocol.
func (p *peer) do(tb testing.TB, d nc.Dialect, a nc.Asked, contexts ...uint32) *nc.Answer {
	tb.Helper()
	a.Cookie = 0xfedcba9876543210
	got, err := p.Do(d, &a, contexts...)
	if err != nil {
		tb.Fatalf("%v in dialect %d: %v", a.Cmd, d, err)
	}
	return got
}

func TestChunkBytes(t *testing.T) {
	var b replyHeader
	const cookie, offset = 0x0102030405060708, 512
	tests := []struct {
		name   string
		encode func() int
		want   []byte
	}{
		{"structured success", func() int { return b.end(structured, cookie, offset, refusal{}) }, []byte{
			0x67, 0x44, 0x66, 0x98, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8,
		}},
		{"structured error", func() int { return b.end(structured, cookie, offset, refusal{errNoSpace, "full"}) }, []byte{
			0x66, 0x8e, 0x33, 0xef, // magic
			0, 1, 0x80, 1, // DONE, ERROR
			1, 2, 3, 4, 5, 6, 7, 8, // cookie
			0, 0, 0, 10, // length
			0, 0, 0, 28, 0, 4, 'f', 'u', 'l', 'l',
		}},
		{"extended success", func() int { return b.end(extended, cookie, offset, refusal{}) }, []byte{
			0x6e, 0x8a, 0x27, 0x8c, // magic
			0, 1, 0, 0, // DONE, NONE
			1, 2, 3, 4, 5, 6, 7, 8, // cookie
			0, 0, 0, 0, 0, 0, 2, 0, // offset
			0, 0, 0, 0, 0, 0, 0, 0, // length
		}},
		{"structured data", func() int { return b.data(structured, 0, cookie, offset, 1024, 4096) }, []byte{
			0x66, 0x8e, 0x33, 0xef,
			0, 0, 0, 1, // OFFSET_DATA
			1, 2, 3, 4, 5, 6, 7, 8,
			0, 0, 0x10, 8, // length: an offset and 4096 bytes
			0, 0, 0, 0, 0, 0, 4, 0, // offset of the data
		}},
		{"extended hole", func() int { return b.hole(extended, chunkDone, cookie, offset, 1024, 4096) }, []byte{
			0x6e, 0x8a, 0x27, 0x8c,
			0, 1, 0, 2, // DONE, OFFSET_HOLE
			1, 2, 3, 4, 5, 6, 7, 8,
			0, 0, 0, 0, 0, 0, 2, 0, // offset of the request
			0, 0, 0, 0, 0, 0, 0, 12,
			0, 0, 0, 0, 0, 0, 4, 0, // offset of the hole
			0, 0, 0x10, 0, // its size
		}},
	}
	for _, tt := range tests {
		if got := b[:tt.encode()]; !bytes.Equal(got, tt.want) {
			t.Errorf("%s: got % x, want % x", tt.name, got, tt.want)
		}
	}
	// A text that is too long is cut, and does not run out of the room.
	long := refusal{errIO, string(bytes.Repeat([]byte("x"), 2*maxReason))}
	if n := b.end(extended, cookie, offset, long); n != maxReplyHeader || b[extendedChunkLen+5] != maxReason {
		t.Errorf("long text: %d bytes", n)
	}
	for _, r := range []refusal{
		refusedCommand, refusedFlag, refusedReadOnly, refusedUnasked, refusedContext, refusedFlush,
		refusedAlign, refusedPayload, refusedLong, refusedStopping, refusedShort,
	} {
		if len(r.text) > maxReason || r.e == 0 || r.text == "" {
			t.Errorf("refusal %+v", r)
		}
	}
}

func TestExtendedRequestBytes(t *testing.T) {
	in := []byte{
		0x21, 0xe4, 0x1c, 0x71, // magic
		0, 0x21, 0, 1, // PAYLOAD_LEN and FUA, WRITE
		1, 2, 3, 4, 5, 6, 7, 8, // cookie
		0, 0, 0, 1, 0, 0, 0x10, 0, // offset
		0, 0, 0, 0, 0, 0, 2, 0, // length
	}
	want := header{
		magic: magicExtendedRequest, flags: cmdFlagFUA | cmdFlagPayloadLen, cmd: cmdWrite,
		cookie: 0x0102030405060708, offset: 1<<32 + 4096, length: 512, payload: 512,
	}
	if got := extended.decode(in); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	in[5], in[24] = 1, 1 // no payload; a length beyond 32 bits
	want.flags, want.payload, want.length = cmdFlagFUA, 0, 1<<56+512
	if got := extended.decode(in); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Every command in every dialect: success, and the refusals of HAZARDS 2c, whose
// payload is consumed.
func TestB47EveryDialect(t *testing.T) {
	for _, d := range dialects {
		dev := newTestDevice(t, diskSize)
		r := offer(t, dev).speaking(t, d)
		data := bytes.Repeat([]byte{7}, 4096)
		df := nc.Errno(0)
		if d == nc.Simple {
			df = nc.EINVAL
		}
		long := nc.EOVERFLOW
		if d == nc.Simple {
			long = nc.EINVAL
		}
		tests := []struct {
			name string
			a    nc.Asked
			want nc.Errno
		}{
			{"write", nc.Asked{Cmd: nc.CmdWrite, Flags: nc.FlagFUA, Offset: 8192, Payload: data}, 0},
			{"read", nc.Asked{Cmd: nc.CmdRead, Flags: nc.FlagFUA, Offset: 8192, Length: 4096}, 0},
			{"B52 read with DF", nc.Asked{Cmd: nc.CmdRead, Flags: nc.FlagDF, Offset: 8192, Length: 4096}, df},
			{"flush", nc.Asked{Cmd: nc.CmdFlush}, 0},
			{"trim", nc.Asked{Cmd: nc.CmdTrim, Length: 4096}, 0},
			{"cache", nc.Asked{Cmd: nc.CmdCache, Length: 4096}, 0},
			{"zeroes", nc.Asked{Cmd: nc.CmdWriteZeroes, Flags: nc.FlagNoHole, Length: 4096}, 0},
			{"B52 status without a context", nc.Asked{Cmd: nc.CmdBlockStatus, Length: 4096}, nc.EINVAL},
			{"unknown command", nc.Asked{Cmd: 99, Length: 4096}, nc.EINVAL},
			{"resize, which is not offered", nc.Asked{Cmd: nc.CmdResize, Offset: 1 << 20}, nc.EINVAL},
			{"unknown flag on WRITE", nc.Asked{Cmd: nc.CmdWrite, Flags: 1 << 9, Payload: data}, nc.EINVAL},
			{"flag of another command", nc.Asked{Cmd: nc.CmdWrite, Flags: nc.FlagReqOne, Payload: data}, nc.EINVAL},
			{"B50 read beyond the end", nc.Asked{Cmd: nc.CmdRead, Offset: diskSize, Length: 512}, nc.EINVAL},
			{"B50 write beyond the end", nc.Asked{Cmd: nc.CmdWrite, Offset: diskSize, Payload: data}, nc.ENOSPC},
			{"B50 unaligned", nc.Asked{Cmd: nc.CmdRead, Offset: 1, Length: 512}, nc.EINVAL},
			{"B50 length 0", nc.Asked{Cmd: nc.CmdRead}, nc.EINVAL},
			{"B50 no end", nc.Asked{Cmd: nc.CmdTrim, Offset: 1<<64 - 512, Length: 1024}, nc.EINVAL},
			{"B48 long read", nc.Asked{Cmd: nc.CmdRead, Length: 1<<25 + 512}, long},
		}
		for _, tt := range tests {
			a := r.do(t, d, tt.a)
			if a.Errno != tt.want || tt.want != 0 && d != nc.Simple && a.Message == "" {
				t.Errorf("dialect %d: %s: got %v %q, want %v", d, tt.name, a.Errno, a.Message, tt.want)
			}
			if tt.a.Cmd == nc.CmdRead && tt.want == 0 && !bytes.Equal(a.Data, data) {
				t.Errorf("dialect %d: %s: other data", d, tt.name)
			}
		}
	}
}

// B48, B49 with 64-bit lengths.
func TestB49ExtendedLengths(t *testing.T) {
	dev := newTestDevice(t, 1<<20)
	dev.info.Size = 1 << 40
	dev.info.MaxUnmap, dev.info.MaxZeroes = 1<<38, 0
	dev.fail = func(*backends.Request) backends.Class { return backends.OK }
	b := offer(t, dev)
	r := b.speaking(t, nc.Extended)
	for _, cmd := range []nc.Command{nc.CmdTrim, nc.CmdWriteZeroes, nc.CmdCache} {
		if a := r.do(t, nc.Extended, nc.Asked{Cmd: cmd, Offset: 512, Length: 1<<40 - 512}); a.Errno != 0 {
			t.Errorf("%v of 2^40-512: got %v", cmd, a.Errno)
		}
	}
	var sum uint64
	for _, s := range dev.requests() {
		sum += s.length
	}
	if sum != 3*(1<<40-512) {
		t.Errorf("the device was asked for %d bytes", sum)
	}
	for _, cmd := range []nc.Command{nc.CmdTrim, nc.CmdRead, nc.CmdCache, nc.CmdWriteZeroes} {
		a := r.do(t, nc.Extended, nc.Asked{Cmd: cmd, Offset: 512, Length: 1<<64 - 512})
		want := nc.EINVAL
		if cmd == nc.CmdRead {
			want = nc.EOVERFLOW
		}
		if a.Errno != want {
			t.Errorf("%v of 2^64-512: got %v, want %v", cmd, a.Errno, want)
		}
	}
	// A payload where none belongs is consumed; one that is too long is not.
	for _, cmd := range []nc.Command{nc.CmdRead, nc.CmdFlush, nc.CmdTrim, nc.CmdBlockStatus, nc.CmdResize, 99} {
		for _, n := range []int{1, 12, 4096, 1 << 20} {
			a := r.do(t, nc.Extended, nc.Asked{Cmd: cmd, Payload: make([]byte, n)})
			if a.Errno != nc.EINVAL {
				t.Errorf("%v with a payload of %d: got %v, want EINVAL", cmd, n, a.Errno)
			}
		}
	}
	bad := map[string]nc.Asked{
		"payload above 2^25":            {Cmd: nc.CmdTrim, Flags: nc.FlagPayloadLen, Length: 1<<25 + 1},
		"payload of 2^64-1":             {Cmd: nc.CmdWrite, Flags: nc.FlagPayloadLen, Length: 1<<64 - 1},
		"write without PAYLOAD_LEN":     {Cmd: nc.CmdWrite, Length: 512},
		"write without it, beyond 2^32": {Cmd: nc.CmdWrite, Length: 1 << 32},
	}
	for name, a := range bad {
		t.Run(name, func(t *testing.T) {
			r := b.speaking(t, nc.Extended)
			r.Send(nc.Extended.Append(nil, &a))
			closed(t, r)
		})
	}
	// The other dialect's header is a wrong magic.
	r = b.speaking(t, nc.Extended)
	r.Send(nc.Structured.Append(nil, &nc.Asked{Cmd: nc.CmdFlush, Length: 1 << 31}))
	r.Send(make([]byte, 8))
	closed(t, r)
}

// B51: an error of the device is told in the dialect of the connection, for
// exactly its request.
func TestB51ErrorsInChunks(t *testing.T) {
	for _, d := range []nc.Dialect{nc.Structured, nc.Extended} {
		dev := newTestDevice(t, diskSize)
		dev.fail = func(r *backends.Request) backends.Class {
			if r.Offset == 4096 {
				return backends.Medium
			}
			return 0
		}
		dev.info.MaxTransfer = 64 << 10
		r := offer(t, dev).speaking(t, d, "base:allocation")
		for _, length := range []uint64{512, 1 << 20} {
			if a := r.do(t, d, nc.Asked{Cmd: nc.CmdRead, Offset: 4096, Length: length}); a.Errno != nc.EIO || a.Message != "medium error" || len(a.Content) != 0 {
				t.Errorf("read of %d: got %v %q with %v", length, a.Errno, a.Message, a.Content)
			}
		}
		if a := r.do(t, d, nc.Asked{Cmd: nc.CmdBlockStatus, Offset: 4096, Length: 512}, uint32(metaAllocation)); a.Errno != nc.EIO || len(a.Status) != 0 {
			t.Errorf("status: got %v with %v", a.Errno, a.Status)
		}
		if a := r.do(t, d, nc.Asked{Cmd: nc.CmdRead, Length: 4096}); a.Errno != 0 {
			t.Errorf("next read: got %v", a.Errno)
		}
		dev.set(func() { dev.short = true })
		if a := r.do(t, d, nc.Asked{Cmd: nc.CmdRead, Length: 4096}); a.Errno != nc.EIO || a.Message != "short read" {
			t.Errorf("short read: got %v %q", a.Errno, a.Message)
		}
	}
}
