// SPDX-License-Identifier: Apache-2.0

//go:build integration

package detect

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/proxy"
	"pathgate/integration/stamp"
	"pathgate/integration/tgtd"
)

// TestPA9OneOfFour: of four paths that carry 1 MiB/s each, one swallows everything.
// The others carry what three healthy ones do, within 5 %, while it is tried again and
// again.
func TestPA9OneOfFour(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "detect-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := tgtd.New(t, tgtd.Options{
		Portals: []string{"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"},
		Targets: []tgtd.Target{{Name: "iqn.2026-11.test:disk", LUNs: []tgtd.LUN{{File: filepath.Join(dir, "lun"), SizeBytes: lunSize}}}},
	})
	var ps []*proxy.Proxy
	var portals []string
	for _, portal := range s.Portals() {
		p := proxy.MustNew(t, proxy.Options{Target: portal, Protocol: proxy.ISCSI, Seed: 1})
		ps, portals = append(ps, p), append(portals, p.Addr())
	}
	g := gate.New(t, gate.Config{
		Adapters: []string{"127.0.0.1"}, Targets: []gate.Target{{Portals: portals}},
		Timeouts: map[string]string{"failback": "10ms", "nop-interval": "200ms", "nop-timeout": "500ms"},
	})
	g.WaitUp(t, 4, long)
	g.WaitDisks(t, long, func(ds []gate.Disk) bool { return len(ds) > 0 && ds[0].Available })
	for _, p := range ps {
		p.MustSet(proxy.Fault{Kind: proxy.Rate, BytesPerSecond: mib})
	}
	var clients []stamp.Target
	for range 4 {
		clients = append(clients, g.Connect(t, "vm1/root"))
	}
	p := gate.StartProbe(0, 32*mib, 48, clients...)
	t.Cleanup(func() {
		if errs := p.Stop(); len(errs) > 0 {
			t.Errorf("%d requests failed: %v", len(errs), errs[0])
		}
	})
	const name = "vmhba0:3:1"
	health := func(want string) {
		path(t, g, name, func(p gate.Path) bool { return p.Health == want && p.Used == (want == "up") })
	}
	rate := func() float64 { // requests a second
		warm := p.Done()
		if !gate.Poll(long, func() bool { return p.Done() > warm+500 }) {
			t.Fatal("the load stands still")
		}
		from, at := p.Done(), time.Now()
		<-time.After(2 * time.Second)
		return float64(p.Done()-from) / time.Since(at).Seconds()
	}
	// The machine has other things to do: a pair that it disturbed is measured again.
	var ratio float64
	for range 4 {
		g.MustCLI(t, "path", "disable", name)
		health("disabled")
		three := rate()
		g.MustCLI(t, "path", "enable", name)
		health("up")
		ps[3].MustSet(proxy.Fault{Kind: proxy.BlackHole})
		health("down")
		sick := rate()
		if ps[3].Counters().Fault(proxy.BlackHole).Bytes == 0 {
			t.Error("nothing was swallowed")
		}
		ps[3].Clear(proxy.BlackHole)
		health("up")
		ratio = sick / three
		t.Logf("measured: three paths %.0f requests/s, four with one black hole %.0f, %.1f %%", three, sick, 100*ratio)
		if ratio >= 0.95 {
			return
		}
	}
	t.Errorf("with one black hole of four: %.1f %% of three healthy paths", 100*ratio)
}
