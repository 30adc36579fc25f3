// SPDX-License-Identifier: Apache-2.0

//go:build integration

package alua

import (
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/proxy"
	"pathgate/integration/tgtd"
)

// twoPaths is a gateway on tgtd with two paths, each over a proxy.
func twoPaths(t *testing.T, rule string) (*gate.Gate, []*proxy.Proxy) {
	t.Helper()
	srv := tgtd.New(t, tgtd.Options{
		Portals: []string{"127.0.0.1:0", "127.0.0.1:0"},
		Targets: []tgtd.Target{{Name: "iqn.2026-11.test:failback", LUNs: []tgtd.LUN{{SizeBytes: 64 * mib}}}},
	})
	var proxies []*proxy.Proxy
	var portals []string
	for _, p := range srv.Portals() {
		x := proxy.MustNew(t, proxy.Options{Target: p, Protocol: proxy.ISCSI, Seed: 1})
		proxies, portals = append(proxies, x), append(portals, x.Addr())
	}
	g := gate.New(t, gate.Config{
		Adapters: []string{"127.0.0.1"}, Targets: []gate.Target{{Portals: portals}},
		Rules: []string{"{" + queue + ", failback: " + rule + "}"}, Disks: []string{`{name: root, lun: "vmhba0:0:1"}`},
	})
	g.WaitUp(t, 2, patience)
	g.WaitDisks(t, patience, func(ds []gate.Disk) bool { return len(ds) > 0 && ds[0].Available })
	return g, proxies
}

// lose resets the first path and waits until it is there again, on probation or up.
func lose(t *testing.T, g *gate.Gate, p *proxy.Proxy) {
	t.Helper()
	mark := g.Events.Mark()
	p.ResetConns()
	g.Events.Wait(t, mark, patience, gate.Kind("path-down"))
	g.Events.Wait(t, mark, patience, gate.Kind("path-up"))
}

// Each failback mode brings a path back under its own condition, and not before.
func TestFailback(t *testing.T) {
	t.Run("immediate", func(t *testing.T) {
		g, p := twoPaths(t, "immediate")
		lose(t, g, p[0])
		g.WaitUp(t, 2, patience)
	})
	t.Run("delayed", func(t *testing.T) {
		g, p := twoPaths(t, "2s")
		mark := g.Events.Mark()
		lose(t, g, p[0])
		up := g.Events.Wait(t, mark, patience, gate.Kind("path-up"))
		back := g.Events.Wait(t, mark, patience, gate.Kind("failback"))
		if d := back.Time.Sub(up.Time); d < 1900*time.Millisecond {
			t.Errorf("used again after %v", d)
		}
	})
	t.Run("manual", func(t *testing.T) {
		g, p := twoPaths(t, "manual")
		lose(t, g, p[0])
		var name string
		g.WaitPaths(t, patience, func(list []gate.Path) bool {
			for _, x := range list {
				if x.Health == "marginal" && x.Reason == "on probation, waits for path reinstate" {
					name = x.Name
				}
			}
			return name != ""
		})
		mark := g.Events.Mark()
		g.MustCLI(t, "path", "reinstate", name)
		g.WaitUp(t, 2, patience)
		g.Events.Wait(t, mark, patience, gate.Kind("failback"))
	})
	t.Run("conditional", func(t *testing.T) {
		g, p := twoPaths(t, "{quiet: 1s}")
		l := startLoad(t, g, p)
		g.WaitPaths(t, patience, func(list []gate.Path) bool { return list[0].Writes > 50 && list[1].Writes > 50 })
		lose(t, g, p[0])
		g.WaitPaths(t, patience, func(list []gate.Path) bool {
			for _, x := range list {
				if x.Reason == "on probation, waits for less load" {
					return true
				}
			}
			return false
		})
		mark := g.Events.Mark()
		if n := len(g.Events.Since(0, gate.Kind("failback"))); n != 0 {
			t.Errorf("%d failbacks under load", n)
		}
		l.stop(t)
		g.Events.Wait(t, mark, patience, gate.Kind("failback"))
		g.WaitUp(t, 2, patience)
	})
}
