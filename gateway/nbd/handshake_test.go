// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	nc "pathgate/integration/nbdclient"
)

func standard(t *testing.T) (*bed, *source) {
	s := newSource().add("x", memory(t, diskSize)).add("vm2/root", memory(t, 1<<20))
	return serve(t, Config{Exports: s}), s
}

// closed tells that the server has closed the connection without a further byte.
func closed(t *testing.T, r *peer) {
	t.Helper()
	if b, err := io.ReadAll(r.Conn); len(b) != 0 || errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
		t.Errorf("got % x, %v, want the end of the connection", b, err)
	}
}

func isTimeout(err error) bool {
	var ne interface{ Timeout() bool }
	return errors.As(err, &ne) && ne.Timeout()
}

func TestGreeting(t *testing.T) {
	b, _ := standard(t)
	r := b.raw(t)
	got, err := r.Read(18)
	if err != nil || string(got) != "NBDMAGICIHAVEOPT\x00\x03" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestB41ClientFlags(t *testing.T) {
	b, _ := standard(t)
	for _, flags := range []uint32{4, 1 << 31, 7, 0xffffffff} {
		r := b.raw(t)
		r.greeting()
		r.SendClientFlags(flags)
		closed(t, r)
	}
	for _, flags := range []uint32{nc.FixedNewstyle, nc.FixedNewstyle | nc.NoZeroes} {
		r := b.raw(t)
		r.greeting()
		r.SendClientFlags(flags)
		if _, err := r.List(); err != nil {
			t.Errorf("flags %#x: %v", flags, err)
		}
	}
	// Without fixed newstyle there is one option only, and it works.
	r := b.raw(t)
	r.greeting()
	r.SendClientFlags(0)
	if e, err := r.ExportName("x", false); err != nil || e.Size != diskSize {
		t.Errorf("got %+v, %v", e, err)
	}
	r = b.raw(t)
	r.greeting()
	r.SendClientFlags(0)
	r.SendOption(nc.OptList, nil)
	closed(t, r)
}

// goData is the payload of INFO and GO.
func goData(nameLen uint32, name string, count uint16, infos ...uint16) []byte {
	b := binary.BigEndian.AppendUint32(nil, nameLen)
	b = append(b, name...)
	b = binary.BigEndian.AppendUint16(b, count)
	for _, i := range infos {
		b = binary.BigEndian.AppendUint16(b, i)
	}
	return b
}

func TestB42Options(t *testing.T) {
	b, s := standard(t)
	long := strings.Repeat("a", 4097)
	errorReplies := map[string]struct {
		option uint32
		data   []byte
		want   uint32
	}{
		"no data":                       {nc.OptGo, nil, nc.RepErrInvalid},
		"five bytes":                    {nc.OptGo, make([]byte, 5), nc.RepErrInvalid},
		"inner length beyond the outer": {nc.OptGo, goData(2, "x", 0), nc.RepErrInvalid},
		"inner length 2^32-1":           {nc.OptGo, goData(1<<32-1, "x", 0), nc.RepErrInvalid},
		"inner length wraps":            {nc.OptInfo, goData(1<<32-6, "x", 0), nc.RepErrInvalid},
		"name too long":                 {nc.OptGo, goData(4097, long, 0), nc.RepErrInvalid},
		"NUL in the name":               {nc.OptGo, goData(3, "x\x00y", 0), nc.RepErrInvalid},
		"no UTF-8":                      {nc.OptGo, goData(2, "\xff\xfe", 0), nc.RepErrInvalid},
		"count above the data":          {nc.OptGo, goData(1, "x", 2, 3), nc.RepErrInvalid},
		"count below the data":          {nc.OptGo, goData(1, "x", 0, 3), nc.RepErrInvalid},
		"count 65535":                   {nc.OptInfo, goData(1, "x", 65535), nc.RepErrInvalid},
		"unknown export":                {nc.OptGo, goData(1, "y", 0), nc.RepErrUnknown},
		"longest name":                  {nc.OptGo, goData(4096, long[:4096], 0), nc.RepErrUnknown},
		"large option":                  {nc.OptGo, make([]byte, 16<<10+1), nc.RepErrTooBig},
		"largest option":                {77, make([]byte, 64<<10), nc.RepErrTooBig},
	}
	for name, tt := range errorReplies {
		t.Run(name, func(t *testing.T) {
			r := b.greeted(t)
			_, err := r.Ask(tt.option, tt.data)
			var oe *nc.OptionError
			if !errors.As(err, &oe) || oe.Type != tt.want {
				t.Fatalf("got %v, want reply type %#x", err, tt.want)
			}
			if list, err := r.List(); err != nil || len(list) != 2 { // the stream is in step
				t.Errorf("list afterwards: %v, %v", list, err)
			}
		})
	}
	disconnects := map[string][]byte{
		"4 GiB":        append([]byte("IHAVEOPT\x00\x00\x00\x07"), 0xff, 0xff, 0xff, 0xff),
		"above 64 KiB": append([]byte("IHAVEOPT\x00\x00\x00\x4d"), 0, 1, 0, 1),
		"export name":  append([]byte("IHAVEOPT\x00\x00\x00\x01"), 0, 0, 0x10, 1),
		"wrong magic":  []byte("IHAVEOPS\x00\x00\x00\x03\x00\x00\x00\x00"),
	}
	for name, data := range disconnects {
		t.Run(name, func(t *testing.T) {
			r := b.greeted(t)
			r.Send(data)
			closed(t, r)
		})
	}
	if s.inUse() != 0 {
		t.Errorf("%d handles open", s.inUse())
	}
}

func TestB43Options(t *testing.T) {
	b, _ := standard(t)
	r := b.greeted(t)
	for _, o := range []uint32{4, 12, 12345} {
		_, err := r.Ask(o, []byte("payload that is consumed"))
		var oe *nc.OptionError
		if !errors.As(err, &oe) || oe.Type != nc.RepErrUnsup {
			t.Errorf("option %d: got %v, want ERR_UNSUP", o, err)
		}
	}
	_, err := r.Ask(nc.OptList, []byte{1})
	var oe *nc.OptionError
	if !errors.As(err, &oe) || oe.Type != nc.RepErrInvalid {
		t.Errorf("LIST with data: got %v, want ERR_INVALID", err)
	}
	list, err := r.List()
	if err != nil || len(list) != 2 || list[1].Name != "vm2/root" || list[1].Description != "disk vm2/root" {
		t.Errorf("got %+v, %v", list, err)
	}
	if reps, err := r.Ask(nc.OptAbort, []byte("data")); err != nil || len(reps) != 0 {
		t.Errorf("ABORT with data: got %v, %v, want ACK", reps, err)
	}
	closed(t, r)

	r = b.greeted(t)
	r.SendOption(nc.OptExportName, []byte("nobody"))
	closed(t, r)
}

func TestInfoAndGo(t *testing.T) {
	b, s := standard(t)
	r := b.greeted(t)
	for _, name := range []string{"x", ""} { // "" is the default export, here the first
		e, err := r.Info(nc.OptInfo, name)
		if err != nil || e.Name != "x" || e.Description != "disk x" || e.Size != diskSize ||
			e.MinBlock != 512 || e.PreferredBlock != 4096 || e.MaxPayload != 1<<25 {
			t.Errorf("INFO %q: %+v, %v", name, e, err)
		}
	}
	if s.inUse() != 0 {
		t.Errorf("INFO left %d handles open", s.inUse())
	}
	reps, err := r.Ask(nc.OptInfo, goData(1, "x", 1, 999)) // an unknown request is ignored
	if err != nil || len(reps) != 2 {
		t.Errorf("got %v, %v, want EXPORT and BLOCK_SIZE", reps, err)
	}
	e, err := r.Info(nc.OptGo, "x")
	if err != nil || e.Flags&nc.CanMultiConn == 0 {
		t.Fatalf("GO: %+v, %v", e, err)
	}
	list := b.Connections()
	if s.inUse() != 1 || len(list) != 1 || list[0].Export != "x" || !strings.HasPrefix(list[0].Peer.Connection, "nbd "+b.path) {
		t.Errorf("in use %d, connections %+v", s.inUse(), list)
	}
	r.Close()
	eventually(t, "handle closed", func() bool { return s.inUse() == 0 })
}

func TestExportNameReply(t *testing.T) {
	b, _ := standard(t)
	for _, flags := range []uint32{nc.FixedNewstyle, nc.FixedNewstyle | nc.NoZeroes} {
		r := b.raw(t)
		r.greeting()
		r.SendClientFlags(flags)
		r.SendOption(nc.OptExportName, []byte("x"))
		r.Send(nc.Request{Cmd: nc.CmdFlush, Cookie: 7}.Append(nil))
		want := 10 + 124 + 16
		if flags&nc.NoZeroes != 0 {
			want = 10 + 16
		}
		got, err := r.Read(want)
		if err != nil || !bytes.Equal(got[:8], binary.BigEndian.AppendUint64(nil, diskSize)) ||
			!bytes.Equal(got[want-16:want-12], []byte{0x67, 0x44, 0x66, 0x98}) {
			t.Errorf("flags %d: got % x, %v", flags, got, err)
		}
		if want > 100 && !bytes.Equal(got[10:134], make([]byte, 124)) {
			t.Error("the reserved bytes are not zero")
		}
	}
}

// A whole conversation, cut at every byte and with a wrong byte at every place:
// the server lives, opens nothing before the option is complete, and leaves
// nothing open.
func TestB45CutAndUnexpected(t *testing.T) {
	b, s := standard(t)
	script := binary.BigEndian.AppendUint32(nil, nc.FixedNewstyle|nc.NoZeroes)
	script = nc.AppendOption(script, nc.OptList, nil)
	script = nc.AppendOption(script, 99, []byte("unknown"))
	script = nc.AppendOption(script, nc.OptInfo, goData(1, "x", 1, 3))
	before := len(script) - len(nc.AppendOption(nil, nc.OptInfo, goData(1, "x", 1, 3)))
	script = nc.AppendOption(script, nc.OptGo, goData(1, "x", 2, 1, 3))
	entered := len(script)
	script = nc.Request{Cmd: nc.CmdWrite, Cookie: 1, Length: 512}.Append(script)
	script = append(script, make([]byte, 512)...)
	script = nc.Request{Cmd: nc.CmdDisc}.Append(script)

	for cut := 0; cut <= len(script); cut++ {
		if cut > entered+40 && cut < len(script)-32 {
			continue // inside the payload every place is the same
		}
		opens := s.opened()
		r := b.raw(t)
		r.Send(script[:cut])
		r.closeWrite()
		if _, err := io.ReadAll(r.Conn); isTimeout(err) {
			t.Fatalf("cut at %d: the server waits for ever", cut)
		}
		r.Close()
		if cut < before+optionHeaderLen && s.opened() != opens {
			t.Fatalf("cut at %d: opened before the option was complete", cut)
		}
	}
	for at := 0; at < entered+headerLen; at++ {
		bad := bytes.Clone(script)
		bad[at] ^= 0x80
		r := b.raw(t)
		r.Send(bad)
		r.closeWrite()
		if _, err := io.ReadAll(r.Conn); isTimeout(err) {
			t.Fatalf("wrong byte at %d: the server waits for ever", at)
		}
		r.Close()
	}
	eventually(t, "handles closed", func() bool { return s.inUse() == 0 })
	b.client(t)
}

func TestOptionCount(t *testing.T) {
	b, _ := standard(t)
	r := b.greeted(t)
	for i := range maxOptions {
		if _, err := r.List(); err != nil {
			t.Fatalf("option %d: %v", i, err)
		}
	}
	closed(t, r)
}

func TestHandshakeTimeout(t *testing.T) {
	s := newSource().add("x", memory(t, diskSize))
	b := serve(t, Config{Exports: s, HandshakeTimeout: 30 * time.Millisecond})
	r := b.greeted(t)
	closed(t, r) // says nothing
	r = b.raw(t)
	if _, err := r.ReadGreeting(); err != nil {
		t.Fatal(err)
	}
	closed(t, r)     // does not even answer the greeting
	c := b.client(t) // the timeout does not follow into transmission
	tick := time.NewTimer(60 * time.Millisecond)
	<-tick.C
	if err := c.Flush(); err != nil {
		t.Error(err)
	}
}

// An open that waits outlives the handshake timeout, and ends with the client.
func TestOpenWaits(t *testing.T) {
	s := newSource().add("x", memory(t, diskSize))
	appear := make(chan struct{})
	waiting, cancelled := make(chan struct{}, 4), make(chan struct{}, 4)
	s.open = func(ctx context.Context, name string, mode Mode) error {
		if mode == Inspect {
			return nil
		}
		waiting <- struct{}{}
		select {
		case <-appear:
			return nil
		case <-ctx.Done():
			cancelled <- struct{}{}
			return ctx.Err()
		}
	}
	b := serve(t, Config{Exports: s, HandshakeTimeout: 50 * time.Millisecond})
	for _, old := range []bool{false, true} {
		r := b.greeted(t)
		o, data := uint32(nc.OptGo), goData(1, "x", 0)
		if old {
			o, data = nc.OptExportName, []byte("x")
		}
		r.SendOption(o, data)
		<-waiting
		r.Close()
		<-cancelled
	}
	// Two clients wait past the timeout; the second talks while it waits.
	r1, r2 := b.greeted(t), b.greeted(t)
	r1.SendOption(nc.OptGo, goData(1, "x", 0))
	<-waiting
	r2.SendOption(nc.OptGo, goData(1, "x", 0))
	<-waiting
	r2.Send(nc.Request{Cmd: nc.CmdFlush, Cookie: 9}.Append(nil))
	timer := time.NewTimer(100 * time.Millisecond)
	<-timer.C
	close(appear)
	for _, r := range []*peer{r1, r2} {
		for {
			rep, err := r.ReadOptionReply()
			if err != nil {
				t.Fatal(err)
			}
			if rep.Type == nc.RepAck {
				break
			}
		}
	}
	if cookie, errno, err := r2.ReadSimpleReply(); cookie != 9 || errno != 0 || err != nil {
		t.Errorf("flush sent early: %d, %v, %v", cookie, errno, err)
	}
}

func TestOpenErrors(t *testing.T) {
	bad := newTestDevice(t, 1<<20)
	bad.info.LogicalBlock = 1 << 17
	s := newSource().add("x", memory(t, diskSize)).add("bad", bad)
	var fail atomic.Pointer[error]
	s.open = func(context.Context, string, Mode) error {
		if err := fail.Load(); err != nil {
			return *err
		}
		return nil
	}
	b := serve(t, Config{Exports: s})
	for want, err := range map[uint32]error{
		nc.RepErrUnknown:  errors.New("LUN vmhba0:0:1 has not been found"),
		nc.RepErrPolicy:   ErrNotPermitted,
		nc.RepErrShutdown: ErrShutdown,
	} {
		fail.Store(&err)
		r := b.greeted(t)
		_, got := r.Ask(nc.OptGo, goData(1, "x", 0))
		var oe *nc.OptionError
		if !errors.As(got, &oe) || oe.Type != want || !strings.Contains(oe.Message, err.Error()) {
			t.Errorf("%v: got %v, want reply type %#x", err, got, want)
		}
	}
	fail.Store(nil)
	r := b.greeted(t)
	if _, err := r.Ask(nc.OptGo, goData(3, "bad", 0)); err == nil {
		t.Error("a block size that NBD cannot tell was accepted")
	}
	if s.inUse() != 0 {
		t.Errorf("%d handles open", s.inUse())
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := Config{Exports: newSource()}
	if _, err := New(good); err != nil {
		t.Error(err)
	}
	for name, f := range map[string]func(*Config){
		"no source":    func(c *Config) { c.Exports = nil },
		"tiny payload": func(c *Config) { c.MaxPayload = 4096 },
		"huge payload": func(c *Config) { c.MaxPayload = 1 << 26 },
		"timeout":      func(c *Config) { c.DrainTimeout = -1 },
		"limit":        func(c *Config) { c.MaxConnections = -1 },
	} {
		c := good
		f(&c)
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
