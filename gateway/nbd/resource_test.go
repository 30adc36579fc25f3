// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	nc "pathgate/integration/nbdclient"
)

func descriptors(tb testing.TB) int {
	tb.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	return len(list)
}

// B69: random disconnects in every state leave no goroutine, descriptor, credit
// or handle behind.
func TestB69RandomDisconnects(t *testing.T) {
	d := newTestDevice(t, diskSize)
	s := newSource().add("x", d)
	b := serve(t, Config{Exports: s})
	b.client(t).Close()
	eventually(t, "quiet", func() bool { return len(b.Connections()) == 0 })
	goroutines, fds := runtime.NumGoroutine(), descriptors(t)

	rounds := 1000
	if testing.Short() {
		rounds = 100
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(w)))
			for range rounds / 4 {
				disconnect(t, b, r)
			}
		})
	}
	wg.Wait()
	eventually(t, "all gone", func() bool { return len(b.Connections()) == 0 })
	eventually(t, "goroutines and descriptors back", func() bool {
		return runtime.NumGoroutine() <= goroutines && descriptors(t) <= fds
	})
	if s.inUse() != 0 {
		t.Errorf("%d handles open", s.inUse())
	}
	c := b.client(t)
	if err := c.Flush(); err != nil {
		t.Error(err)
	}
}

// disconnect says a random part of a conversation and goes away.
func disconnect(t *testing.T, b *bed, r *rand.Rand) {
	conn, err := net.Dial("unix", b.path)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	raw := &peer{&nc.Raw{Conn: conn}}
	script := []byte{0, 0, 0, nc.FixedNewstyle | nc.NoZeroes}
	script = nc.AppendOption(script, nc.OptGo, goData(1, "x", 0))
	for range 20 {
		n := uint32(1+r.IntN(64)) * 512
		q := nc.Request{Cmd: nc.Command(r.IntN(7)), Cookie: r.Uint64(), Offset: uint64(r.IntN(1000)) * 512, Length: n}
		if q.Cmd == nc.CmdDisc {
			q.Cmd = nc.CmdRead
		}
		script = q.Append(script)
		if q.Cmd == nc.CmdWrite {
			script = append(script, make([]byte, n)...)
		}
	}
	raw.Send(script[:r.IntN(len(script))]) // may fail: the server may have gone first
	if r.IntN(2) == 0 {
		raw.Conn.SetReadDeadline(time.Now().Add(time.Millisecond))
		raw.skip(r.IntN(200000))
	}
}

// failing accepts errors first.
type failing struct {
	net.Listener
	errs chan error
}

func (f *failing) Accept() (net.Conn, error) {
	select {
	case err := <-f.errs:
		return nil, err
	default:
		return f.Listener.Accept()
	}
}

// B70: out of descriptors, accepting pauses and goes on.
func TestB70AcceptErrors(t *testing.T) {
	path := t.TempDir() + "/s"
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 3)
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ECONNABORTED} {
		errs <- &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", e)}
	}
	b := serveOn(t, Config{Exports: newSource().add("x", memory(t, diskSize))}, &failing{ln, errs}, path)
	if err := b.client(t).Flush(); err != nil {
		t.Error(err)
	}
	if len(errs) != 0 {
		t.Errorf("%d errors were not met", len(errs))
	}
}

func TestServeTellsAFailedListener(t *testing.T) {
	srv, err := New(Config{Exports: newSource()})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if err := srv.Serve(t.Context(), ln); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want net.ErrClosed", err)
	}
}
