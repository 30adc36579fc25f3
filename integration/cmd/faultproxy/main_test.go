// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

func TestOrders(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ctx, cancel := context.WithCancel(t.Context())
	control := filepath.Join(t.TempDir(), "c")
	stdinR, stdinW := io.Pipe()
	stdoutR, stdoutW := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"--target", ln.Addr().String(), "--raw", "--control", control}, stdinR, stdoutW)
	}()
	out := bufio.NewReader(stdoutR)
	first, err := out.ReadString('\n')
	addr := strings.Fields(first)
	if err != nil || len(addr) < 3 {
		t.Fatalf("%q, %v", first, err)
	}
	ask := func(w io.Writer, r *bufio.Reader, text, want string) {
		t.Helper()
		io.WriteString(w, text+"\n")
		var all strings.Builder
		for {
			line, err := r.ReadString('\n')
			all.WriteString(line)
			if err != nil || line == "ok\n" || strings.HasPrefix(line, "error") {
				break
			}
		}
		if !strings.Contains(all.String(), want) {
			t.Errorf("%q: got %q, want %q", text, all.String(), want)
		}
	}
	ask(stdinW, out, "set refuse", "ok")
	if c, err := net.Dial("tcp", addr[2]); err == nil {
		c.Close()
		t.Error("connected although refused")
	}
	conn, err := net.Dial("unix", control)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	ask(conn, in, "clear refuse", "ok")
	ask(conn, in, "counters", `"refuse"`)
	ask(conn, in, "reset", "0 connections")
	ask(conn, in, "help", "black-hole")
	ask(conn, in, "set burn", "error")
	ask(conn, in, "clear burn", "error")
	ask(conn, in, "dance", "error")
	ask(conn, in, "set hold opcode=data-out", "error") // raw has no PDUs
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
