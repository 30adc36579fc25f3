// SPDX-License-Identifier: Apache-2.0

package control_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pathgate/gateway/control"
)

func TestDialAddresses(t *testing.T) {
	for _, addr := range []string{
		"", "unix:", "unix:relative", "/run/x.sock", "tcp:127.0.0.1:80", "http://x", "unix:/\x00",
		"unix:/" + strings.Repeat("x", 107),
	} {
		if _, err := control.Dial(addr); err == nil {
			t.Errorf("%q was taken", addr)
		}
	}
	if _, err := control.Dial("unix:/" + strings.Repeat("x", 106)); err != nil {
		t.Error(err)
	}
}

// rawServer answers the first bytes of each connection with text and closes it.
func rawServer(t *testing.T, text string) (addr string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "raw.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 4096))
			_, _ = io.WriteString(c, text)
			c.Close()
		}
	})
	t.Cleanup(func() { ln.Close(); wg.Wait() })
	return "unix:" + path
}

// TestClientErrors: whatever is at the other end, the error names the address and
// the reason on one line.
func TestClientErrors(t *testing.T) {
	dir := t.TempDir()
	dead := filepath.Join(dir, "dead.sock")
	stale(t, dead)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
	for _, tt := range []struct {
		name, addr, want string
		unreachable      bool
	}{
		{"no socket", "unix:" + filepath.Join(dir, "none"), "there is no such socket", true},
		{"stale socket", "unix:" + dead, "nobody listens", true},
		{"a file", "unix:" + file, "nobody listens", true},
		{"closes at once", rawServer(t, ""), "closed without an answer", true},
		{"breaks off in a list", rawServer(t, head+`[{"name":"a"}`), "unexpected EOF", false},
		{"not JSON", rawServer(t, head+"hello"), "invalid character", false},
		{"another protocol", rawServer(t, "SSH-2.0-x\r\n"), "malformed HTTP", true},
		{"an error without a body", rawServer(t, "HTTP/1.1 502 Bad\r\nConnection: close\r\n\r\n"), "answered 502", false},
		{"a redirection", rawServer(t, "HTTP/1.1 307 x\r\nLocation: http://example.com/\r\nConnection: close\r\n\r\n"), "answered 307", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := dial(t, tt.addr).Paths(t.Context())
			if err == nil {
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), tt.addr) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %q, want %q", err, tt.want)
			}
			if errors.Is(err, control.ErrUnreachable) != tt.unreachable {
				t.Errorf("%v: unreachable %v, want %v", err, !tt.unreachable, tt.unreachable)
			}
		})
	}
}

// TestClientDeadline: a gateway that takes the connection and says nothing.
func TestClientDeadline(t *testing.T) {
	path := filepath.Join(t.TempDir(), "silent.sock")
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = dial(t, "unix:"+path).Paths(ctx)
	if !errors.Is(err, control.ErrUnreachable) || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("got %v", err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if _, err = dial(t, "unix:"+path).Paths(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestDotNames: a name of dots is asked for as a name and reaches nothing else.
func TestDotNames(t *testing.T) {
	addr, _ := serve(t, newFake(), control.Options{})
	for _, name := range []string{".", "..", "../version", "a/../..", "%2e%2e", ""} {
		_, err := dial(t, addr).Path(t.Context(), name)
		dots := strings.Contains(name, "/..") || strings.HasPrefix(name, "../") // refused by the server
		if e, ok := errors.AsType[*control.Error](err); !ok || !errors.Is(err, control.ErrNotFound) && (!dots || e.Code != control.CodeBadRequest) {
			t.Errorf("path %q: %v", name, err)
		}
	}
	if _, err := dial(t, addr).Disk(t.Context(), "no-slash"); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("disk without a VM: %v", err)
	}
}
