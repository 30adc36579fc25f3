// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pathgate/gateway/control"
)

func TestEvents(t *testing.T) {
	src := newFake()
	addr, _ := serve(t, src, control.Options{})
	c := dial(t, addr)
	for i := range 5 {
		src.publish(fmt.Sprint("number ", i+1))
	}
	two, none, many := uint64(2), uint64(0), uint64(50)
	for _, tt := range []struct {
		q           control.EventQuery
		first, last uint64 // 0, 0: none
	}{
		{control.EventQuery{}, 1, 5},
		{control.EventQuery{From: 3}, 3, 5},
		{control.EventQuery{From: 5}, 5, 5},
		{control.EventQuery{From: 6}, 0, 0},
		{control.EventQuery{From: 1 << 63}, 0, 0},
		{control.EventQuery{Newest: &two}, 4, 5},
		{control.EventQuery{Newest: &none}, 0, 0},
		{control.EventQuery{Newest: &many}, 1, 5},
	} {
		list, err := c.Events(t.Context(), tt.q)
		if err != nil {
			t.Fatal(err)
		}
		var first, last uint64
		if len(list) > 0 {
			first, last = list[0].Seq, list[len(list)-1].Seq
		}
		if first != tt.first || last != tt.last || len(list) > 0 && uint64(len(list)) != last-first+1 {
			t.Errorf("%+v: events %d to %d, want %d to %d", tt.q, first, last, tt.first, tt.last)
		}
	}
}

// log collects what a follower is told.
type log struct {
	mu    sync.Mutex
	lines []string
	grew  chan struct{}
}

func (l *log) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, fmt.Sprintf(format, args...))
	select {
	case l.grew <- struct{}{}:
	default:
	}
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "; ")
}

// wait returns when the log is want, or fails when it is something else that want
// does not begin with.
func (l *log) wait(t *testing.T, want string) {
	t.Helper()
	for l.String() != want {
		if !strings.HasPrefix(want, l.String()) {
			t.Fatalf("log %q, want %q", l, want)
		}
		select {
		case <-l.grew:
		case <-t.Context().Done():
			t.Fatal("the test was ended")
		}
	}
}

func startFollow(t *testing.T, addr string, q control.EventQuery) (l *log, stop func()) {
	t.Helper()
	c := dial(t, addr)
	l = &log{grew: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		o := control.FollowOptions{
			Lost:     func(error) { l.add("lost") },
			Restored: func(restarted bool) { l.add("restored %v", restarted) },
		}
		for e, err := range c.Follow(ctx, q, o) {
			if err != nil {
				l.add("error %v", err)
				return
			}
			l.add("%d %s", e.Seq, e.Message)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return l, stop
}

// breaker passes connections to a socket on and can break all of them.
type breaker struct {
	ln    net.Listener
	mu    sync.Mutex
	conns []net.Conn
	ids   chan struct{} // has one when an id of a stream was passed on
}

// Write sees what was passed on to a client.
func (b *breaker) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("\nid: ")) {
		select {
		case b.ids <- struct{}{}:
		default:
		}
	}
	return len(p), nil
}

func newBreaker(t *testing.T, to string) (b *breaker, addr string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "b.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	b = &breaker{ln: ln, ids: make(chan struct{}, 1)}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("unix", to)
			if err != nil {
				in.Close()
				continue
			}
			b.mu.Lock()
			b.conns = append(b.conns, in, out)
			b.mu.Unlock()
			wg.Go(func() { _, _ = io.Copy(io.MultiWriter(in, b), out); in.Close() })
			wg.Go(func() { _, _ = io.Copy(out, in); out.Close() })
		}
	})
	t.Cleanup(func() { ln.Close(); b.cut(); wg.Wait() })
	return b, "unix:" + path
}

func (b *breaker) cut() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.conns {
		c.Close()
	}
	n, b.conns = len(b.conns), nil
	return n
}

// TestFollowDropped: a stream whose connection breaks goes on behind the last event.
func TestFollowDropped(t *testing.T) {
	src := newFake()
	addr, _ := serve(t, src, control.Options{})
	b, through := newBreaker(t, strings.TrimPrefix(addr, "unix:"))
	src.publish("a")
	src.publish("b")
	l, stop := startFollow(t, through, control.EventQuery{From: 2})
	l.wait(t, "2 b")
	if n := b.cut(); n != 2 {
		t.Fatalf("%d ends of connections were cut, want 2", n)
	}
	src.publish("c") // seen by nobody when it comes
	l.wait(t, "2 b; lost; restored false; 3 c")
	src.publish("d")
	l.wait(t, "2 b; lost; restored false; 3 c; 4 d")
	stop()
}

// TestFollowOnlyNew: one that wanted only new events and was cut off before the
// first gets no old ones, and none is left out.
func TestFollowOnlyNew(t *testing.T) {
	src := newFake()
	addr, _ := serve(t, src, control.Options{})
	b, through := newBreaker(t, strings.TrimPrefix(addr, "unix:"))
	src.publish("old")
	none := uint64(0)
	l, _ := startFollow(t, through, control.EventQuery{Newest: &none})
	<-b.ids
	b.cut()
	src.publish("new")
	l.wait(t, "lost; restored false; 2 new")
}

// TestFollowRestart: after a restart of the gateway the events of the new run come
// from the first one on, although their numbers are lower.
func TestFollowRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.sock")
	before := newFake()
	stopServer := serveAt(t, path, before, control.Options{})
	for range 3 {
		before.publish("before")
	}
	l, _ := startFollow(t, "unix:"+path, control.EventQuery{From: 3})
	l.wait(t, "3 before")
	stopServer()
	l.wait(t, "3 before; lost")
	after := newFake()
	after.publish("after")
	serveAt(t, path, after, control.Options{})
	l.wait(t, "3 before; lost; restored true; 1 after")
}

// TestFollowErrors: a gateway that is not there at first, and a refusal, are errors.
func TestFollowErrors(t *testing.T) {
	c := dial(t, "unix:"+filepath.Join(t.TempDir(), "none.sock"))
	n := 0
	for _, err := range c.Follow(t.Context(), control.EventQuery{}, control.FollowOptions{}) {
		if n++; !errors.Is(err, control.ErrUnreachable) {
			t.Errorf("got %v, want ErrUnreachable", err)
		}
	}
	if n != 1 {
		t.Errorf("%d errors, want 1", n)
	}
	src := newFake()
	src.publish("a")
	addr, _ := serve(t, src, control.Options{})
	for range dial(t, addr).Follow(t.Context(), control.EventQuery{}, control.FollowOptions{}) {
		break // leaving the loop ends the stream; the server's stop would wait otherwise
	}
}
