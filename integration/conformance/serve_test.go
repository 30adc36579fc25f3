// SPDX-License-Identifier: Apache-2.0

//go:build integration

package conformance

import (
	"context"
	"crypto/sha256"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/gateway/iscsi"
	"pathgate/gateway/scsi"
	wire "pathgate/internal/iscsi"
)

const (
	prefix    = "iqn.2026-11.test:"
	diskBytes = 64 << 20
	user      = "alice"
	secret    = "alice-and-the-gateway"
	ourUser   = "gateway"
	ourSecret = "the-gateway-and-alice"
)

// disks is a source of targets that come into being when they are asked for: each
// has one disk of its own at LUN 0. Targets whose name ends with "-chap" demand CHAP.
type disks struct {
	tb      testing.TB
	mu      sync.Mutex
	targets map[string]*scsi.Target
}

func (d *disks) Authentication(_ *iscsi.Peer, target string) (wire.TargetAuthSettings, error) {
	switch {
	case target != "" && !strings.HasPrefix(target, prefix):
		return wire.TargetAuthSettings{}, iscsi.ErrNotFound
	case !strings.HasSuffix(target, "-chap"):
		return wire.TargetAuthSettings{}, nil
	}
	return wire.TargetAuthSettings{
		Required: true,
		Lookup:   func(name string) (wire.Secret, bool) { return wire.NewSecret([]byte(secret)), name == user },
		CHAP:     wire.Credentials{Name: ourUser, Secret: wire.NewSecret([]byte(ourSecret))},
	}, nil
}

func (d *disks) List(*iscsi.Peer) []string { return []string{prefix + "one", prefix + "two"} }

func (d *disks) Open(p *iscsi.Peer, target string) (iscsi.Handle, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.targets[target]
	if t == nil {
		var err error
		if t, err = d.make(target); err != nil {
			return iscsi.Handle{}, err
		}
		d.targets[target] = t
	}
	return iscsi.Handle{Target: t, Port: p.PortalGroupTag}, nil
}

func (d *disks) make(target string) (*scsi.Target, error) {
	t, err := scsi.NewTarget(scsi.TargetConfig{Name: target, Ports: []scsi.Port{{Relative: 1, PortalGroupTag: 1}}})
	if err != nil {
		return nil, err
	}
	m, err := backends.NewMemory(diskBytes)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(target))
	u, err := scsi.NewUnit(scsi.UnitConfig{Device: m, UUID: [16]byte(sum[:]), Store: kept{}})
	if err != nil {
		return nil, err
	}
	return t, t.Add(0, scsi.Mapping{Unit: u})
}

// kept keeps reservations nowhere: nothing here restarts.
type kept struct{}

func (kept) SaveReservations(_ []byte, done func(error)) { done(nil) }

// serve starts a server, and gives its portal.
func serve(tb testing.TB, cfg iscsi.Config) string {
	tb.Helper()
	cfg.Targets = &disks{tb: tb, targets: map[string]*scsi.Target{}}
	srv, err := iscsi.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ctx, ln, iscsi.Portal{GroupTag: 1}) }()
	tb.Cleanup(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(time.Minute):
			tb.Error("the server does not stop")
		}
	})
	return ln.Addr().String()
}
