// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// target is a server whose connections a test holds in its hand.
type target struct {
	addr  string
	conns chan *net.TCPConn
}

func newTarget(t *testing.T) *target {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &target{addr: ln.Addr().String(), conns: make(chan *net.TCPConn, 64)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.conns <- c.(*net.TCPConn)
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
		close(s.conns)
		for c := range s.conns {
			c.Close()
		}
	})
	return s
}

// rig is a proxy with one connection through it.
type rig struct {
	*Proxy
	t      *testing.T
	target *target
}

func newRig(t *testing.T, opts Options) *rig {
	t.Helper()
	tg := newTarget(t)
	opts.Target = tg.addr
	return &rig{Proxy: MustNew(t, opts), t: t, target: tg}
}

// dial opens a connection and returns its two ends.
func (r *rig) dial() (client, server *net.TCPConn) {
	r.t.Helper()
	c := r.dialOnly()
	select {
	case s := <-r.target.conns:
		s.SetDeadline(time.Now().Add(5 * time.Second))
		r.t.Cleanup(func() { s.Close() })
		return c, s
	case <-time.After(5 * time.Second):
		r.t.Fatal("the target got no connection")
		return nil, nil
	}
}

func (r *rig) dialOnly() *net.TCPConn {
	r.t.Helper()
	c, err := net.DialTimeout("tcp", r.Addr(), 5*time.Second)
	if err != nil {
		r.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(5 * time.Second))
	r.t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

func (r *rig) wait(what string, ok func(Counters) bool) {
	r.t.Helper()
	if err := r.Wait(ok, 5*time.Second); err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
}

func send(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, c net.Conn, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("got %.40x (%v), want %.40x", got, err, want)
	}
}

func expectEnd(t *testing.T, c net.Conn, want error) {
	t.Helper()
	n, err := c.Read(make([]byte, 1))
	if n != 0 || !errors.Is(err, want) {
		t.Errorf("got %d bytes, %v; want %v", n, err, want)
	}
}

// expectSilence shows that nothing comes: neither a byte nor an end.
func expectSilence(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	n, err := c.Read(make([]byte, 1))
	if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %d bytes, %v; want silence", n, err)
	}
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
}

func TestPassThroughAndHalfClose(t *testing.T) {
	r := newRig(t, Options{})
	c, s := r.dial()
	send(t, c, []byte("request"))
	expect(t, s, []byte("request"))
	c.CloseWrite()
	expectEnd(t, s, io.EOF)
	send(t, s, []byte("answer after FIN"))
	expect(t, c, []byte("answer after FIN"))
	s.Close()
	expectEnd(t, c, io.EOF)
	r.wait("closed", func(c Counters) bool { return c.Active == 0 })
	got := r.Counters()
	if got.Connections != 1 || got.ToTarget.Bytes != 7 || got.ToClient.Forwarded != 16 || len(got.Faults) != 0 {
		t.Errorf("counters %v", got)
	}
}

func TestResetPassesThrough(t *testing.T) {
	r := newRig(t, Options{})
	c, s := r.dial()
	s.SetLinger(0)
	s.Close()
	expectEnd(t, c, syscall.ECONNRESET)
}

func TestTargetUnreachable(t *testing.T) {
	r := &rig{Proxy: MustNew(t, Options{Target: "127.0.0.1:1"}), t: t} // nobody listens there
	if c, err := net.Dial("tcp", r.Addr()); err == nil {               // the reset may come as early as that
		defer c.Close()
		expectEnd(t, c, syscall.ECONNRESET)
	}
	r.wait("dial error", func(c Counters) bool { return c.DialErrors == 1 && c.Active == 0 })
}

func TestHoldIsReleasedAfterClientDied(t *testing.T) {
	for _, end := range []string{"FIN", "RST"} {
		t.Run(end, func(t *testing.T) {
			r := newRig(t, Options{})
			c, s := r.dial()
			send(t, c, []byte("before"))
			expect(t, s, []byte("before"))
			r.MustSet(Fault{Kind: Hold, Dir: ToTarget})
			send(t, c, []byte("ghost"))
			r.wait("held", func(c Counters) bool { return c.Fault(Hold).Bytes == 5 })
			send(t, s, []byte("x")) // the other direction is free
			expect(t, c, []byte("x"))
			if end == "RST" {
				c.SetLinger(0)
			}
			c.Close()
			expectSilence(t, s)
			r.Clear()
			expect(t, s, []byte("ghost"))
			expectEnd(t, s, io.EOF)
			if e := r.Counters().Fault(Hold); e.Released != 5 || e.Times != 1 {
				t.Errorf("effect %+v", e)
			}
		})
	}
}

func TestHoldLimitStopsReading(t *testing.T) {
	r := newRig(t, Options{HoldLimit: 1 << 20})
	c, s := r.dial()
	r.MustSet(Fault{Kind: Hold})
	data := bytes.Repeat([]byte("0123456789abcdef"), 2<<20) // 32 MiB: more than sockets and limit take
	var wg sync.WaitGroup
	wg.Go(func() { c.Write(data); c.CloseWrite() })
	r.wait("full", func(c Counters) bool { return c.Fault(Hold).Bytes > 1<<20 })
	r.Clear()
	got, err := io.ReadAll(s)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes, %v; want %d", len(got), err, len(data))
	}
	wg.Wait()
	if e := r.Counters().Fault(Hold); e.Bytes > 3<<20 || e.Bytes != e.Released {
		t.Errorf("effect %+v: the limit was 1 MiB", e)
	}
}

func TestBlackHoleKeepsConnectionsOpen(t *testing.T) {
	for _, dir := range []Direction{Both, ToTarget, ToClient} {
		t.Run(dir.String(), func(t *testing.T) {
			r := newRig(t, Options{})
			c, s := r.dial()
			r.MustSet(Fault{Kind: BlackHole, Dir: dir})
			send(t, c, []byte("up"))
			send(t, s, []byte("down"))
			want := int64(0)
			if dir != ToClient {
				want += 2
				expectSilence(t, s)
			} else {
				expect(t, s, []byte("up"))
			}
			if dir != ToTarget {
				want += 4
				expectSilence(t, c)
			} else {
				expect(t, c, []byte("down"))
			}
			r.wait("swallowed", func(c Counters) bool { return c.Fault(BlackHole).Bytes == want })
			if r.Counters().Active != 1 {
				t.Errorf("connection is gone: %v", r.Counters())
			}
			r.Clear() // bytes are lost for good, so the connection cannot live on
			expectEnd(t, c, syscall.ECONNRESET)
			expectEnd(t, s, syscall.ECONNRESET)
		})
	}
}

func TestBlackHoleSwallowsTheEnd(t *testing.T) {
	r := newRig(t, Options{})
	c, s := r.dial()
	r.MustSet(Fault{Kind: BlackHole})
	c.SetLinger(0)
	c.Close()
	expectSilence(t, s)
	c2 := r.dialOnly() // accepted, and never answered
	send(t, c2, []byte("hello"))
	expectSilence(t, c2)
	if len(r.target.conns) != 0 {
		t.Error("a connection passed the black hole")
	}
	r.Clear()
	expectEnd(t, c2, syscall.ECONNRESET)
	c3, s3 := r.dial()
	send(t, c3, []byte("again"))
	expect(t, s3, []byte("again"))
}

func TestBlackHoleClearedUntouchedLivesOn(t *testing.T) {
	r := newRig(t, Options{})
	c, s := r.dial()
	r.MustSet(Fault{Kind: BlackHole})
	r.Clear(BlackHole)
	send(t, c, []byte("nothing was lost"))
	expect(t, s, []byte("nothing was lost"))
}

func TestRefuseAndHang(t *testing.T) {
	r := newRig(t, Options{})
	c, s := r.dial()
	for _, k := range []Kind{Refuse, Hang, Refuse} {
		r.MustSet(Fault{Kind: k})
		conn, err := net.DialTimeout("tcp", r.Addr(), 100*time.Millisecond)
		if err == nil {
			conn.Close()
			t.Fatalf("%v: connected", k)
		}
		if refused := errors.Is(err, syscall.ECONNREFUSED); refused != (k == Refuse) {
			t.Errorf("%v: %v", k, err)
		}
		send(t, c, []byte("old one lives")) // established connections do not notice
		expect(t, s, []byte("old one lives"))
		r.Clear()
		c2, s2 := r.dial()
		send(t, c2, []byte("new"))
		expect(t, s2, []byte("new"))
	}
	got := r.Counters()
	if got.Fault(Refuse).Times != 2 || got.Fault(Hang).Times != 1 || got.Connections != 4 {
		t.Errorf("counters %v", got)
	}
}

func TestResetDropHalfClose(t *testing.T) {
	r := newRig(t, Options{})
	c, s := r.dial()
	if n := r.ResetConns(); n != 1 {
		t.Errorf("reset %d connections, want 1", n)
	}
	expectEnd(t, c, syscall.ECONNRESET)
	expectEnd(t, s, syscall.ECONNRESET)

	c, s = r.dial()
	r.MustSet(Fault{Kind: HalfClose, Dir: ToClient})
	expectEnd(t, c, io.EOF)
	send(t, c, []byte("the other way is open"))
	expect(t, s, []byte("the other way is open"))
	send(t, s, []byte("into nothing"))
	r.MustSet(Fault{Kind: Drop, Conn: r.Newest()})
	expectEnd(t, s, io.EOF)
	if got := r.Counters(); got.Fault(Reset).Times != 1 || got.Fault(HalfClose).Times != 1 || got.Fault(Drop).Times != 1 {
		t.Errorf("counters %v", got)
	}
}

// TestResetWhileConnecting: a connection that is reset before the target is
// reached ends with RST there too.
func TestResetWhileConnecting(t *testing.T) {
	r := newRig(t, Options{})
	client, err := net.Dial("tcp", r.target.addr)
	if err != nil {
		t.Fatal(err)
	}
	c := newConn(r.Proxy, 1, client.(*net.TCPConn))
	c.abort()
	c.serve()
	for range 2 { // the client's peer, and the target
		s := <-r.target.conns
		s.SetDeadline(time.Now().Add(5 * time.Second))
		expectEnd(t, s, syscall.ECONNRESET)
		s.Close()
	}
}

func TestAfterBytes(t *testing.T) {
	tests := map[Kind]error{Reset: syscall.ECONNRESET, Drop: io.EOF, HalfClose: io.EOF}
	for k, want := range tests {
		t.Run(k.String(), func(t *testing.T) {
			r := newRig(t, Options{})
			r.MustSet(Fault{Kind: k, Dir: ToTarget, At: &Trigger{Bytes: 5}})
			for range 2 { // on each connection
				c, s := r.dial()
				send(t, c, []byte("123"))
				expect(t, s, []byte("123"))
				send(t, c, []byte("456"))
				if k != Reset { // RST may overtake what the target has not read
					expect(t, s, []byte("45"))
				} else {
					io.ReadFull(s, make([]byte, 2))
				}
				expectEnd(t, s, want)
			}
			if e := r.Counters().Fault(k); e.Times != 2 {
				t.Errorf("effect %+v", e)
			}
		})
	}
}

func TestDelayKeepsOrder(t *testing.T) {
	r := newRig(t, Options{})
	c, s := r.dial()
	r.MustSet(Fault{Kind: Delay, Dir: ToTarget, Delay: 40 * time.Millisecond, Jitter: 10 * time.Millisecond})
	start := time.Now()
	for i := range byte(20) {
		send(t, c, []byte{i})
	}
	for i := range byte(20) {
		expect(t, s, []byte{i})
	}
	if d := time.Since(start); d < 30*time.Millisecond {
		t.Errorf("arrived after %v", d)
	}
	if e := r.Counters().Fault(Delay); e.Times == 0 || e.Bytes != 20 {
		t.Errorf("effect %+v", e)
	}
}

func TestRateIsShared(t *testing.T) {
	r := newRig(t, Options{})
	r.MustSet(Fault{Kind: Rate, Dir: ToTarget, BytesPerSecond: 1 << 20})
	start := time.Now()
	var wg sync.WaitGroup
	for range 2 {
		c, s := r.dial()
		wg.Go(func() { c.Write(make([]byte, 64<<10)) })
		wg.Go(func() {
			if _, err := io.ReadFull(s, make([]byte, 64<<10)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if d := time.Since(start); d < 120*time.Millisecond { // 128 KiB at 1 MiB/s
		t.Errorf("128 KiB took %v", d)
	}
}

func TestCorruptRawIsSeeded(t *testing.T) {
	once := func() []byte {
		r := newRig(t, Options{Seed: 42})
		r.MustSet(Fault{Kind: Corrupt, MeanBytes: 1000, Dir: ToTarget})
		c, s := r.dial()
		got := make([]byte, 64<<10)
		var wg sync.WaitGroup
		wg.Go(func() { c.Write(make([]byte, len(got))) })
		if _, err := io.ReadFull(s, got); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		flipped := len(got) - bytes.Count(got, []byte{0})
		if e := r.Counters().Fault(Corrupt); flipped < 30 || flipped > 130 || e.Times < int64(flipped) {
			t.Errorf("%d bytes changed, effect %+v", flipped, e)
		}
		return got
	}
	if !bytes.Equal(once(), once()) {
		t.Error("the same seed flipped other bits")
	}
}

func TestSetRejectsNonsense(t *testing.T) {
	r := newRig(t, Options{})
	for _, f := range []Fault{
		{Kind: kinds},
		{Kind: Rate},
		{Kind: Corrupt},
		{Kind: Delay, At: &Trigger{Bytes: 1}},
		{Kind: Hold, At: &Trigger{Opcodes: []Opcode{DataOut}}},
		{Kind: Corrupt, At: &Trigger{Bytes: 1}},
	} {
		if err := r.Set(f); err == nil {
			t.Errorf("%+v was taken", f)
		}
	}
	if err := r.Wait(func(Counters) bool { return false }, time.Millisecond); err == nil || !strings.Contains(err.Error(), "connections") {
		t.Errorf("Wait: %v, want the counters", err)
	}
}

func BenchmarkPassThrough(b *testing.B) {
	for name, proto := range map[string]Protocol{"raw": Raw, "iscsi": ISCSI} {
		b.Run(name, func(b *testing.B) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer ln.Close()
			p, err := New(b.Context(), Options{Target: ln.Addr().String(), Protocol: proto})
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			c, err := net.Dial("tcp", p.Addr())
			if err != nil {
				b.Fatal(err)
			}
			s, err := ln.Accept()
			if err != nil {
				b.Fatal(err)
			}
			pdu := makePDU(DataOut, make([]byte, 256<<10), digests{})
			b.SetBytes(int64(len(pdu)))
			done := make(chan struct{})
			go func() {
				defer close(done)
				for buf := make([]byte, 256<<10); err == nil; {
					_, err = s.Read(buf)
				}
			}()
			for b.Loop() {
				c.Write(pdu)
			}
			c.Close()
			<-done
		})
	}
}
