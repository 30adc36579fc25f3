// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/gateway/control"
)

func readResponse(c io.Reader) (*http.Response, error) {
	return http.ReadResponse(bufio.NewReader(c), nil)
}

// pipeListener hands out one end of pipes; with it a server runs in a bubble.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: "pipe"} }

func (l *pipeListener) dial() net.Conn {
	a, b := net.Pipe()
	l.conns <- b
	return a
}

// TestSlowRequests: a client that does not finish its request is cut off, header or
// body, in the time that the options give.
func TestSlowRequests(t *testing.T) {
	for _, tt := range []struct {
		name, request string
		status        int // 0: closed without an answer
	}{
		{"header", "GET /v1/paths HTTP/1.1\r\nHost: x\r\n", 0},
		{"body", "POST /v1/paths/vmhba0:0:1/disable HTTP/1.1\r\nHost: x\r\nContent-Length: 15\r\n\r\n{\"for", 408},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				src, ln := newFake(), newPipeListener()
				stop := serveOn(t, ln, src, control.Options{ReadTimeout: 5 * time.Second})
				c := ln.dial()
				defer c.Close()
				start := time.Now()
				if _, err := io.WriteString(c, tt.request); err != nil {
					t.Fatal(err)
				}
				r := bufio.NewReader(c)
				if tt.status != 0 {
					if status, _, body := answer(t, c); status != tt.status || !strings.Contains(body, "timeout") {
						t.Errorf("got %d %s", status, body)
					}
				}
				_, _ = io.Copy(io.Discard, r) // to the end
				if took := time.Since(start); took < 5*time.Second || took > 6*time.Second {
					t.Errorf("cut off after %v, want 5 s", took)
				}
				if len(src.calls) != 0 {
					t.Errorf("half a request was carried out: %v", src.calls)
				}
				stop()
			})
		})
	}
}

// TestSlowReader: a client that does not read its answer is cut off.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := newPipeListener()
		stop := serveOn(t, ln, newFake(), control.Options{WriteTimeout: 10 * time.Second})
		c := ln.dial()
		defer c.Close()
		if _, err := io.WriteString(c, "GET /v1/paths HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(11 * time.Second)
		if n, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("after 11 s: read %d, %v; want the end", n, err)
		}
		stop()
	})
}

// follow opens an event stream by hand and reads past its header.
func follow(t *testing.T, ln *pipeListener) (net.Conn, *bufio.Reader) {
	t.Helper()
	c := ln.dial()
	if _, err := io.WriteString(c, "GET /v1/events?follow=true HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("header %v", resp.Header)
	}
	return c, bufio.NewReader(resp.Body)
}

// message reads one message of a stream, without its last newline.
func message(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	text := ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return fmt.Sprintf("%send: %v", text, err)
		}
		if line == "\n" {
			return text
		}
		text += line
	}
}

// TestHeartbeat: a stream without events shows that it lives, and lives longer than
// every timeout.
func TestHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, ln := newFake(), newPipeListener()
		stop := serveOn(t, ln, src, control.Options{
			Heartbeat: 15 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second,
		})
		c, r := follow(t, ln)
		defer c.Close()
		if got := message(t, r); got != ": pathgate events\n" {
			t.Errorf("first message %q", got)
		}
		start := time.Now()
		for i := range 4 {
			if got := message(t, r); got != ": alive\n" {
				t.Fatalf("heartbeat %d: %q", i, got)
			}
		}
		if took := time.Since(start); took != time.Minute {
			t.Errorf("four heartbeats took %v", took)
		}
		src.publish("cut")
		got := message(t, r)
		if !strings.Contains(got, "data: {\"seq\":1,") || !strings.Contains(got, `"attrs":{"z":"1","a":"2"}`) {
			t.Errorf("event %q", got)
		}
		stop()
	})
}

// TestSlowFollower: one that does not read is cut off; another gets its events.
func TestSlowFollower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, ln := newFake(), newPipeListener()
		stop := serveOn(t, ln, src, control.Options{WriteTimeout: 10 * time.Second})
		slow, _ := follow(t, ln)
		defer slow.Close()
		quick, r := follow(t, ln)
		defer quick.Close()
		message(t, r)
		start := time.Now()
		src.publish("cut")
		if got := message(t, r); !strings.Contains(got, "cut") || time.Since(start) != 0 {
			t.Errorf("after %v: %q", time.Since(start), got)
		}
		time.Sleep(11 * time.Second)
		_ = slow.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := io.Copy(io.Discard, slow); err != nil {
			t.Errorf("the slow one was not cut off: %v", err)
		}
		stop()
	})
}

// TestStopTellsFollowers: what has happened before the stop is sent, then the
// stream ends, and one that does not read holds the stop up no longer than Drain.
func TestStopTellsFollowers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src, ln := newFake(), newPipeListener()
		stop := serveOn(t, ln, src, control.Options{Drain: 2 * time.Second})
		c, r := follow(t, ln)
		defer c.Close()
		message(t, r)
		slow, _ := follow(t, ln)
		defer slow.Close()
		start := time.Now()
		for i := range 3 {
			src.publish(fmt.Sprint("number ", i))
		}
		stopped := make(chan struct{})
		go func() {
			stop()
			close(stopped)
		}()
		for i := range 3 {
			if got := message(t, r); !strings.Contains(got, fmt.Sprint("number ", i)) {
				t.Errorf("message %d: %q", i, got)
			}
		}
		if got := message(t, r); !strings.HasPrefix(got, "end: ") {
			t.Errorf("after the stop: %q", got)
		}
		<-stopped
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("the stop took %v", took)
		}
	})
}

// TestTooMany: followers and connections beyond the bounds are refused, and there is
// room again when one has gone.
func TestTooMany(t *testing.T) {
	src := newFake()
	addr, _ := serve(t, src, control.Options{MaxFollowers: 1, MaxConns: 3})
	c := dial(t, addr)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	src.publish("one")
	next := make(chan error, 1)
	go func() {
		for range c.Follow(ctx, control.EventQuery{}, control.FollowOptions{}) {
			next <- nil
		}
		close(next)
	}()
	<-next // it has its place
	status, _, body := ask(t, addr, "GET /v1/events?follow=1 HTTP/1.1\r\nHost: x\r\n\r\n")
	if status != 503 || !strings.Contains(body, "busy") {
		t.Errorf("a second follower: %d %s", status, body)
	}
	if _, err := c.Paths(ctx); err != nil { // the second of three connections
		t.Error(err)
	}
	third := dialAnswered(t, addr) // the one that was refused may take its time to go
	defer third.Close()
	other := dial(t, addr)
	if _, err := other.Paths(ctx); !errors.Is(err, control.ErrUnreachable) {
		t.Errorf("a connection too many: %v", err)
	}
	third.Close()
	cancel()
	for range next {
	}
	c.Close()
	dialAnswered(t, addr).Close() // there is room again
}

// dialAnswered connects until there is room for one more, and leaves the connection
// open: the server learns in its own time that others have gone.
func dialAnswered(t *testing.T, addr string) net.Conn {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := net.Dial("unix", strings.TrimPrefix(addr, "unix:"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.WriteString(c, "GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n")
		if err == nil {
			var resp *http.Response
			if resp, err = readResponse(c); err == nil && resp.StatusCode == 200 {
				return c
			}
		}
		c.Close()
		if time.Now().After(deadline) {
			t.Fatalf("no room: %v", err)
		}
	}
}
