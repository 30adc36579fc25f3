// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pathgate/backends"
)

// listen gives a portal that accepts and says nothing.
func listen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// TestSocketOptions: a connection leaves from the adapter's address and interface,
// does not wait to send, and gives up on unacknowledged bytes when a NOP would.
func TestSocketOptions(t *testing.T) {
	c := &Config{
		SourceAddr: netip.MustParseAddr("127.0.0.2"), Interface: "lo",
		Timeouts: Timeouts{NOPInterval: 700 * time.Millisecond, NOPTimeout: 900 * time.Millisecond},
	}
	sock, err := c.dial(t.Context(), listen(t))
	if err != nil {
		t.Fatal(err)
	}
	defer sock.Close()
	if from := sock.LocalAddr().(*net.TCPAddr).IP.String(); from != "127.0.0.2" {
		t.Errorf("the connection comes from %s, want 127.0.0.2", from)
	}
	raw, err := sock.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		for _, o := range []struct {
			name        string
			level, opt  int
			least, most int
		}{
			{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1, 1},
			{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 1600, 1600},
			{"TCP_NOTSENT_LOWAT", unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxUnsent, maxUnsent},
			{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0, 0},
		} {
			if got, err := unix.GetsockoptInt(int(fd), o.level, o.opt); err != nil || got < o.least || got > o.most {
				t.Errorf("%s is %d (%v), want %d", o.name, got, err, o.least)
			}
		}
		if got, err := unix.GetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE); err != nil || strings.TrimRight(got, "\x00") != "lo" {
			t.Errorf("bound to interface %q (%v), want lo", got, err)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// TestAdapterIsGone: an interface or an address that is not there is told as the
// adapter's loss, by its name, and not as the portal's.
func TestAdapterIsGone(t *testing.T) {
	portal := listen(t)
	for name, c := range map[string]*Config{
		"pgnone0":   {Interface: "pgnone0"},
		"192.0.2.1": {SourceAddr: netip.MustParseAddr("192.0.2.1")},
	} {
		sock, err := c.dial(t.Context(), portal)
		if err == nil {
			_ = sock.Close()
			t.Errorf("%s: a connection from an adapter that is not there", name)
			continue
		}
		if got := lossClass(err); got != backends.LossLocal || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: class %v, error %v", name, got, err)
		}
	}
	if got := lossClass(errors.New("other")); got == backends.LossLocal {
		t.Error("every error is the adapter's")
	}
}

// deaf gives a portal where nobody listens. The port is taken all the same.
func deaf(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(at.(*unix.SockaddrInet4).Port)).String()
}

// resetting gives a portal that answers each login with a reset.
func resetting(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			sock, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = sock.Read(make([]byte, 1)) // the request is there
			_ = sock.(*net.TCPConn).SetLinger(0)
			_ = sock.Close()
		}
	}()
	return l.Addr().String()
}

// TestLoginTellsAddressOnce: a login that fails names its portal once, and the address
// that it leaves from only where that is at fault.
func TestLoginTellsAddressOnce(t *testing.T) {
	for _, tt := range []struct{ name, from, portal, want string }{
		{"refused", "127.0.0.2", deaf(t), "connect: connection refused"},
		{"no such address", "192.0.2.1", deaf(t), "connect: from 192.0.2.1: cannot assign requested address"},
		{"reset", "127.0.0.2", resetting(t), "login: connection reset by peer"},
	} {
		cfg := testConfig()
		cfg.SourceAddr = netip.MustParseAddr(tt.from)
		k, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		r := &rig{down: make(chan backends.Loss, 1000)}
		n := k.Connect(backends.TargetPortal{Target: testTarget, Portal: tt.portal}, r)
		l := wait1(t, r.down, "loss")
		if err := n.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if want := testTarget + " at " + tt.portal + ": " + tt.want; l.Err == nil || l.Err.Error() != want {
			t.Errorf("%s: the login failed with %q, want %q", tt.name, l.Err, want)
		}
		_, err = k.Discover(t.Context(), tt.portal)
		if want := "discovery at " + tt.portal + ": " + tt.want; err == nil || err.Error() != want {
			t.Errorf("%s: the discovery failed with %q, want %q", tt.name, err, want)
		}
	}
}
