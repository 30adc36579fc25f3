// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbdcrash

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/gateway/iscsi"
	"pathgate/gateway/scsi"
	"pathgate/integration/gate"
	"pathgate/integration/internal/port"
	"pathgate/integration/proxy"
	wire "pathgate/internal/iscsi"
)

const (
	mib      = 1 << 20
	diskSize = 24 * mib
	iqn      = "iqn.2026-11.test:crash"
	// patience is how long anything may take: far above what it takes, so that a slow
	// machine is no failure.
	patience = 4 * time.Minute
)

func TestMain(m *testing.M) { os.Exit(gate.Main(m)) }

// bed is a gateway with the disk vm1/root, two adapters and a target of two portals,
// which makes four paths.
type bed struct {
	*gate.Gate
	disk    *recorder
	proxies [2]*proxy.Proxy // one before each portal
	port    uint16          // of the NBD server
}

// newBed starts a bed. The disk answers some requests late, out of order, as seed says.
func newBed(t *testing.T, seed uint64) *bed {
	t.Helper()
	memory, err := backends.NewMemory(diskSize)
	if err != nil {
		t.Fatal(err)
	}
	late := backends.NewDelayFault(memory)
	late.Set(&backends.FaultRule{Probability: 0.2, Seed: seed}, time.Millisecond, 4*time.Millisecond)
	b := &bed{disk: newRecorder(late)}
	var target gate.Target
	for i, portal := range serve(t, b.disk) {
		b.proxies[i] = proxy.MustNew(t, proxy.Options{Target: portal, Protocol: proxy.ISCSI, Seed: 1})
		target.Portals = append(target.Portals, b.proxies[i].Addr())
	}
	b.start(t, gate.Config{
		Targets: []gate.Target{target},
		Rules:   []string{`{id: "*", all-paths-down: queue}`}, // its cache is what the target says
		Disks:   []string{`{name: root, lun: "vmhba0:0:0"}`},
	})
	b.settle(t)
	return b
}

// start starts the gateway, with a TCP listener for guests. Another process may take its
// port first: then others are tried.
func (b *bed) start(t *testing.T, c gate.Config) {
	t.Helper()
	for range 5 {
		a, err := port.Free(netip.MustParseAddr("127.0.0.1"))
		if err != nil {
			t.Fatal(err)
		}
		c.TCP = `"` + a.String() + `"`
		b.port = a.Port()
		b.Gate = gate.Make(t, c)
		if err = b.Start(); err == nil {
			return
		}
		if !strings.Contains(err.Error(), "address already in use") {
			t.Fatal(err)
		}
	}
	t.Fatal("no free port")
}

// settle waits until all four paths are used and nothing is left of any fault.
func (b *bed) settle(t *testing.T) {
	t.Helper()
	b.WaitUp(t, 4, patience)
	b.WaitDisks(t, patience, func(ds []gate.Disk) bool { return len(ds) == 1 && ds[0].Available })
}

// source is a target with one disk, for everyone.
type source struct{ target *scsi.Target }

func (source) Authentication(*iscsi.Peer, string) (wire.TargetAuthSettings, error) {
	return wire.TargetAuthSettings{}, nil
}

func (source) List(*iscsi.Peer) []string { return []string{iqn} }

func (s source) Open(p *iscsi.Peer, name string) (iscsi.Handle, error) {
	if name != iqn {
		return iscsi.Handle{}, iscsi.ErrNotFound
	}
	return iscsi.Handle{Target: s.target, Port: p.PortalGroupTag}, nil
}

// serve shows d as LUN 0 of a target with two portals of one group, until the test ends.
func serve(t *testing.T, d backends.Device) (portals [2]string) {
	t.Helper()
	unit, err := scsi.NewUnit(scsi.UnitConfig{Device: d, UUID: [16]byte{6, 6, 6}})
	if err != nil {
		t.Fatal(err)
	}
	target, err := scsi.NewTarget(scsi.TargetConfig{Name: iqn, Ports: []scsi.Port{{Relative: 1, PortalGroupTag: 1, Group: 1}}})
	if err == nil {
		err = target.Add(0, scsi.Mapping{Unit: unit})
	}
	if err != nil {
		t.Fatal(err)
	}
	srv, err := iscsi.New(iscsi.Config{Targets: source{target}, DrainTimeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	t.Cleanup(func() {
		stop()
		serving.Wait()
		unit.Close()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	for i := range portals {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		portals[i] = ln.Addr().String()
		serving.Go(func() {
			if err := srv.Serve(ctx, ln, iscsi.Portal{GroupTag: 1}); err != nil {
				t.Error(err)
			}
		})
	}
	return portals
}
