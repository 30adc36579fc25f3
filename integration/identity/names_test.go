// SPDX-License-Identifier: Apache-2.0

//go:build integration

package identity

import (
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/scripted"
	"pathgate/internal/scsi"
)

const patience = 30 * time.Second

// naa is the identity of a unit with this extension, and the unit.
func naa(n uint64) (string, *scripted.Unit) {
	u := scripted.NewUnit(8 << 20)
	d := scsi.NAARegistered(0x001405, 0xa11, n)
	u.Designators = []scsi.Designator{d}
	id, err := scsi.SelectIdentity(u.Designators, scsi.StandardInquiry{}, "")
	if err != nil {
		panic(err)
	}
	return id.ID, u
}

func available(names ...string) func([]gate.Disk) bool {
	return func(ds []gate.Disk) bool {
		n := 0
		for _, d := range ds {
			for _, name := range names {
				if d.Name == name && d.Available {
					n++
				}
			}
		}
		return n == len(names)
	}
}

// TestAliases: a further name of a LUN, from the configuration or given at run time,
// is as good as any, is kept, and is never taken from a LUN that is in use by it.
func TestAliases(t *testing.T) {
	idA, a := naa(1)
	idB, b := naa(2)
	tg := scripted.New(t, scripted.Options{Units: map[uint16]*scripted.Unit{1: a, 2: b}})
	g := gate.New(t, gate.Config{
		Adapters: []string{"127.0.0.1"},
		Targets:  []gate.Target{{Portals: tg.Addresses()}},
		Rules:    []string{`{id: ` + idA + `, alias: data, all-paths-down: queue}`},
		Disks:    []string{"{name: root, lun: data}", "{name: more, lun: later}"},
	})
	g.WaitDisks(t, patience, available("vm1/root"))
	list := g.MustCLI(t, "device", "list")
	if !strings.Contains(list, "data") {
		t.Errorf("no alias:\n%s", list)
	}
	refused := func(want string, args ...string) {
		t.Helper()
		if out, err := g.CLI(t.Context(), args...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %s, %v", args, out, err)
		}
	}
	g.MustCLI(t, "device", "alias", idB, "later")
	g.WaitDisks(t, patience, available("vm1/root", "vm1/more"))
	refused("already", "device", "alias", idB, "data")
	refused("already", "device", "alias", "data", "later")
	refused("not a name", "device", "alias", idB, "a:b")
	refused("no such device", "device", "alias", "nothing", "x")
	refused("disk vm1/more", "device", "unalias", "later")
	refused("configuration", "device", "unalias", "data")
	refused("no such alias", "device", "unalias", "nothing")
	g.MustCLI(t, "device", "alias", "later", "spare")
	for _, cmd := range []string{"device show", "device topology", "share lun show", "explain", "reservation show"} {
		for _, name := range []string{"data", "later", "spare"} {
			g.MustCLI(t, append(strings.Fields(cmd), name)...)
		}
	}
	refused("last path", "rule", "add", "100", "mask", "--identity", idB)
	g.MustCLI(t, "device", "unalias", "spare")
	refused("no such lun", "share", "lun", "show", "spare")
	c := g.Connect(t, "vm1/more")
	if _, err := c.WriteAt(pattern(4096, 5), 0); err != nil {
		t.Fatal(err)
	}
	if b.Medium.Writes() == 0 || a.Medium.Writes() != 0 {
		t.Error("written elsewhere")
	}
	if _, err := g.Terminate(patience); err != nil {
		t.Fatal(err)
	}
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	g.WaitDisks(t, patience, available("vm1/root", "vm1/more"))
	if list := g.MustCLI(t, "device", "list"); !strings.Contains(list, "later") || strings.Contains(list, "spare") {
		t.Errorf("after a restart:\n%s", list)
	}
}

// TestH11Client: a LUN that grows is larger for a client that connects anew, and what
// is beyond the old end can be used.
func TestH11Client(t *testing.T) {
	_, a := naa(3)
	tg := scripted.New(t, scripted.Options{Portals: []scripted.Portal{{}, {}}, Units: map[uint16]*scripted.Unit{1: a}})
	g := gate.New(t, gate.Config{Adapters: []string{"127.0.0.1"}, Targets: []gate.Target{{Portals: tg.Addresses()}}})
	g.WaitDisks(t, patience, available("vm1/root"))
	if got := g.Connect(t, "vm1/root").Size(); got != 8<<20 {
		t.Fatalf("%d bytes", got)
	}
	a.Resize(16 << 20)
	if !gate.Poll(patience, func() bool {
		_, _ = g.CLI(t.Context(), "device", "list")
		ds := g.Disks(t)
		return len(ds) == 1 && ds[0].Size == 16<<20
	}) {
		// Nothing is sent on the paths by itself: a command finds the attention.
		t.Logf("devices: %+v", g.Devices(t))
		t.Fatal("the disk has not grown")
	}
	c := g.Connect(t, "vm1/root")
	if c.Size() != 16<<20 {
		t.Errorf("a new client sees %d bytes", c.Size())
	}
	if _, err := c.WriteAt(pattern(4096, 6), 12<<20); err != nil {
		t.Error(err)
	}
}
