// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"context"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/integration/nbdclient"
)

const diskSize = 64 << 20

// source offers devices by name, in the order of names.
type source struct {
	mu    sync.Mutex
	names []string
	devs  map[string]backends.Device
	open  func(ctx context.Context, name string, mode Mode) error // nil: at once
	peer  func(*Peer) error                                       // nil: everyone may
	grow  func(size uint64) error                                 // Handle.Resize
	opens int
	uses  int // handles that are open
}

func newSource() *source { return &source{devs: make(map[string]backends.Device)} }

func (s *source) add(name string, d backends.Device) *source {
	s.names = append(s.names, name)
	s.devs[name] = d
	return s
}

func (s *source) List(Peer) []Export {
	var list []Export
	for _, n := range s.names {
		list = append(list, Export{Name: n, Description: "disk " + n})
	}
	return list
}

func (s *source) Open(ctx context.Context, name string, peer Peer, mode Mode) (Handle, error) {
	s.mu.Lock()
	s.opens++
	s.mu.Unlock()
	if s.open != nil {
		if err := s.open(ctx, name, mode); err != nil {
			return Handle{}, err
		}
	}
	if s.peer != nil {
		if err := s.peer(&peer); err != nil {
			return Handle{}, err
		}
	}
	if name == "" && len(s.names) > 0 {
		name = s.names[0]
	}
	d := s.devs[name]
	if d == nil {
		return Handle{}, ErrUnknownExport
	}
	s.count(1)
	return Handle{
		Export: Export{Name: name, Description: "disk " + name}, Device: d,
		Origin: &backends.Origin{Disk: name, Connection: peer.Connection},
		Close:  func() { s.count(-1) },
		Resize: s.grow,
	}, nil
}

func (s *source) count(n int) {
	s.mu.Lock()
	s.uses += n
	s.mu.Unlock()
}

func (s *source) opened() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opens
}

func (s *source) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.uses
}

func memory(tb testing.TB, size uint64) *backends.Memory {
	tb.Helper()
	m, err := backends.NewMemory(size)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { m.Close() })
	return m
}

// bed is a running server.
type bed struct {
	*Server
	addr  string // for nbdclient
	path  string // of the unix socket
	stop  context.CancelFunc
	ended chan error
}

// serve runs a server on a unix socket until the test ends.
func serve(tb testing.TB, cfg Config) *bed {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "s")
	ln, err := net.Listen("unix", path)
	if err != nil {
		tb.Fatal(err)
	}
	return serveOn(tb, cfg, ln, path)
}

func serveOn(tb testing.TB, cfg Config, ln net.Listener, path string) *bed {
	tb.Helper()
	return serveSecure(tb, cfg, ln, path, Security{})
}

func serveSecure(tb testing.TB, cfg Config, ln net.Listener, path string, sec Security) *bed {
	tb.Helper()
	if cfg.StopGrace == 0 {
		cfg.StopGrace = time.Millisecond
	}
	srv, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b := &bed{Server: srv, path: path, addr: "unix:" + path, stop: cancel, ended: make(chan error, 1)}
	if path == "" {
		b.addr = ln.Addr().String()
	}
	go func() {
		err := srv.ServeSecure(ctx, ln, sec)
		b.ended <- err
		close(b.ended)
	}()
	tb.Cleanup(func() {
		cancel()
		for err := range b.ended {
			if err != nil {
				tb.Errorf("Serve: %v", err)
			}
		}
		if n := len(srv.Connections()); n != 0 {
			tb.Errorf("%d connections left after Serve", n)
		}
	})
	return b
}

// client connects to the export x.
func (b *bed) client(tb testing.TB) *nbdclient.Client {
	tb.Helper()
	c, err := nbdclient.Connect(tb.Context(), nbdclient.Config{Addr: b.addr, Export: "x", Timeout: 10 * time.Second})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

// peer is a raw client. That sending fails is no error of its own: it shows in
// what is read next.
type peer struct{ *nbdclient.Raw }

func (p *peer) Send(b []byte)                    { _ = p.Raw.Send(b) }
func (p *peer) SendOption(o uint32, data []byte) { _ = p.Raw.SendOption(o, data) }
func (p *peer) SendClientFlags(flags uint32)     { _ = p.Raw.SendClientFlags(flags) }
func (p *peer) ended()                           { _, _ = p.Read(1) }
func (p *peer) skip(n int)                       { _, _ = p.Read(n) }
func (p *peer) greeting()                        { _, _ = p.ReadGreeting() }
func (p *peer) greet()                           { _, _ = p.Greet() }

// closeWrite ends the peer's stream and leaves the other direction open.
func (p *peer) closeWrite() {
	if u, ok := p.Conn.(interface{ CloseWrite() error }); ok {
		_ = u.CloseWrite()
	}
}

// raw dials without a word.
func (b *bed) raw(tb testing.TB) *peer {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	r, err := nbdclient.DialRaw(ctx, b.addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { r.Close() })
	return &peer{r}
}

// greeted dials and exchanges flags.
func (b *bed) greeted(tb testing.TB) *peer {
	tb.Helper()
	r := b.raw(tb)
	if _, err := r.Greet(); err != nil {
		tb.Fatal(err)
	}
	return r
}

// entered dials and goes to transmission on the export x.
func (b *bed) entered(tb testing.TB) *peer {
	tb.Helper()
	r := b.greeted(tb)
	if _, err := r.Info(nbdclient.OptGo, "x"); err != nil {
		tb.Fatal(err)
	}
	return r
}

// eventually waits until cond holds.
func eventually(tb testing.TB, what string, cond func() bool) {
	tb.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline:
			tb.Fatalf("not within 10 s: %s", what)
		}
	}
}
