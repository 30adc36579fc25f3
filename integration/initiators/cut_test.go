// SPDX-License-Identifier: Apache-2.0

//go:build integration

package initiators

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/proxy"
	"pathgate/integration/stamp"
	"pathgate/integration/tgtd"
)

// TestQEMUUnderPathCuts: QEMU's initiator writes and reads stamps while the paths of
// its disk are reset one after the other, and sees none of it.
func TestQEMUUnderPathCuts(t *testing.T) {
	const name = "iqn.2026-11.test:disk"
	dir, err := os.MkdirTemp("/dev/shm", "initiators-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "lun")
	srv := tgtd.New(t, tgtd.Options{
		Portals: []string{"127.0.0.1:0", "127.0.0.1:0"},
		Targets: []tgtd.Target{{Name: name, LUNs: []tgtd.LUN{{File: file, SizeBytes: 32 * mib, SCSIID: "pathgate-init-1", SCSISN: "init1"}}}},
	})
	var proxies []*proxy.Proxy
	target := gate.Target{}
	for _, p := range srv.Portals() {
		x := proxy.MustNew(t, proxy.Options{Target: p, Protocol: proxy.ISCSI, Seed: 1})
		proxies = append(proxies, x)
		target.Portals = append(target.Portals, x.Addr())
	}
	g, portals := start(t, gate.Config{Targets: []gate.Target{target}}, 1)
	up := func() { t.Helper(); g.WaitUp(t, 4, time.Minute) }
	up()
	c := qemu(t, "iscsi://"+portals[0]+"/"+prefix+"vm1/0")

	checker, err := stamp.New(stamp.Config{Size: 8 * mib, Writers: 4, Seed: 7, MaxIO: 64 << 10, FUA: 5, Flushes: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var rep *stamp.Report
	done := make(chan error, 1)
	go func() {
		var err error
		rep, err = checker.Run(ctx, c)
		done <- err
	}()
	flow := func() {
		t.Helper()
		for _, p := range proxies {
			from := p.Counters().ToTarget.Bytes
			if err := p.Wait(func(c proxy.Counters) bool { return c.ToTarget.Bytes > from+mib }, time.Minute); err != nil {
				t.Fatalf("no load: %v", err)
			}
		}
	}
	for _, p := range proxies {
		flow()
		mark := g.Events.Mark()
		p.MustSet(proxy.Fault{Kind: proxy.Reset})
		g.Events.Wait(t, mark, time.Minute, gate.Kind("path-down"))
		up()
	}
	flow()
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if rep.Errors != 0 || rep.Violations != 0 || rep.Writes.Ops == 0 {
		t.Errorf("stamps: %v", rep)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if bad, err := checker.Verify(f); err != nil || len(bad) != 0 {
		t.Errorf("backing file: %v, %v", bad, err)
	}
	t.Logf("measured: %d reads, %d writes over iSCSI under 2 resets, longest stall %v", rep.Reads.Ops, rep.Writes.Ops, rep.Stall.Gap.Round(time.Millisecond))
}
