// SPDX-License-Identifier: Apache-2.0

package nbdclient

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"
)

func connect(t *testing.T, addr string) *Client {
	t.Helper()
	c, err := Connect(t.Context(), Config{Addr: addr, Export: "x", Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestRequestBytes(t *testing.T) {
	want := []byte{
		0x25, 0x60, 0x95, 0x13, // magic
		0x00, 0x01, // FUA
		0x00, 0x01, // WRITE
		1, 2, 3, 4, 5, 6, 7, 8, // cookie
		0, 0, 0, 0, 0, 0, 0x10, 0, // offset
		0, 0, 2, 0, // length
	}
	got := Request{Flags: FlagFUA, Cmd: CmdWrite, Cookie: 0x0102030405060708, Offset: 4096, Length: 512}.Append(nil)
	if !bytes.Equal(got, want) {
		t.Errorf("got % x, want % x", got, want)
	}
}

func TestRepliesOutOfOrder(t *testing.T) {
	const n = 32
	addr := scripted(t, func(p *peer) {
		p.negotiate(1 << 20)
		var reqs []seen
		for range n {
			r, ok := p.request()
			if !ok {
				return
			}
			reqs = append(reqs, r)
		}
		for i := n - 1; i >= 0; i-- { // the last asked is answered first
			p.reply(reqs[i].Cookie, 0, bytes.Repeat([]byte{byte(reqs[i].Offset / 512)}, 512))
		}
		p.take(1)
	})
	c := connect(t, addr)
	if got := c.Export().Flags; got != HasFlags|SendFlush|SendFUA {
		t.Errorf("flags %#x", got)
	}
	errs := make(chan error, n)
	for i := range n {
		go func() {
			b, err := c.Do(t.Context(), CmdRead, 0, uint64(i)*512, 512, nil)
			if err == nil && !bytes.Equal(b, bytes.Repeat([]byte{byte(i)}, 512)) {
				err = errors.New("another request's data")
			}
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestErrnoAndPayload(t *testing.T) {
	addr := scripted(t, func(p *peer) {
		p.negotiate(4096)
		w, _ := p.request()
		if w.Flags != FlagFUA || string(w.payload) != "abcd" {
			p.t.Errorf("write arrived as %+v", w)
		}
		p.reply(w.Cookie, ENOSPC, nil)
		r, _ := p.request()
		p.reply(r.Cookie, EIO, nil) // no payload follows an error
		f, _ := p.request()
		p.reply(f.Cookie, 0, nil)
		p.take(1)
	})
	c := connect(t, addr)
	if _, err := c.WriteFUA([]byte("abcd"), 8); !errors.Is(err, ENOSPC) {
		t.Errorf("write: got %v, want ENOSPC", err)
	}
	if _, err := c.ReadAt(make([]byte, 512), 0); !errors.Is(err, EIO) {
		t.Errorf("read: got %v, want EIO", err)
	}
	if err := c.Flush(); err != nil {
		t.Errorf("flush after a failed read: %v", err)
	}
}

// A caller that gave up must not shift the stream: the late payload belongs
// to its own request and to no other.
func TestLateReplyAfterDeadline(t *testing.T) {
	release := make(chan struct{})
	addr := scripted(t, func(p *peer) {
		p.negotiate(1 << 20)
		late, _ := p.request()
		<-release
		p.reply(late.Cookie, 0, make([]byte, 512))
		r, _ := p.request()
		p.reply(r.Cookie, 0, bytes.Repeat([]byte{7}, 512))
		p.take(1)
	})
	c := connect(t, addr)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Do(ctx, CmdRead, 0, 0, 512, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want the deadline", err)
	}
	if n := c.InFlight(); n != 1 {
		t.Errorf("in flight %d, want 1: the request was not withdrawn", n)
	}
	close(release)
	b, err := c.Do(t.Context(), CmdRead, 0, 512, 512, nil)
	if err != nil || b[0] != 7 {
		t.Errorf("got %v, %v", b[:1], err)
	}
}

func TestConnectionLoss(t *testing.T) {
	tests := map[string]func(*peer, seen){
		"closed":         func(*peer, seen) {},
		"wrong magic":    func(p *peer, r seen) { p.put(uint32(MagicRequest), uint32(0), r.Cookie) },
		"unknown cookie": func(p *peer, r seen) { p.reply(r.Cookie+1, 0, nil) },
		"short payload":  func(p *peer, r seen) { p.reply(r.Cookie, 0, make([]byte, 100)) },
	}
	for name, then := range tests {
		t.Run(name, func(t *testing.T) {
			c := connect(t, scripted(t, func(p *peer) {
				p.negotiate(1 << 20)
				if r, ok := p.request(); ok {
					then(p, r)
				}
			}))
			if _, err := c.Do(t.Context(), CmdRead, 0, 0, 512, nil); !errors.Is(err, ErrClosed) {
				t.Errorf("got %v, want ErrClosed", err)
			}
			<-c.Done()
			if err := c.Flush(); !errors.Is(err, ErrClosed) {
				t.Errorf("afterwards: got %v, want ErrClosed", err)
			}
		})
	}
}

func TestDisconnectWaitsForServer(t *testing.T) {
	c := connect(t, scripted(t, func(p *peer) {
		p.negotiate(4096)
		if r, _ := p.request(); r.Cmd != CmdDisc {
			p.t.Errorf("got %v, want DISC", r.Cmd)
		}
	}))
	if err := c.Disconnect(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestNegotiationRefused(t *testing.T) {
	tests := map[string]struct {
		script func(*peer)
		want   string
	}{
		"oldstyle":       {func(p *peer) { p.put(uint64(MagicInit), uint64(0x420281861253), uint16(0)) }, "newstyle"},
		"not fixed":      {func(p *peer) { p.put(uint64(MagicInit), uint64(MagicOption), uint16(0)) }, "FIXED_NEWSTYLE"},
		"unknown export": {func(p *peer) { p.greet(); o, _ := p.option(); p.answer(o, RepErrUnknown, []byte("no x")) }, "no x"},
		"ack alone":      {func(p *peer) { p.greet(); o, _ := p.option(); p.answer(o, RepAck, nil) }, "NBD_INFO_EXPORT"},
		"other option":   {func(p *peer) { p.greet(); p.option(); p.answer(OptList, RepAck, nil) }, "reply to option"},
		"endless payload": {func(p *peer) {
			p.greet()
			p.option()
			p.put(uint64(MagicOptionReply), uint32(OptGo), uint32(RepInfo), ^uint32(0))
		}, "bytes"},
		"closed": {func(p *peer) { p.greet(); p.option() }, "EOF"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Connect(t.Context(), Config{Addr: scripted(t, tt.script), Export: "x", Timeout: 5 * time.Second})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestSilentServerMeetsTimeout(t *testing.T) {
	addr := scripted(t, func(p *peer) { p.take(1) })
	_, err := Connect(t.Context(), Config{Addr: addr, Timeout: 30 * time.Millisecond})
	if err == nil {
		t.Error("connected to a server that says nothing")
	}
}

func TestListAndExportName(t *testing.T) {
	addr := scripted(t, func(p *peer) {
		p.greet()
		o, _ := p.option()
		for _, name := range []string{"vm1/root", "vm1/scratch"} {
			p.answer(o, RepServer, append(binary.BigEndian.AppendUint32(nil, uint32(len(name))), name+"about"...))
		}
		p.answer(o, RepAck, nil)
		o, _ = p.option()
		p.answer(o, RepAck, nil)
	})
	list, err := List(t.Context(), addr)
	if err != nil || len(list) != 2 || list[1].Name != "vm1/scratch" || list[1].Description != "about" {
		t.Errorf("got %v, %v", list, err)
	}

	addr = scripted(t, func(p *peer) {
		p.greet()
		if o, name := p.option(); o != OptExportName || string(name) != "x" {
			p.t.Errorf("option %d %q", o, name)
		}
		p.put(uint64(12345), uint16(HasFlags))
		p.take(1)
	})
	c, err := Connect(t.Context(), Config{Addr: addr, Export: "x", UseExportName: true})
	if err != nil || c.Size() != 12345 {
		t.Fatalf("got %v, %v", c, err)
	}
	c.Close()
}
