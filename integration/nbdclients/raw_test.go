// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbdclients

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"testing"
	"time"

	nc "pathgate/integration/nbdclient"
)

// rawBed is a connection in the transmission phase on which anything may be sent.
type rawBed struct {
	*nc.Raw
	d    nc.Dialect
	next uint64 // cookie
}

func (b *bed) raw(t *testing.T, d nc.Dialect, disk string) *rawBed {
	t.Helper()
	r, err := nc.DialRaw(t.Context(), b.NBD())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	if err := r.Conn.SetDeadline(time.Now().Add(scriptTimeout)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Greet(); err != nil {
		t.Fatal(err)
	}
	if err := r.Speak(d); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Info(nc.OptGo, "vm1/"+disk); err != nil {
		t.Fatal(err)
	}
	return &rawBed{Raw: r, d: d}
}

// ask sends one request and gives the error of its answer.
func (r *rawBed) ask(t *testing.T, a nc.Asked) nc.Errno {
	t.Helper()
	r.next++
	a.Cookie = r.next
	if err := r.Send(r.d.Append(nil, &a)); err != nil {
		t.Fatal(err)
	}
	c, err := r.ReadChunk()
	if err != nil {
		t.Fatalf("%+v: %v", a, err)
	}
	switch {
	case c.Cookie != a.Cookie:
		t.Fatalf("answer to %d, want %d", c.Cookie, a.Cookie)
	case !c.Simple && r.d == nc.Simple,
		c.Simple && (r.d == nc.Extended || r.d == nc.Structured && (a.Cmd == nc.CmdRead || a.Cmd == nc.CmdBlockStatus)):
		t.Fatalf("%+v: simple reply: %v", a, c.Simple)
	case c.Simple:
		return c.Errno
	case c.Flags != nc.ChunkDone || c.Type != nc.ChunkError && c.Type != nc.ChunkNone:
		t.Fatalf("%+v: chunk %+v", a, c)
	case c.Type == nc.ChunkNone:
		return 0
	}
	return nc.Errno(binary.BigEndian.Uint32(c.Data))
}

// alive has the connection read.
func (r *rawBed) alive(t *testing.T) {
	t.Helper()
	r.next++
	a := nc.Asked{Cmd: nc.CmdRead, Flags: nc.FlagDF, Cookie: r.next, Offset: 4096, Length: 512}
	if r.d == nc.Simple {
		a.Flags = 0
	}
	if err := r.Send(r.d.Append(nil, &a)); err != nil {
		t.Fatal(err)
	}
	c, err := r.ReadChunk()
	if err != nil || c.Cookie != r.next || c.Errno != 0 {
		t.Fatalf("the next read: %+v, %v", c, err)
	}
	data := c.Data
	if r.d == nc.Simple {
		if data, err = r.Read(512); err != nil {
			t.Fatal(err)
		}
	} else if c.Flags != nc.ChunkDone || c.Type != nc.ChunkData || len(data) != 8+512 {
		t.Fatalf("the next read: %+v", c)
	} else {
		data = data[8:]
	}
	if !bytes.Equal(data, bytes.Repeat([]byte("d"), 512)) {
		t.Fatalf("the next read has other data: %q", data)
	}
}

// TestRawBadRequests: what libnbd has no call for is refused, and the next read works.
func TestRawBadRequests(t *testing.T) {
	t.Parallel()
	b := newBed(t, "", "raw")
	for _, d := range []nc.Dialect{nc.Simple, nc.Structured, nc.Extended} {
		r := b.raw(t, d, "raw")
		if e := r.ask(t, nc.Asked{Cmd: nc.CmdWrite, Offset: 4096, Payload: bytes.Repeat([]byte("d"), 512)}); e != 0 {
			t.Fatal(e)
		}
		for _, c := range badRequests(d) {
			if e := r.ask(t, c.Asked); e != c.want {
				t.Errorf("dialect %d, %s: got %v, want %v", d, c.name, e, c.want)
			}
			r.alive(t)
		}
	}
	if !b.Running() {
		t.Error("the gateway has ended")
	}
}

type badRequest struct {
	name string
	nc.Asked
	want nc.Errno
}

func badRequests(d nc.Dialect) []badRequest {
	var list []badRequest
	add := func(name string, a nc.Asked, want nc.Errno) {
		list = append(list, badRequest{fmt.Sprintf("%s: command %d, flags %#x", name, a.Cmd, uint16(a.Flags)), a, want})
	}
	for _, cmd := range []nc.Command{9, 10, 255, 256, 0x7fff, 0xffff} {
		for _, length := range []uint64{0, 512, 1<<32 - 512} {
			add("unknown command", nc.Asked{Cmd: cmd, Length: length}, nc.EINVAL)
		}
		add("unknown command with flags", nc.Asked{Cmd: cmd, Flags: 0xffdf, Length: 512}, nc.EINVAL)
	}
	add("resize that was not offered", nc.Asked{Cmd: 8, Offset: 128 << 20}, nc.EINVAL)
	add("flush of a range", nc.Asked{Cmd: nc.CmdFlush, Length: 512}, nc.EINVAL)
	add("flush from somewhere", nc.Asked{Cmd: nc.CmdFlush, Offset: 512}, nc.EINVAL)
	add("status without contexts", nc.Asked{Cmd: nc.CmdBlockStatus, Length: 512}, nc.EINVAL)
	for bit := range 16 {
		f := nc.Flags(1) << bit
		if f == nc.FlagPayloadLen {
			continue // says in the extended dialect what follows
		}
		if f != nc.FlagFUA {
			add("flag", nc.Asked{Cmd: nc.CmdWrite, Flags: f, Payload: make([]byte, 4096)}, nc.EINVAL)
			add("flag", nc.Asked{Cmd: nc.CmdTrim, Flags: f, Length: 4096}, nc.EINVAL)
		}
		if f != nc.FlagFUA && (f != nc.FlagDF || d == nc.Simple) {
			add("flag", nc.Asked{Cmd: nc.CmdRead, Flags: f, Length: 4096}, nc.EINVAL)
		}
	}
	if d == nc.Extended {
		add("oversize", nc.Asked{Cmd: nc.CmdRead, Length: 1 << 33}, nc.EOVERFLOW)
		add("beyond the end", nc.Asked{Cmd: nc.CmdTrim, Length: 1 << 33}, nc.EINVAL)
		add("beyond the end", nc.Asked{Cmd: nc.CmdWriteZeroes, Length: 1 << 62}, nc.ENOSPC)
		add("no end", nc.Asked{Cmd: nc.CmdWriteZeroes, Offset: 512, Length: 1<<64 - 512}, nc.EINVAL)
	} else {
		add("payload flag", nc.Asked{Cmd: nc.CmdRead, Flags: nc.FlagPayloadLen, Length: 512}, nc.EINVAL)
		add("oversize", nc.Asked{Cmd: nc.CmdRead, Length: 1<<32 - 512}, map[nc.Dialect]nc.Errno{nc.Simple: nc.EINVAL, nc.Structured: nc.EOVERFLOW}[d])
	}
	return list
}

// TestRawEnds: what leaves open where the next request begins ends the connection, and no
// other.
func TestRawEnds(t *testing.T) {
	t.Parallel()
	b := newBed(t, "", "raw")
	for _, d := range []nc.Dialect{nc.Simple, nc.Structured, nc.Extended} {
		other := b.raw(t, d, "raw")
		if e := other.ask(t, nc.Asked{Cmd: nc.CmdWrite, Offset: 4096, Payload: bytes.Repeat([]byte("d"), 512)}); e != 0 {
			t.Fatal(e)
		}
		good := d.Append(nil, &nc.Asked{Cmd: nc.CmdRead, Offset: 4096, Length: 512})
		magic := append([]byte{0xff}, good[1:]...)
		for name, sent := range map[string][]byte{
			"a request with another magic": magic,
			"a reply":                      binary.BigEndian.AppendUint32(nil, nc.MagicSimpleReply),
			"DISC":                         d.Append(nil, &nc.Asked{Cmd: nc.CmdDisc}),
		} {
			sent = append(sent, make([]byte, 64)...) // a whole header in any case
			r := b.raw(t, d, "raw")
			if err := r.Send(sent); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r.Conn); len(got) > 0 || isTimeout(err) {
				t.Errorf("dialect %d, %s: got %d bytes, %v", d, name, len(got), err)
			}
			other.alive(t)
		}
	}
}

// isTimeout tells that the connection was not ended; a reset is an end.
func isTimeout(err error) bool {
	e, ok := err.(interface{ Timeout() bool })
	return ok && e.Timeout()
}
