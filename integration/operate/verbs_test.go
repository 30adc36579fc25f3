// SPDX-License-Identifier: Apache-2.0

//go:build integration

package operate

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/proxy"
)

// TestPA17FailAndReinstate: a path that is failed under load is left at once without an
// error, comes back by itself, or, if it is held, when it is reinstated; each verb is an
// event with who asked for it.
func TestPA17FailAndReinstate(t *testing.T) {
	b := newBed(t, gate.Config{})
	load := gate.StartProbe(0, 8*mib, 4, b.g.Connect(t, "vm1/root"))
	name := b.g.Paths(t)[0].Name
	mark := b.g.Events.Mark()
	if out := b.g.MustCLI(t, "path", "fail", name); !strings.Contains(out, "health down") {
		t.Errorf("path fail printed %q", out)
	}
	e := b.g.Events.Wait(t, mark, settle, gate.Kind("operator"))
	if e.Path != name || e.Attrs["verb"] != "path fail" || e.Attrs["uid"] != fmt.Sprint(os.Getuid()) || e.Attrs["pid"] == "" {
		t.Errorf("told %v", e)
	}
	b.g.Events.Wait(t, mark, settle, func(e gate.Event) bool { return e.Kind == "path-down" && e.Path == name })
	b.waitPath(name, func(p gate.Path) bool { return p.Health == "up" && p.Used && p.Generation == 1 })

	b.g.MustCLI(t, "path", "fail", "--hold", name)
	shown := decoded[struct {
		Health, Reason string
		Held           bool
		History        []struct{ Health string }
	}](b, "path", "show", name)
	n := len(shown.History)
	if shown.Health != "down" || !shown.Held || n < 4 || shown.History[n-1].Health != "down" || shown.History[0].Health != "up" {
		t.Errorf("shown: %+v", shown)
	}
	b.g.MustCLI(t, "rescan", "--wait") // it proves all paths but those that are held
	if p := b.path(name); p.Health != "down" || p.Used {
		t.Errorf("held, after a rescan: %+v", p)
	}
	b.g.MustCLI(t, "path", "reinstate", name)
	if p := b.path(name); p.Health != "up" || !p.Used {
		t.Errorf("reinstated: %+v", p)
	}
	b.g.Events.Wait(t, mark, settle, func(e gate.Event) bool { return e.Attrs["verb"] == "path reinstate" && e.Path == name })

	b.g.MustCLI(t, "path", "disable", name)
	if _, err := b.g.CLI(t.Context(), "path", "reinstate", name); err == nil || !strings.Contains(err.Error(), name+": it is disabled; enable it first") {
		t.Errorf("reinstating what is disabled: %v", err)
	}
	b.g.MustCLI(t, "path", "enable", name)
	b.settle()
	for _, err := range load.Stop() {
		t.Errorf("under load: %v", err)
	}
}

// TestPA17FailOfAHungPath: what is in flight on a path that does not answer moves as it
// is failed, not when a timer finds out.
func TestPA17FailOfAHungPath(t *testing.T) {
	// The timers alone would take a minute.
	b := newBed(t, gate.Config{Timeouts: map[string]string{"nop-interval": "30s", "nop-timeout": "30s", "command": "60s", "request": "2m"}})
	c := b.g.Connect(t, "vm1/root")
	b.proxies[0].MustSet(proxy.Fault{Kind: proxy.BlackHole})
	done := make(chan error, 16)
	for i := range cap(done) {
		go func() {
			_, err := c.ReadAt(make([]byte, 4096), int64(i)*4096)
			done <- err
		}()
	}
	b.g.WaitDevices(t, settle, func([]gate.Device) bool { return len(done) > 0 && c.InFlight() > 0 })
	begin := time.Now()
	for _, p := range b.g.Paths(t) {
		if p.Portal == b.proxies[0].Addr() {
			b.g.MustCLI(t, "path", "fail", p.Name)
		}
	}
	for range cap(done) {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("a read still waits for the path that was failed")
		}
	}
	t.Logf("measured: two hung paths failed by hand, all reads done %v after that began", time.Since(begin).Round(time.Millisecond))
	b.proxies[0].Clear()
}

// TestPA17RescanFindsALUN: a rescan by hand finds a LUN that is new, and says so.
func TestPA17RescanFindsALUN(t *testing.T) {
	b := newBed(t, gate.Config{})
	file := b.g.Path("second")
	if err := os.WriteFile(file, make([]byte, 8*mib), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := b.tgt.Admin(t.Context(), "--lld", "iscsi", "--mode", "logicalunit", "--op", "new", "--tid", "1", "--lun", "7", "--backing-store", file); err != nil {
		t.Fatal(err)
	}
	res := decoded[struct {
		Sessions int
		Found    []string
		Answered bool
	}](b, "rescan", "--wait")
	if res.Sessions != 4 || !res.Answered || len(res.Found) != 4 {
		// tgtd tells of it by a unit attention, too, so that some may be there before.
		b.g.WaitPaths(t, settle, func(list []gate.Path) bool { return len(list) == 8 })
	}
	if res.Sessions != 4 || !res.Answered {
		t.Errorf("rescan: %+v", res)
	}
	if _, err := b.g.CLI(t.Context(), "rescan", "--adapter", "vmhba7"); err == nil || !strings.Contains(err.Error(), "adapter vmhba7: no such adapter") {
		t.Errorf("rescan of an adapter that is not there: %v", err)
	}
}

// TestOB1Topology: the tree has the device with its rules, the groups, the paths and the
// disks, for people and as JSON.
func TestOB1Topology(t *testing.T) {
	b := newBed(t, gate.Config{Disks: []string{`{name: root, lun: "vmhba0:0:1", size: 16MiB}`, `{name: data, lun: "vmhba0:0:1", offset: 16MiB, all-paths-down: 25s}`}})
	tree := b.g.MustCLI(t, "device", "topology")
	for _, want := range []string{
		"vmhba0:0:1 ", "IET,VIRTUAL-DISK", "all-paths-down=queue", "hwhandler='0'", "fencing=", "policy='service-time' prio=50 access=optimized status=active",
		"| |- vmhba0:0:1 " + b.proxies[0].Addr() + " up optimized used", "|- disk vm1/root 16MiB all-paths-down=queue", "`- disk vm1/data 16MiB all-paths-down=25s",
	} {
		if !strings.Contains(tree, want) {
			t.Errorf("no %q in\n%s", want, tree)
		}
	}
	list := decoded[[]struct {
		Device gate.Device
		Groups []struct {
			Status string
			Paths  []gate.Path
		}
		Disks []struct{ Disk, VM string }
	}](b, "device", "topology", b.g.Devices(t)[0].Identity)
	if len(list) != 1 || len(list[0].Groups) != 1 || len(list[0].Groups[0].Paths) != 4 || len(list[0].Disks) != 2 || list[0].Disks[0].VM != "vm1" {
		t.Errorf("as JSON: %+v", list)
	}
}
