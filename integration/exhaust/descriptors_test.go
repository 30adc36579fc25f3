// SPDX-License-Identifier: Apache-2.0

//go:build integration

package exhaust

import (
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pathgate/integration/gate"
)

// B70: while clients have used up the descriptors, those who are in are served, and
// when some have gone others are let in. The log does not grow with it.
func TestB70Descriptors(t *testing.T) {
	begun := time.Now()
	g, w := start(t, gate.Config{})
	c := g.Connect(t, "vm2/root")
	used, err := g.FDs()
	if err != nil {
		t.Fatal(err)
	}
	var old unix.Rlimit
	if err := unix.Prlimit(g.Pid(), unix.RLIMIT_NOFILE, nil, &old); err != nil {
		t.Fatal(err)
	}
	few := unix.Rlimit{Cur: uint64(used) + 20, Max: old.Max}
	if err := unix.Prlimit(g.Pid(), unix.RLIMIT_NOFILE, &few, nil); err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	for i := range 60 { // the kernel takes those that the gateway cannot
		addr := w.NBD
		if i%2 == 0 {
			addr = w.Portal
		}
		conn, err := net.DialTimeout("tcp", addr, time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	if !gate.Poll(time.Minute, func() bool { return strings.Contains(g.Log(), "accept failed, pausing") }) {
		t.Fatal("descriptors do not run out")
	}
	buf := make([]byte, 4096)
	for i := range 200 {
		if _, err := c.WriteAt(buf, int64(i)*4096); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
	p, err := session(w, 1)
	if err != nil {
		t.Fatalf("nobody is let in: %v", err)
	}
	_ = p.Close()
	g.Connect(t, "vm1/root")
	// Two listeners: a hundred lines each, and ten more each second.
	if n, most := strings.Count(g.Log(), "accept failed"), 200+20*int(time.Since(begun)/time.Second+1); n > most {
		t.Errorf("%d lines, want at most %d", n, most)
	}
}
