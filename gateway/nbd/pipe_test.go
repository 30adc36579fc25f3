// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
	nc "pathgate/integration/nbdclient"
)

// pipes is a listener of connections without a descriptor, as TLS gives them.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func (p *pipes) dial() *peer {
	near, far := net.Pipe()
	p.conns <- near
	return &peer{&nc.Raw{Conn: far}}
}

// bubble runs a server on pipes in a synctest bubble, where timers are exact.
func bubble(t *testing.T, cfg Config, f func(t *testing.T, srv *Server, p *pipes, stop func())) {
	synctest.Test(t, func(t *testing.T) {
		srv, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		p := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- srv.Serve(ctx, p) }()
		f(t, srv, p, cancel)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func enterPipe(t *testing.T, p *pipes) *peer {
	t.Helper()
	r := p.dial()
	if _, err := r.Greet(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Info(nc.OptGo, "x"); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPipeReadsAndWrites(t *testing.T) {
	bubble(t, Config{Exports: newSource().add("x", memory(t, diskSize))}, func(t *testing.T, _ *Server, p *pipes, _ func()) {
		r := enterPipe(t, p)
		data := bytes.Repeat([]byte("pathgate"), 100_000/8*8/8)
		data = data[:len(data)/512*512]
		r.Send(append(nc.Request{Cmd: nc.CmdWrite, Cookie: 1, Length: uint32(len(data))}.Append(nil), data...))
		if _, e, err := r.ReadSimpleReply(); e != 0 || err != nil {
			t.Fatal(e, err)
		}
		r.Send(nc.Request{Cmd: nc.CmdRead, Cookie: 2, Length: uint32(len(data))}.Append(nil))
		if _, e, err := r.ReadSimpleReply(); e != 0 || err != nil {
			t.Fatal(e, err)
		}
		if got, err := r.Read(len(data)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("differs: %v", err)
		}
		r.Send(nc.Request{Cmd: nc.CmdDisc}.Append(nil))
		if _, err := r.Read(1); err == nil {
			t.Error("not closed after DISC")
		}
	})
}

// The timers, exactly: handshake, stop grace, drain, and lingering.
func TestTimers(t *testing.T) {
	t.Run("handshake", func(t *testing.T) {
		bubble(t, Config{Exports: newSource()}, func(t *testing.T, _ *Server, p *pipes, _ func()) {
			r := p.dial()
			begun := time.Now()
			r.greet()
			time.Sleep(9 * time.Second)
			if _, err := r.List(); err != nil {
				t.Error(err)
			}
			r.ended()
			if got := time.Since(begun); got != DefaultHandshakeTimeout {
				t.Errorf("closed after %v, want %v", got, DefaultHandshakeTimeout)
			}
		})
	})
	t.Run("open that waits", func(t *testing.T) {
		s := newSource().add("x", memory(t, diskSize))
		s.open = func(ctx context.Context, _ string, _ Mode) error {
			time.Sleep(time.Hour)
			return nil
		}
		bubble(t, Config{Exports: s}, func(t *testing.T, _ *Server, p *pipes, _ func()) {
			r := p.dial()
			r.greet()
			time.Sleep(4 * time.Second)
			if _, err := r.Info(nc.OptInfo, "x"); err != nil {
				t.Error(err)
			}
			begun := time.Now() // 6 s of the handshake are left
			r.ended()
			if got := time.Since(begun); got != 6*time.Second {
				t.Errorf("closed after %v, want 6 s", got)
			}
		})
	})
	t.Run("stop of an idle client", func(t *testing.T) {
		bubble(t, Config{Exports: newSource().add("x", memory(t, diskSize))}, func(t *testing.T, _ *Server, p *pipes, stop func()) {
			r := enterPipe(t, p)
			begun := time.Now()
			stop()
			r.ended()
			if got := time.Since(begun); got != DefaultStopGrace {
				t.Errorf("closed after %v, want %v", got, DefaultStopGrace)
			}
		})
	})
	t.Run("drain", func(t *testing.T) {
		d := newTestDevice(t, diskSize)
		bubble(t, Config{Exports: newSource().add("x", d)}, func(t *testing.T, _ *Server, p *pipes, stop func()) {
			r := enterPipe(t, p)
			d.hold()
			r.Send(nc.Request{Cmd: nc.CmdFlush}.Append(nil))
			synctest.Wait()
			begun := time.Now()
			stop()
			r.ended()
			synctest.Wait()
			if got := time.Since(begun); got != DefaultDrainTimeout || d.heldCount() != 0 {
				t.Errorf("closed after %v with %d held, want %v", got, d.heldCount(), DefaultDrainTimeout)
			}
		})
	})
	t.Run("withdraw with a deadline", func(t *testing.T) {
		d := newTestDevice(t, diskSize)
		bubble(t, Config{Exports: newSource().add("x", d)}, func(t *testing.T, srv *Server, p *pipes, _ func()) {
			r := enterPipe(t, p)
			d.hold()
			r.Send(nc.Request{Cmd: nc.CmdFlush}.Append(nil))
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			begun := time.Now()
			srv.Withdraw(ctx, "x")
			if got := time.Since(begun); got != 3*time.Second || len(srv.Connections()) != 0 {
				t.Errorf("ended after %v, want 3 s", got)
			}
		})
	})
	t.Run("DISC by a client that reads no reply", func(t *testing.T) {
		bubble(t, Config{Exports: newSource().add("x", memory(t, diskSize))}, func(t *testing.T, srv *Server, p *pipes, _ func()) {
			r := enterPipe(t, p)
			r.Send(nc.Request{Cmd: nc.CmdDisc}.Append(nc.Request{Cmd: nc.CmdRead, Length: 1 << 20}.Append(nil)))
			begun := time.Now()
			for len(srv.Connections()) > 0 {
				time.Sleep(100 * time.Millisecond)
			}
			if got := time.Since(begun); got < linger || got > linger+100*time.Millisecond {
				t.Errorf("closed after %v, want %v", got, linger)
			}
		})
	})
}

// A connection waits for credits that another holds, without stopping others,
// and a stop ends the wait with ESHUTDOWN.
func TestCreditsAreWaitedFor(t *testing.T) {
	d := newTestDevice(t, diskSize)
	pool := backends.NewPool(2, 8192)
	shared := &pooled{testDevice: d, pool: pool}
	bubble(t, Config{Exports: newSource().add("x", shared)}, func(t *testing.T, srv *Server, p *pipes, stop func()) {
		d.hold()
		one, two := enterPipe(t, p), enterPipe(t, p)
		read := nc.Request{Cmd: nc.CmdRead, Cookie: 1, Length: 4096}
		one.Send(read.Append(read.Append(nil)))
		synctest.Wait()
		two.Send(read.Append(nil)) // nothing outstanding: it always gets one
		synctest.Wait()
		if n := d.heldCount(); n != 3 {
			t.Fatalf("%d held, want 3", n)
		}
		go two.Send(read.Append(nil)) // this one has to wait
		synctest.Wait()
		if n := d.heldCount(); n != 3 {
			t.Errorf("%d held, want 3", n)
		}
		stop()
		if _, e, err := two.ReadSimpleReply(); e != nc.ESHUTDOWN || err != nil {
			t.Errorf("got %v, %v, want ESHUTDOWN", e, err)
		}
		go d.release()
		for range 2 {
			if _, e, err := one.ReadSimpleReply(); e != 0 || err != nil {
				t.Error(e, err)
			}
			one.skip(4096)
		}
		if _, e, err := two.ReadSimpleReply(); e != 0 || err != nil {
			t.Error(e, err)
		}
		two.skip(4096)
		if _, err := two.Read(1); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the end", err)
		}
	})
	if cmds, bytes := pool.Free(); cmds != 2 || bytes != 8192 {
		t.Errorf("free: %d, %d, want all", cmds, bytes)
	}
}

// pooled is a device whose connections share credits.
type pooled struct {
	*testDevice
	pool *backends.Pool
}

func (p *pooled) Grant(*backends.Origin) *backends.Grant { return backends.NewGrant(8, p.pool) }
