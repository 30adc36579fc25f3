// SPDX-License-Identifier: Apache-2.0

//go:build integration

package detect

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/proxy"
	"pathgate/integration/scripted"
	"pathgate/integration/stamp"
	"pathgate/integration/tgtd"
)

const (
	mib     = 1 << 20
	lunSize = 64 * mib
	long    = 30 * time.Second
)

func TestMain(m *testing.M) { os.Exit(gate.Main(m)) }

// arranged starts a gateway on a scripted target with two LUNs and four portals, of
// which two and two are a storage processor. Two adapters make 16 paths of 2 devices.
func arranged(t *testing.T, c gate.Config) (*scripted.Target, *gate.Gate) {
	t.Helper()
	tg := scripted.New(t, scripted.Options{
		Portals: []scripted.Portal{{Tag: 1}, {Tag: 1}, {Tag: 2}, {Tag: 2}},
		Units:   map[uint16]*scripted.Unit{1: scripted.NewUnit(8 * mib), 2: scripted.NewUnit(8 * mib)},
	})
	c.Targets = []gate.Target{{Portals: tg.Addresses()}}
	g := gate.New(t, c)
	g.WaitUp(t, 16, long)
	g.WaitDisks(t, long, func(ds []gate.Disk) bool { return len(ds) > 0 && ds[0].Available })
	return tg, g
}

// proxied starts a gateway with one adapter on a tgtd with two portals behind proxies.
func proxied(t *testing.T, c gate.Config) ([]*proxy.Proxy, *gate.Gate) {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "detect-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := tgtd.New(t, tgtd.Options{
		Portals: []string{"127.0.0.1:0", "127.0.0.1:0"},
		Targets: []tgtd.Target{{Name: "iqn.2026-11.test:disk", LUNs: []tgtd.LUN{{File: filepath.Join(dir, "lun"), SizeBytes: lunSize}}}},
	})
	var list []*proxy.Proxy
	var portals []string
	for _, portal := range s.Portals() {
		p := proxy.MustNew(t, proxy.Options{Target: portal, Protocol: proxy.ISCSI, Seed: 1})
		list, portals = append(list, p), append(portals, p.Addr())
	}
	c.Adapters = []string{"127.0.0.1"}
	c.Targets = []gate.Target{{Portals: portals}}
	g := gate.New(t, c)
	g.WaitUp(t, 2, long)
	g.WaitDisks(t, long, func(ds []gate.Disk) bool { return len(ds) > 0 && ds[0].Available })
	return list, g
}

// load keeps requests in flight over two connections until the test ends, and fails
// it if one of them does.
func load(t *testing.T, g *gate.Gate, size int64) *gate.Probe {
	t.Helper()
	var clients []stamp.Target
	for range 2 {
		clients = append(clients, g.Connect(t, "vm1/root"))
	}
	p := gate.StartProbe(0, size, 8, clients...)
	t.Cleanup(func() {
		if errs := p.Stop(); len(errs) > 0 {
			t.Errorf("%d requests failed: %v", len(errs), errs[0])
		}
	})
	if !gate.Poll(long, func() bool { return p.Done() > 200 }) {
		t.Fatal("the load does not get going")
	}
	return p
}

// told waits for an event of a kind whose message begins so.
func told(t *testing.T, g *gate.Gate, mark int, kind, message string) gate.Event {
	t.Helper()
	return g.Events.Wait(t, mark, long, func(e gate.Event) bool {
		return e.Kind == kind && strings.HasPrefix(e.Message, message)
	})
}

// path waits until ok says yes to the path of that name.
func path(t *testing.T, g *gate.Gate, name string, ok func(gate.Path) bool) (found gate.Path) {
	t.Helper()
	g.WaitPaths(t, long, func(ps []gate.Path) bool {
		for _, p := range ps {
			if p.Name == name && ok(p) {
				found = p
				return true
			}
		}
		return false
	})
	return found
}
