// SPDX-License-Identifier: Apache-2.0

//go:build integration

package claim

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"pathgate/integration/gate"
	"pathgate/integration/scripted"
	"pathgate/internal/scsi"
)

// TestKeys adds a mask for each key: what the dry run tells is what happens, the paths
// come back when the rule goes, and vm1/root works all the time.
func TestKeys(t *testing.T) {
	b := newBed(t, gate.Config{})
	b.settle(t, nil)
	c := b.g.Connect(t, "vm1/root")
	paths := b.all(t)
	identity, other := "", ""
	for _, d := range b.g.Devices(t) {
		if d.Vendor == "ACME" {
			identity, other = d.Identity, d.Name
		}
	}
	if identity == "" {
		t.Fatalf("no device of ACME: %+v", b.g.Devices(t))
	}
	third := ""
	for name, p := range paths {
		if strings.HasSuffix(p.Target, ":b") {
			third = name
		}
	}
	of := func(match func(path) bool) (list []string) {
		for name, p := range paths {
			if match(p) {
				list = append(list, name)
			}
		}
		slices.Sort(list)
		return list
	}
	isOther := func(p path) bool { return p.Device == other }
	portal := b.srv.Portals()[1]
	for _, tt := range []struct {
		key, value string
		match      func(path) bool
	}{
		{"adapter", "vmhba1", func(p path) bool { return strings.HasPrefix(p.Name, "vmhba1:") }},
		{"portal", portal, func(p path) bool { return p.Portal == portal }},
		{"target", strings.ToUpper(iqn) + "b", func(p path) bool { return strings.HasSuffix(p.Target, ":b") }},
		{"lun", "2-7", isOther},
		{"path", third, func(p path) bool { return p.Name == third }},
		{"identity", identity, isOther},
		{"vendor", "AC*", isOther},
		{"product", "SECRET DISK", isOther},
		{"revision", "0103", isOther},
	} {
		want := of(tt.match)
		if len(want) == 0 {
			t.Fatalf("%s: matches nothing in %+v", tt.key, paths)
		}
		dry := b.rule(t, "check", "100", "mask", "--"+tt.key, tt.value)
		if got := names(dry.Hides); !slices.Equal(got, want) || dry.Applied || dry.Conflict != "" {
			t.Errorf("%s: the dry run hides %v, want %v (%q)", tt.key, got, want, dry.Conflict)
		}
		mark := b.g.Events.Mark()
		if done := b.rule(t, "add", "100", "mask", "--"+tt.key, tt.value); !slices.Equal(names(done.Hides), want) || !done.Applied {
			t.Errorf("%s: %+v", tt.key, done)
		}
		b.settle(t, want)
		b.g.Events.WaitN(t, mark, len(want), patient, gate.Kind("path-masked"))
		if _, err := c.WriteAt(bytes.Repeat([]byte{tt.key[0]}, 4096), 0); err != nil {
			t.Errorf("%s: write: %v", tt.key, err)
		}
		if back := b.rule(t, "remove", "100"); !slices.Equal(names(back.Shows), want) {
			t.Errorf("%s: the end shows %v, want %v", tt.key, names(back.Shows), want)
		}
		b.settle(t, nil)
		b.g.Events.WaitN(t, mark, len(want), patient, gate.Kind("path-unmasked"))
	}
	got := make([]byte, 4096)
	if _, err := c.ReadAt(got, 0); err != nil || got[0] != 'r' || got[4095] != 'r' {
		t.Errorf("read: %v, %q", err, got[0])
	}
}

// TestUse: a use rule before a mask of everything keeps what it names; the rules of the
// file and of the command line are one list, and a restart keeps both.
func TestUse(t *testing.T) {
	b := newBed(t, gate.Config{Claims: []string{`{number: 900, action: mask, lun: 2}`}})
	root := []string{}
	for name, p := range b.waitAll(t) {
		if strings.HasSuffix(p.Target, ":a") && p.LUN == 1 {
			root = append(root, name)
		}
	}
	b.rule(t, "add", "50", "use", "--lun", "1", "--target", iqn+"a")
	done := b.rule(t, "add", "60", "mask", "--path", "*")
	if len(done.Hides) != 4 || len(done.Devices) != 1 || len(done.Devices[0].Disks) != 0 {
		t.Errorf("a mask of all: %+v", done)
	}
	var masked []string
	for name := range b.all(t) {
		if !slices.Contains(root, name) {
			masked = append(masked, name)
		}
	}
	b.settle(t, masked)
	b.g.Kill()
	if err := b.g.Start(); err != nil {
		t.Fatal(err)
	}
	b.settle(t, masked)
	c := b.g.Connect(t, "vm1/root")
	if _, err := c.WriteAt(make([]byte, 4096), 0); err != nil {
		t.Error(err)
	}
	if out := b.g.MustCLI(t, "rule", "list"); !strings.Contains(out, "runtime") || !strings.Contains(out, "config") || strings.Count(out, "\n") != 5 {
		t.Errorf("rule list:\n%s", out)
	}
	if out := b.g.MustCLI(t, "rule", "check"); !strings.Contains(out, "rule 60 mask path=*: 16 paths" /* with LUN 0 */) {
		t.Errorf("rule check:\n%s", out)
	}
}

// waitAll waits until there are all paths, masked or up.
func (b *bed) waitAll(t *testing.T) (got map[string]path) {
	t.Helper()
	if !gate.Poll(patient, func() bool {
		got = b.all(t)
		for _, p := range got {
			if p.Health != "up" && p.Health != "masked" {
				return false
			}
		}
		return len(got) == total
	}) {
		t.Fatalf("paths: %+v", got)
	}
	return got
}

// TestRefusal: a mask that takes vm1/root its last path is refused, and names disk and
// VM; forced, its I/O waits, and goes on when the mask ends.
func TestRefusal(t *testing.T) {
	b := newBed(t, gate.Config{})
	b.settle(t, nil)
	c := b.g.Connect(t, "vm1/root")
	args := []string{"rule", "add", "100", "mask", "--target", iqn + "a", "--lun", "1"}
	_, err := b.g.CLI(t.Context(), args...)
	if err == nil || !strings.Contains(err.Error(), "disk vm1/root of VM vm1") || !strings.Contains(err.Error(), "--force") {
		t.Fatalf("got %v", err)
	}
	b.settle(t, nil)
	dry := b.rule(t, append(args[1:], "--dry-run")...)
	if !strings.Contains(dry.Conflict, "vm1/root") || len(dry.Devices) != 1 || dry.Devices[0].Loses != "last path" || dry.Devices[0].Disks[0].VM != "vm1" {
		t.Errorf("dry run: %+v", dry)
	}
	mark := b.g.Events.Mark()
	done := b.rule(t, append(args[1:], "--force")...)
	b.settle(t, names(done.Hides))
	b.g.Events.Wait(t, mark, patient, gate.Kind("all-paths-down"))
	wrote := make(chan error, 1)
	go func() {
		_, err := c.WriteAt(bytes.Repeat([]byte{7}, 4096), 0)
		wrote <- err
	}()
	b.g.WaitDisks(t, patient, func(ds []gate.Disk) bool { return ds[0].Outstanding > 0 })
	select {
	case err := <-wrote:
		t.Fatalf("a write over masked paths: %v", err)
	default:
	}
	b.rule(t, "remove", "100")
	if err := <-wrote; err != nil {
		t.Error(err)
	}
	b.settle(t, nil)
}

// TestMaskedGetsNothing: a LUN that is masked by what is known of it beforehand gets no
// command at all, one that INQUIRY tells of gets that only; so after a restart.
func TestMaskedGetsNothing(t *testing.T) {
	secret := scripted.NewUnit(8 * mib)
	secret.Vendor = "SECRET"
	tg := scripted.New(t, scripted.Options{
		Portals: []scripted.Portal{{}, {}},
		Units:   map[uint16]*scripted.Unit{1: scripted.NewUnit(8 * mib), 2: scripted.NewUnit(8 * mib), 3: secret},
	})
	var early, inquiries, late atomic.Int64
	count := func(n *atomic.Int64) scripted.Action { return func(c *scripted.Command) { n.Add(1); c.Run() } }
	tg.On(scripted.Rule{LUNs: []uint16{2}, Do: count(&early)})
	tg.On(scripted.Rule{LUNs: []uint16{3}, Ops: []scsi.Opcode{scsi.OpInquiry}, Do: count(&inquiries)})
	tg.On(scripted.Rule{LUNs: []uint16{3}, Do: count(&late)})
	g := gate.New(t, gate.Config{
		Targets: []gate.Target{{Portals: tg.Addresses()}},
		Claims:  []string{`{number: 10, action: mask, lun: 2}`, `{number: 20, action: mask, vendor: SEC*}`},
	})
	b := &bed{g: g}
	for range 2 {
		masked := []string{}
		for name, p := range b.waitAll(t) {
			if p.LUN > 1 {
				masked = append(masked, name)
			}
		}
		b.settle(t, masked)
		c := g.Connect(t, "vm1/root")
		if _, err := c.WriteAt(make([]byte, 4096), 0); err != nil {
			t.Error(err)
		}
		if _, err := g.CLI(context.Background(), "rescan"); err != nil {
			t.Error(err)
		}
		if early.Load() != 0 || late.Load() != 0 || inquiries.Load() == 0 {
			t.Errorf("%d commands to a masked LUN; %d beside %d INQUIRY to one that has to be asked", early.Load(), late.Load(), inquiries.Load())
		}
		g.Kill()
		if err := g.Start(); err != nil {
			t.Fatal(err)
		}
	}
}
