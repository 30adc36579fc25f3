// SPDX-License-Identifier: Apache-2.0

//go:build integration

package conformance

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
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
// has one disk of its own at LUN 0. Targets whose name ends with "-chap" demand CHAP;
// other ends change the disk, as special says.
type disks struct {
	tb      testing.TB
	dir     string // of files
	luns    []backends.Device
	mu      sync.Mutex
	targets map[string]*scsi.Target
	close   []func()
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
	cfg := scsi.UnitConfig{Store: kept{}}
	sum := sha256.Sum256([]byte(target))
	cfg.UUID = [16]byte(sum[:])
	kind, _, _ := strings.Cut(strings.TrimPrefix(target, prefix), "--")
	if cfg.Device, err = d.open(kind, target); err != nil {
		return nil, err
	}
	if kind == "4096" {
		cfg.BlockSize = 4096
	}
	for end, change := range special {
		if strings.HasSuffix(target, targetName(end)) {
			change(&cfg)
		}
	}
	u, err := scsi.NewUnit(cfg)
	if err != nil {
		return nil, err
	}
	d.close = append(d.close, func() {
		u.Close()
		if err := cfg.Device.Close(); err != nil {
			d.tb.Error(err)
		}
	})
	return t, t.Add(0, scsi.Mapping{Unit: u})
}

// open opens the device of a disk: a LUN that no other disk has, a file or memory.
func (d *disks) open(kind, target string) (backends.Device, error) {
	switch kind {
	case "lun":
		if len(d.luns) == 0 {
			return nil, errors.New("no LUN is left")
		}
		l := d.luns[0]
		d.luns = d.luns[1:]
		return l, nil
	case "file":
	default:
		return backends.NewMemory(diskBytes)
	}
	if d.dir == "" { // not TempDir: the disks are closed before it goes
		dir, err := os.MkdirTemp("", "conformance")
		if err != nil {
			return nil, err
		}
		d.dir = dir
	}
	sum := sha256.Sum256([]byte(target))
	return backends.OpenFile(filepath.Join(d.dir, fmt.Sprintf("%x", sum[:8])), backends.FileOptions{Size: diskBytes})
}

// end closes all disks.
func (d *disks) end() {
	for _, f := range d.close {
		f()
	}
	if d.dir != "" {
		if err := os.RemoveAll(d.dir); err != nil {
			d.tb.Error(err)
		}
	}
}

// slowBytes is how many bytes a second the disk takes whose SANITIZE has to last
// longer than the suite's waits, and not much longer.
const slowBytes = 3 << 20

// special are the tests that need another disk than the rest.
var special = map[string]func(*scsi.UnitConfig){
	"ALL.ReadOnly.ReadOnlySBC": func(c *scsi.UnitConfig) { c.ReadOnly = true },
	// With more than one logical block in a physical one it looks for a descriptor
	// of another LBA than it asks for.
	"ALL.GetLBAStatus.UnmapSingle":           func(c *scsi.UnitConfig) { c.PhysicalBlock = max(c.BlockSize, 512) },
	"ALL.CompareAndWrite.InvalidDataOutSize": severalBlocks,
	"ALL.WriteSame10.InvalidDataOutSize":     severalBlocks,
	"ALL.WriteSame16.InvalidDataOutSize":     severalBlocks,
	"ALL.WriteSame10.UnmapUnaligned":         severalBlocks,
	"ALL.WriteSame16.UnmapUnaligned":         severalBlocks,
	"ALL.Sanitize.Reset": func(c *scsi.UnitConfig) {
		f := backends.NewRateFault(c.Device)
		f.Set(0, slowBytes)
		c.Device = f
	},
}

// severalBlocks makes a physical block of several.
func severalBlocks(c *scsi.UnitConfig) { c.PhysicalBlock = max(4096, 2*c.BlockSize) }

// targetName is the last part of the name of the target for a test.
func targetName(test string) string { return strings.ToLower(strings.ReplaceAll(test, "_", "-")) }

// kept keeps reservations nowhere: nothing here restarts.
type kept struct{}

func (kept) SaveReservations(_ []byte, done func(error)) { done(nil) }

// serve starts a server, and gives its portal. luns are for disks that are to be LUNs.
func serve(tb testing.TB, cfg iscsi.Config, luns ...backends.Device) string {
	tb.Helper()
	d := &disks{tb: tb, luns: luns, targets: map[string]*scsi.Target{}}
	tb.Cleanup(d.end) // after the server has ended
	cfg.Targets = d
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
