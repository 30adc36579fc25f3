// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/gateway/control"
	"pathgate/multipath"
)

// TestAdminEvents shows that the API gives every field of an event, in UTC.
func TestAdminEvents(t *testing.T) {
	g := &Gateway{bus: NewBus(BusOptions{})}
	g.bus.Publish(Event{
		Time: time.Date(2026, 11, 22, 11, 0, 0, 1e6, time.FixedZone("CET", 3600)), Kind: KindPathDown, Severity: SeverityWarning,
		VM: "vm1", Disk: "vm1/root", Device: "naa.1", Path: "vmhba0:0:1", Session: "s", Message: `reset "by" peer`,
		Attrs: []Attr{{"zulu", "1"}, {"alpha", "a\nb"}},
	})
	g.bus.Close()
	const want = `{"seq":1,"time":"2026-11-22T10:00:00.001Z","kind":"path-down","severity":"warning","vm":"vm1","disk":"vm1/root",` +
		`"device":"naa.1","path":"vmhba0:0:1","session":"s","message":"reset \"by\" peer","attrs":{"zulu":"1","alpha":"a\nb"}}`
	n := 0
	for e := range (*adminView)(g).Events(context.Background(), 0) {
		n++
		if b, err := json.Marshal(e); err != nil || string(b) != want {
			t.Errorf("got  %s (%v)\nwant %s", b, err, want)
		}
	}
	if n != 1 || (*adminView)(g).LastEvent() != 1 {
		t.Errorf("%d events, last %d", n, (*adminView)(g).LastEvent())
	}
}

// TestAdminFileDisk shows a gateway without targets: its VM, its disk, before and
// after the file is there, and what has gone over it.
func TestAdminFileDisk(t *testing.T) {
	dir := t.TempDir()
	image := filepath.Join(dir, "disk.img")
	cfg := mustParse(t, "vms: [{name: vm1, priority: 7, disks: [{name: root, file: "+image+", size: 1MiB}]}]")
	g, err := New(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	view := (*adminView)(g)
	if d := view.Disks()[0]; d.Available || d.Why == "" || d.File != image {
		t.Errorf("before attaching: %+v", d)
	}
	g.attachMissing()
	t.Cleanup(func() {
		if err := g.closeDisks(); err != nil {
			t.Error(err)
		}
	})
	if d := view.Disks()[0]; !d.Available || d.Why != "" || d.Size != 1<<20 || d.Name != "vm1/root" {
		t.Errorf("after attaching: %+v", d)
	}
	done := make(chan backends.Result, 1)
	r := &backends.Request{
		Op: backends.Write, Offset: 4096, Length: 8192,
		Completer: backends.CompleterFunc(func(_ *backends.Batch, _ *backends.Request, res backends.Result) { done <- res }),
	}
	r.Data.AppendZeros(8192)
	var b backends.Batch
	g.disks[0].Submit(&b, []*backends.Request{r})
	b.Run()
	if res := <-done; !res.OK() {
		t.Fatal(res.Err())
	}
	vm := view.VMs()[0]
	if vm.Writes != 1 || vm.BytesWritten != 8192 || vm.Priority != 7 || len(vm.Disks) != 1 || vm.Disks[0] != "vm1/root" || vm.Inflight != 0 {
		t.Errorf("VM after a write: %+v", vm)
	}
	if len(view.Paths()) != 0 || len(view.Devices()) != 0 {
		t.Error("paths without a target")
	}
	if err := view.SetPathEnabled("vmhba0:0:1", false); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("disabling a path that is not there: %v", err)
	}
}

// TestDeviceState: why a device has fewer paths than it should.
func TestDeviceState(t *testing.T) {
	for want, i := range map[string]multipath.DeviceInfo{
		"available":                            {Used: 2},
		"degraded 1 of 2 paths are used":       {Used: 1},
		"all-paths-down no path is usable":     {},
		"all-paths-down masked by rule 100":    {Masked: 100},
		"gone all paths say that the LUN does": {Gone: true, Masked: 100},
	} {
		state, reason := deviceState(&i, 2)
		if got := state + " " + reason; !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
