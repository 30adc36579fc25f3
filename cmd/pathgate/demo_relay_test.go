// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// echo is a server that says greeting to each connection, and then what it is told.
func echo(t *testing.T, greeting string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.WriteString(c, greeting)
				_, _ = io.Copy(c, c)
				_ = c.(*net.TCPConn).CloseWrite()
			}()
		}
	}()
	return l.Addr().String()
}

// TestRelayCut: connections of a cut relay are reset and new ones refused, and after
// its return it leads on, also to another place.
func TestRelayCut(t *testing.T) {
	r, err := newRelay("127.0.0.1:0", echo(t, "first"), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	greeted := func(want string) net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", r.addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
			t.Fatalf("%q, %v; want %q", got, err, want)
		}
		return c
	}
	c := greeted("first")
	r.cut()
	if _, err := io.ReadAll(c); err == nil {
		t.Error("a connection ended as if its peer had closed it, want a reset")
	}
	if c, err := net.Dial("tcp", r.addr()); err == nil {
		t.Error("a cut relay takes connections", c.Close())
	}
	r.lead(echo(t, "second"))
	if err := r.restore(); err != nil {
		t.Fatal(err)
	}
	greeted("second")
	r.close()
	if err := r.restore(); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", r.addr()); err == nil {
		t.Error("a closed relay was restored", c.Close())
	}
}

// TestRelayRate: what goes out over one connection and comes back over it takes the
// time that the rate allows for both ways together, and arrives whole.
func TestRelayRate(t *testing.T) {
	const perSecond, size = 1 << 20, 256 << 10
	r, err := newRelay("127.0.0.1:0", echo(t, ""), perSecond)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	c, err := net.Dial("tcp", r.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sent := bytes.Repeat([]byte("pathgate"), size/8)
	begin := time.Now()
	written := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		_ = c.(*net.TCPConn).CloseWrite()
		written <- err
	}()
	got, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	if least := 2*size*time.Second/perSecond - rateSlack; took < least {
		t.Errorf("%d bytes there and back took %v, want at least %v", size, took, least)
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back, other than the %d sent", len(got), len(sent))
	}
}
