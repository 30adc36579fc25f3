// SPDX-License-Identifier: Apache-2.0

//go:build integration

package e2e

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/lio"
	"pathgate/integration/proxy"
	"pathgate/integration/tgtd"
)

func names(ps []gate.Path) (list []string) {
	for _, p := range ps {
		list = append(list, p.Name+" "+p.Portal)
	}
	slices.Sort(list)
	return list
}

// TestPathsOfOneTarget: 2 adapters x 2 portals are 4 paths of one device, whose
// names stay over a restart, also when the portals are listed in another order.
func TestPathsOfOneTarget(t *testing.T) {
	s := tgtd.New(t, tgtd.Options{
		Portals: []string{"127.0.0.1:0", "127.0.0.2:0"},
		Targets: []tgtd.Target{{Name: iqn, LUNs: []tgtd.LUN{{SizeBytes: lunSize}}}},
	})
	p0, p1 := s.Portals()[0], s.Portals()[1]
	g := gate.New(t, gate.Config{Targets: []gate.Target{{Portals: []string{p0, p1}}}})
	g.WaitUp(t, 4, 10*time.Second)
	var got []gate.Path
	if err := json.Unmarshal([]byte(g.MustCLI(t, "path", "list", "-o", "json")), &got); err != nil {
		t.Fatal(err)
	}
	want := []string{"vmhba0:0:1 " + p0, "vmhba0:1:1 " + p1, "vmhba1:0:1 " + p0, "vmhba1:1:1 " + p1}
	if !slices.Equal(names(got), want) {
		t.Errorf("got paths %v, want %v", names(got), want)
	}
	for _, p := range got {
		if p.Target != iqn || p.LUN != 1 || p.Device != "vmhba0:0:1" || p.Health != "up" {
			t.Errorf("path %+v", p)
		}
	}
	if ds := g.Devices(t); len(ds) != 1 || ds[0].PathsUp != 4 || ds[0].Size != lunSize || ds[0].State != "available" ||
		!slices.Equal(ds[0].UsedBy, []string{"vm1/root"}) {
		t.Errorf("got devices %+v, want one with 4 paths", ds)
	}
	table := g.MustCLI(t, "path", "list")
	for _, name := range want {
		if name, _, _ := strings.Cut(name, " "); !strings.Contains(table, name) {
			t.Errorf("`path list` lacks %s:\n%s", name, table)
		}
	}
	if _, err := g.Terminate(15 * time.Second); err != nil {
		t.Fatal(err)
	}
	g.Configure(t, gate.Config{Targets: []gate.Target{{Portals: []string{p1, p0}}}})
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	if again := names(g.WaitUp(t, 4, 10*time.Second)); !slices.Equal(again, want) {
		t.Errorf("after a restart: got paths %v, want %v", again, want)
	}
}

// TestPathsOfTwoTargets: two processes with one file, target name and ids are one
// device, over 2 adapters x 4 portals.
func TestPathsOfTwoTargets(t *testing.T) {
	file := memFile(t)
	var portals []string
	for range 2 {
		s := tgtd.New(t, tgtd.Options{
			Portals: []string{"127.0.0.1:0", "127.0.0.1:0"},
			Targets: []tgtd.Target{{Name: iqn, LUNs: []tgtd.LUN{lun(file, lunSize)}}},
		})
		portals = append(portals, s.Portals()...)
	}
	g := gate.New(t, gate.Config{Targets: []gate.Target{{Portals: portals}}})
	ps := g.WaitUp(t, 8, 10*time.Second)
	for _, p := range ps {
		if p.Device != ps[0].Device {
			t.Errorf("%s is a path of %s, want %s", p.Name, p.Device, ps[0].Device)
		}
	}
	if ds := g.Devices(t); len(ds) != 1 || ds[0].PathsUp != 8 {
		t.Errorf("got devices %+v, want one with 8 paths", ds)
	}
}

// TestPathsOfUnrelatedTargets: the ids that tgtd makes up are the same in every
// process. Two disks with different contents that show the same ids stay two.
func TestPathsOfUnrelatedTargets(t *testing.T) {
	var gs []gate.Target
	var ids []string
	for _, name := range []string{"iqn.2026-11.test:a", "iqn.2026-11.test:b"} {
		s := tgtd.New(t, tgtd.Options{Targets: []tgtd.Target{{Name: name, LUNs: []tgtd.LUN{{SizeBytes: 8 * mib}}}}})
		gs = append(gs, gate.Target{Portals: s.Portals()})
	}
	g := gate.New(t, gate.Config{Targets: gs, Disks: []string{
		`{name: a, lun: "vmhba0:0:1"}`, `{name: b, lun: "vmhba0:1:1"}`,
	}})
	g.WaitUp(t, 4, 10*time.Second)
	ds := g.WaitDevices(t, 5*time.Second, func(ds []gate.Device) bool { return len(ds) == 2 })
	for _, d := range ds {
		if !d.Weak || d.PathsTotal != 2 {
			t.Errorf("device %+v, want a weak identity and 2 paths", d)
		}
		ids = append(ids, d.Identity)
	}
	g.WaitDisks(t, 5*time.Second, func(ds []gate.Disk) bool {
		return !slices.ContainsFunc(ds, func(d gate.Disk) bool { return !d.Available })
	})
	for _, name := range []string{"a", "b"} {
		c := g.Connect(t, "vm1/"+name)
		if _, err := c.WriteAt(bytes.Repeat([]byte(name), 4096), 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"a", "b"} {
		got := make([]byte, 4096)
		if _, err := g.Connect(t, "vm1/"+name).ReadAt(got, 0); err != nil || !bytes.Equal(got, bytes.Repeat([]byte(name), 4096)) {
			t.Errorf("disk %s shows %q..., %v", name, got[:4], err)
		}
	}
	t.Logf("identities %v", ids)
}

// TestLIO: the kernel's target in a guest, two portals behind proxies, one of them
// reset under stamps.
func TestLIO(t *testing.T) {
	s := lio.New(t, lio.Options{
		LUNs:   []lio.LUN{{SizeBytes: lunSize, WriteThrough: true}},
		Groups: []lio.PortalGroup{{Portals: 2}},
	})
	b := &bed{}
	for _, portal := range s.Portals() {
		b.proxies = append(b.proxies, proxy.MustNew(t, proxy.Options{Target: portal, Protocol: proxy.ISCSI, Seed: 1}))
	}
	b.g = gate.New(t, b.config(bedOptions{config: gate.Config{Disks: []string{`{name: root, lun: "vmhba0:0:0"}`}}}))
	b.settle(t)
	control := b.g.Events.Mark()
	l := b.startStamps(t, 6)
	l.flow(t)
	b.quiet(t, control) // the same load before anything is broken
	failovers := 0
	for round := range 4 {
		i := round % 2
		paths, mark := b.behind(t, i), b.g.Events.Mark()
		if n := b.proxies[i].ResetConns(); n < 2 {
			t.Errorf("%d connections were there to be reset, want 2", n)
		}
		b.lost(t, mark, paths, 5*time.Second)
		if _, ok := b.failedOver(mark, paths); ok {
			failovers++
		}
		b.settle(t)
		l.flow(t)
	}
	if failovers < 2 {
		t.Errorf("%d of 4 resets led to a failover", failovers)
	}
	rep := l.finish(t)
	t.Logf("measured: stamps on LIO under reset: %s", summary(rep))
}
