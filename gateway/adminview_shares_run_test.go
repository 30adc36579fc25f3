// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pathgate/gateway/control"
)

// runGateway runs a configuration until stop, which may be called twice, and gives a
// client of its control API.
func runGateway(t *testing.T, text string) (c *control.Client, stop func()) {
	t.Helper()
	_, c, stop = startGateway(t, text)
	return c, stop
}

func startGateway(t *testing.T, text string) (g *Gateway, c *control.Client, stop func()) {
	t.Helper()
	cfg := mustParse(t, text)
	g = must[*Gateway](t)(New(cfg, Options{}))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(stop)
	select {
	case <-g.Ready():
	case err := <-done:
		done <- err
		t.Fatalf("Run: %v", err)
	}
	c = must[*control.Client](t)(control.Dial(cfg.Control.String()))
	t.Cleanup(c.Close)
	return g, c, stop
}

// attachedDisk waits until what is set for the disk is in force.
func attachedDisk(t *testing.T, c *control.Client) control.DiskShare {
	const disk = "vm1/root"
	t.Helper()
	deadline, tick := time.After(30*time.Second), time.NewTicker(2*time.Millisecond)
	defer tick.Stop()
	for {
		d := must[control.DiskShare](t)(c.DiskShare(t.Context(), disk))
		if len(d.Flows) == 1 && d.Flows[0].Effective != nil {
			return d
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s was not attached: %+v", disk, d)
		}
	}
}

// TestSharesOverRestart: what is set is in force when the answer comes, in the
// scheduler itself, and again after a restart; a reset is kept as well.
func TestSharesOverRestart(t *testing.T) {
	dir := t.TempDir()
	text := "state: " + dir + "\ncontrol: unix:" + filepath.Join(dir, "c.sock") + `
nbd: {listen: [unix:` + filepath.Join(dir, "n.sock") + `]}
vms: [{name: vm1, disks: [{name: root, file: ` + filepath.Join(dir, "disk.img") + `, size: 1MiB}]}]
`
	lun := FileDevice(filepath.Join(dir, "disk.img"))
	n := func(n int64) *int64 { return &n }
	ctx := t.Context()

	c, stop := runGateway(t, text)
	d := attachedDisk(t, c)
	if f := d.Flows[0]; f.LUN != lun || f.Effective.Shares != 1000 || f.Effective.Weight != 1000 || f.Effective.Priority != 5 {
		t.Errorf("at first: %+v, %+v", f, f.Effective)
	}
	before := d.Flows[0].Effective.Version
	d = must[control.DiskShare](t)(c.SetDiskShare(ctx, "vm1/root", control.ShareChange{
		Shares: n(4000), Limit: &control.ShareLimitChange{IOPS: n(500)}, ReserveIOPS: n(100),
	}))
	check := func(when string, d control.DiskShare) {
		t.Helper()
		e := d.Flows[0].Effective
		if e.Shares != 4000 || e.Weight != 4000 || e.Limit.IOPS != 500 || e.ReserveIOPS != 100 {
			t.Errorf("%s: in force %+v", when, e)
		}
		if want := []string{"shares", "reservation.iops", "limit.iops"}; !slices.Equal(d.Overridden, want) {
			t.Errorf("%s: set at run time %v, want %v", when, d.Overridden, want)
		}
	}
	check("with the answer", d)
	if after := d.Flows[0].Effective.Version; after <= before {
		t.Errorf("settings %d became %d", before, after)
	}
	must[control.VMShare](t)(c.SetVMShare(ctx, "vm1", control.VMShareChange{Priority: n(8)}))
	mode := "strict"
	l := must[control.ShareLUN](t)(c.SetLUNShare(ctx, lun, control.LUNShareChange{Mode: &mode, Depth: n(64)}))
	if l.Mode != "strict" || l.DepthCU != 64 || l.DepthMove != "fixed" {
		t.Errorf("LUN: %+v", l)
	}
	if _, err := c.SetDiskShare(ctx, "vm1/root", control.ShareChange{Limit: &control.ShareLimitChange{IOPS: n(50)}}); err == nil {
		t.Error("a limit below the reservation was taken")
	} else if e, ok := errors.AsType[*control.Error](err); !ok || e.Code != control.CodeBadRequest {
		t.Errorf("a limit below the reservation: %v", err)
	}
	stop()

	c, stop = runGateway(t, text)
	d = attachedDisk(t, c)
	check("after a restart", d)
	if p := d.Flows[0].Effective.Priority; p != 8 {
		t.Errorf("priority %d after a restart, want 8", p)
	}
	if l := must[control.ShareLUN](t)(c.ShareLUN(ctx, lun)); l.Mode != "strict" || l.DepthCU != 64 {
		t.Errorf("LUN after a restart: %+v", l)
	}
	d = must[control.DiskShare](t)(c.ResetDiskShare(ctx, "vm1/root"))
	must[control.VMShare](t)(c.ResetVMShare(ctx, "vm1"))
	must[control.ShareLUN](t)(c.ResetLUNShare(ctx, lun))
	if e := d.Flows[0].Effective; e.Shares != 1000 || e.Limit.IOPS != 0 || len(d.Overridden) != 0 {
		t.Errorf("after a reset: %+v", e)
	}
	stop()

	c, _ = runGateway(t, text)
	d = attachedDisk(t, c)
	if e := d.Flows[0].Effective; e.Shares != 1000 || e.Priority != 5 || len(d.Overridden) != 0 {
		t.Errorf("after a reset and a restart: %+v", e)
	}
	if l := must[control.ShareLUN](t)(c.ShareLUN(ctx, lun)); l.Mode != "work-conserving" || len(l.Overridden) != 0 {
		t.Errorf("LUN after a reset and a restart: %+v", l)
	}
}
