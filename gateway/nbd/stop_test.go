// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	nc "pathgate/integration/nbdclient"
)

// A client that never reads is no longer read from, holds a bounded amount of
// memory, and disturbs nobody.
func TestB66ClientThatNeverReads(t *testing.T) {
	const bound = 256 << 10
	d := newTestDevice(t, diskSize)
	b := offer(t, d, func(c *Config) { c.MaxPending = bound })
	r := b.entered(t)
	var msg []byte
	for range 2000 {
		msg = nc.Request{Cmd: nc.CmdRead, Length: 65536}.Append(msg)
	}
	r.Send(msg)
	pending := func() int64 {
		var n int64
		for _, c := range b.Connections() {
			n += c.Pending
		}
		return n
	}
	eventually(t, "replies wait", func() bool { return pending() > bound })
	c := b.client(t)
	for range 200 {
		if _, err := c.ReadAt(make([]byte, 4096), 0); err != nil {
			t.Fatal(err)
		}
	}
	if n := pending(); n > 2*bound {
		t.Errorf("%d bytes wait, want about %d", n, bound)
	}
	if n := len(d.requests()); n > 300 {
		t.Errorf("%d requests were taken from a client that does not read", n)
	}
	got := make([]byte, 2000*(65536+16)) // now it reads, and all is there
	if _, err := io.ReadFull(r.Conn, got); err != nil {
		t.Error(err)
	}
}

func TestConnectionCaps(t *testing.T) {
	s := newSource().add("x", memory(t, diskSize))
	b := serve(t, Config{Exports: s, MaxConnections: 3, MaxPerListener: 2})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Serve(ctx, ln) }()
	other := &bed{Server: b.Server, addr: ln.Addr().String()}
	one, two := b.client(t), b.client(t)
	closed(t, b.raw(t)) // the third of this listener
	three := other.client(t)
	closed(t, other.raw(t)) // the fourth of all
	one.Close()
	eventually(t, "room", func() bool { return len(b.Connections()) == 2 })
	b.client(t)
	_, _ = two, three
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// B67: what comes from one address is bounded; a socket in the file system has none.
func TestB67PerAddress(t *testing.T) {
	b := serve(t, Config{Exports: newSource().add("x", memory(t, diskSize)), MaxPerAddress: 1})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Serve(ctx, ln) }()
	tcp := &bed{Server: b.Server, addr: ln.Addr().String()}
	one := tcp.client(t)
	closed(t, tcp.raw(t))
	b.client(t)
	b.client(t)
	one.Close()
	eventually(t, "room", func() bool { return len(b.Connections()) == 2 })
	tcp.client(t)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// B54, at every point of a connection's life.
func TestB54Stop(t *testing.T) {
	for _, withdraw := range []bool{false, true} {
		d := newTestDevice(t, diskSize)
		s := newSource().add("x", d).add("y", memory(t, 1<<20))
		waiting := make(chan struct{}, 1)
		s.open = func(ctx context.Context, name string, _ Mode) error {
			if name != "late" {
				return nil
			}
			waiting <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}
		b := serve(t, Config{Exports: s, StopGrace: 300 * time.Millisecond, DrainTimeout: 5 * time.Second})
		idle, busy, half := b.entered(t), b.entered(t), b.entered(t)
		greeted := b.greeted(t)
		late := b.greeted(t)
		late.SendOption(nc.OptGo, goData(4, "late", 0))
		<-waiting
		d.hold()
		busy.Send(nc.Request{Cmd: nc.CmdFlush, Cookie: 1}.Append(nil))
		half.Send(nc.Request{Cmd: nc.CmdWrite, Cookie: 3, Length: 4096}.Append(nil)) // its payload never comes
		eventually(t, "in flight", func() bool { return d.heldCount() == 1 })

		over := make(chan struct{})
		if withdraw {
			go func() { b.Withdraw(t.Context(), "x"); close(over) }()
		} else {
			b.stop()
			go func() {
				for err := range b.ended {
					if err != nil {
						t.Error(err)
					}
				}
				close(over)
			}()
		}
		eventually(t, "stopping", func() bool { return b.isStopping() })
		// A request that still comes is told ESHUTDOWN; its payload is consumed.
		busy.Send(append(nc.Request{Cmd: nc.CmdWrite, Cookie: 2, Length: 512}.Append(nil), make([]byte, 512)...))
		if cookie, e, err := busy.ReadSimpleReply(); cookie != 2 || e != nc.ESHUTDOWN || err != nil {
			t.Errorf("new request: %d, %v, %v, want ESHUTDOWN", cookie, e, err)
		}
		if !withdraw {
			_, err := greeted.Ask(nc.OptInfo, goData(1, "x", 0))
			var oe *nc.OptionError
			if !errors.As(err, &oe) || oe.Type != nc.RepErrShutdown {
				t.Errorf("option after the stop: %v, want ERR_SHUTDOWN", err)
			}
			rep, err := late.ReadOptionReply()
			if err != nil || rep.Type != nc.RepErrShutdown {
				t.Errorf("open that waited: %+v, %v, want ERR_SHUTDOWN", rep, err)
			}
			closed(t, greeted)
		}
		closed(t, idle)
		closed(t, half)
		select {
		case <-over:
			t.Error("ended before the outstanding request")
		default:
		}
		d.release()
		if cookie, e, err := busy.ReadSimpleReply(); cookie != 1 || e != 0 || err != nil {
			t.Errorf("outstanding request: %d, %v, %v", cookie, e, err)
		}
		closed(t, busy)
		<-over
		if withdraw {
			if list, err := greeted.List(); err != nil || len(list) != 2 { // others live on
				t.Errorf("list: %v, %v", list, err)
			}
			late.Close()
		}
		eventually(t, "handles closed", func() bool { return s.inUse() == 0 })
	}
}

// isStopping tells whether all connections of x are.
func (b *bed) isStopping() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.conns {
		if c.export == "x" && !c.stopping.Load() {
			return false
		}
	}
	return true
}

func TestB54DrainTimeoutAborts(t *testing.T) {
	d := newTestDevice(t, 1<<30)
	d.info.MaxUnmap = 1 << 20
	s := newSource().add("x", d)
	b := serve(t, Config{Exports: s, DrainTimeout: 20 * time.Millisecond})
	r := b.entered(t)
	d.hold()
	msg := nc.Request{Cmd: nc.CmdRead, Cookie: 1, Length: 4096}.Append(nil)
	msg = nc.Request{Cmd: nc.CmdTrim, Cookie: 2, Length: 100 << 20}.Append(msg) // in pieces
	r.Send(msg)
	eventually(t, "in flight", func() bool { return d.heldCount() == 1+splitWindow })
	b.stop()
	if err := <-b.ended; err != nil {
		t.Error(err)
	}
	if d.aborts != 1+splitWindow || d.heldCount() != 0 || s.inUse() != 0 {
		t.Errorf("%d aborts, %d held, %d handles", d.aborts, d.heldCount(), s.inUse())
	}
	if n := len(d.requests()); n != 1+splitWindow {
		t.Errorf("%d requests, want no piece after the abort", n)
	}
}

// A client that is lost leaves its requests to run to their end.
func TestLostClient(t *testing.T) {
	d := newTestDevice(t, diskSize)
	s := newSource().add("x", d)
	b := serve(t, Config{Exports: s})
	r := b.entered(t)
	d.hold()
	msg := append(nc.Request{Cmd: nc.CmdWrite, Length: 4096}.Append(nil), make([]byte, 4096)...)
	msg = nc.Request{Cmd: nc.CmdRead, Length: 1 << 20}.Append(msg)
	msg = nc.Request{Cmd: nc.CmdWrite, Length: 1 << 20}.Append(msg) // without its payload
	r.Send(msg)
	eventually(t, "in flight", func() bool { return d.heldCount() == 2 })
	r.Close()
	if s.inUse() != 1 {
		t.Error("the handle was closed with requests outstanding")
	}
	d.release()
	eventually(t, "handle closed", func() bool { return s.inUse() == 0 })
}
