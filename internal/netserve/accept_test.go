// SPDX-License-Identifier: Apache-2.0

package netserve

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// failing is a listener that gives these errors, then a connection, and then is
// closed.
type failing struct{ errs []error }

func (f *failing) Accept() (net.Conn, error) {
	if len(f.errs) == 0 {
		return nil, net.ErrClosed
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	if err == nil {
		near, far := net.Pipe()
		_ = far.Close()
		return near, nil
	}
	return nil, err
}

func (f *failing) Close() error   { return nil }
func (f *failing) Addr() net.Addr { return &net.UnixAddr{Name: "failing", Net: "unix"} }

// B70: without descriptors accepting pauses, ever longer, and goes on after.
func TestB70AcceptPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ln := &failing{errs: []error{syscall.EMFILE, syscall.EMFILE, nil, syscall.ENFILE}}
		var pauses []time.Duration
		started := 0
		begun := time.Now()
		err := Accept(t.Context(), ln, func(nc net.Conn) {
			started++
			_ = nc.Close()
		}, func(_ error, pause time.Duration) { pauses = append(pauses, pause) })
		if !errors.Is(err, net.ErrClosed) || started != 1 {
			t.Errorf("got %v, %d connections", err, started)
		}
		if len(pauses) != 3 || pauses[0] != 5*time.Millisecond || pauses[1] != 10*time.Millisecond || pauses[2] != 5*time.Millisecond {
			t.Errorf("pauses %v", pauses)
		}
		if got := time.Since(begun); got != 20*time.Millisecond {
			t.Errorf("took %v", got)
		}
	})
}

func TestAcceptStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ln := &failing{errs: []error{syscall.EMFILE, syscall.EMFILE}}
		err := Accept(ctx, ln, nil, func(error, time.Duration) { cancel() })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestUserTimeout(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	nc, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	SetUserTimeout(nc, 0)
	SetUserTimeout(nc, 1500*time.Millisecond)
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	err = raw.Control(func(fd uintptr) { got, err = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout) })
	if err != nil || got != 1500 {
		t.Errorf("TCP_USER_TIMEOUT is %d ms, %v; want 1500", got, err)
	}
	near, _ := net.Pipe()
	SetUserTimeout(near, time.Second)
}
