// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/gateway/scsi"
	wire "pathgate/internal/iscsi"
	spc "pathgate/internal/scsi"
)

const (
	testInitiator = "iqn.2026-11.test:initiator"
	testTarget    = "iqn.2026-11.test:vm1"
	diskSize      = 16 << 20
)

// source is a TargetSource of tests: targets, who may see them, and secrets.
type source struct {
	mu      sync.Mutex
	targets map[string]*scsi.Target
	names   []string
	auth    func(p *Peer, target string) (wire.TargetAuthSettings, error)
	may     func(p *Peer, target string) error
	memory  backends.Account
	open    int // handles in use
	opened  int
}

func newSource() *source { return &source{targets: map[string]*scsi.Target{}} }

// add puts a device at LUN 0 of a target.
func (s *source) add(tb testing.TB, name string, d backends.Device) *source {
	tb.Helper()
	t, err := scsi.NewTarget(scsi.TargetConfig{Name: name, Ports: []scsi.Port{{Relative: 1, PortalGroupTag: 1}, {Relative: 2, PortalGroupTag: 2}}})
	if err != nil {
		tb.Fatal(err)
	}
	s.targets[name] = t
	s.names = append(s.names, name)
	return s.addLUN(tb, name, d)
}

// addLUN puts a device at the next LUN of a target.
func (s *source) addLUN(tb testing.TB, name string, d backends.Device) *source {
	tb.Helper()
	t := s.targets[name]
	lun := len(t.LUNs())
	u, err := scsi.NewUnit(scsi.UnitConfig{Device: d, UUID: [16]byte{1, byte(lun), byte(len(s.names))}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(u.Close)
	if err := t.Add(spc.LUN(lun), scsi.Mapping{Unit: u}); err != nil {
		tb.Fatal(err)
	}
	return s
}

func (s *source) Authentication(p *Peer, target string) (wire.TargetAuthSettings, error) {
	if s.auth != nil {
		return s.auth(p, target)
	}
	if target != "" && s.targets[target] == nil {
		return wire.TargetAuthSettings{}, ErrNotFound
	}
	return wire.TargetAuthSettings{}, nil
}

func (s *source) List(p *Peer) []string {
	return slices.DeleteFunc(slices.Clone(s.names), func(n string) bool { return s.may != nil && s.may(p, n) != nil })
}

func (s *source) Open(p *Peer, target string) (Handle, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.may != nil {
		if err := s.may(p, target); err != nil {
			return Handle{}, err
		}
	}
	s.open++
	s.opened++
	return Handle{Target: s.targets[target], Port: p.PortalGroupTag, Memory: s.memory, Close: func() {
		s.mu.Lock()
		s.open--
		s.mu.Unlock()
	}}, nil
}

func (s *source) inUse() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// bench is a server under test.
type bench struct {
	*Server
	tb     testing.TB
	source *source
	addr   string
	stop   func()
	ended  chan error
}

// serve starts a server on loopback.
func serve(tb testing.TB, cfg Config, s *source) *bench {
	tb.Helper()
	cfg.Targets = s
	srv, err := New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	b := &bench{Server: srv, tb: tb, source: s, ended: make(chan error, 1)}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	b.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	b.stop = cancel
	go func() { b.ended <- srv.Serve(ctx, ln, Portal{GroupTag: 1}) }()
	eventually(tb, "a portal", func() bool {
		srv.mu.Lock()
		defer srv.mu.Unlock()
		return len(srv.portals) == 1
	})
	tb.Cleanup(func() {
		cancel()
		select {
		case <-b.ended:
		case <-time.After(30 * time.Second):
			tb.Error("the server does not stop")
		}
	})
	return b
}

// offer starts a server with a memory disk.
func offer(tb testing.TB, cfg Config) *bench {
	tb.Helper()
	return serve(tb, cfg, newSource().add(tb, testTarget, memory(tb)))
}

func memory(tb testing.TB) *backends.Memory {
	tb.Helper()
	m, err := backends.NewMemory(diskSize)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// dial connects a raw initiator.
func (b *bench) dial(tb testing.TB) *raw {
	tb.Helper()
	conn, err := net.Dial("tcp", b.addr)
	if err != nil {
		tb.Fatal(err)
	}
	return newRaw(tb, conn)
}

// dialFrom connects a raw initiator of another address.
func (b *bench) dialFrom(tb testing.TB, ip string) *raw {
	tb.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	conn, err := d.Dial("tcp", b.addr)
	if err != nil {
		tb.Fatal(err)
	}
	return newRaw(tb, conn)
}

// session logs in and takes the unit attentions.
func (b *bench) session(tb testing.TB) *raw {
	tb.Helper()
	r := b.dial(tb)
	r.login(nil)
	r.attention()
	return r
}

// eventually polls until ok.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			tb.Fatalf("never: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// idle waits until nothing of any connection is left.
func (b *bench) idle(tb testing.TB) {
	tb.Helper()
	eventually(tb, "no connection is left", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.conns) == 0 && len(b.sessions) == 0 && len(b.handles) == 0 && b.logins == 0 && len(b.perAddr) == 0
	})
	if n := b.source.inUse(); n != 0 {
		tb.Errorf("%d targets are in use", n)
	}
}
