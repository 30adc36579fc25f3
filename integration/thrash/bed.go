// SPDX-License-Identifier: Apache-2.0

package thrash

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"pathgate/integration/gate"
	"pathgate/integration/proxy"
	"pathgate/integration/tgtd"
)

const (
	mib     = 1 << 20
	lunSize = 16 * mib
	target  = "iqn.2026-11.test:thrash"
)

// bed is what a round breaks.
type bed struct {
	plan    *Plan
	tgts    []*tgtd.Server
	proxies []*proxy.Proxy // by portal; none with links
	links   *network
	portals []string // as the gateway sees them
	file    string
	g       *gate.Gate
}

// networks counts the namespaces of this process, whose number is in the names of
// their cables.
var networks atomic.Uint32

// newBed builds the topology of a plan and waits until all paths are used.
func newBed(t testing.TB, p *Plan) *bed {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "thrash-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &bed{plan: p, file: filepath.Join(dir, "lun")}
	opts := tgtd.Options{Targets: []tgtd.Target{{Name: target, Digests: p.Digests, LUNs: []tgtd.LUN{{
		File: b.file, SizeBytes: lunSize, SCSIID: "pathgate-thrash", SCSISN: "thrash",
	}}}}}
	processes := 1
	switch p.Topology {
	case Links:
		id := uint16(os.Getpid()<<4) + uint16(networks.Add(1))
		b.links = newNetwork(t, id, p.Portals)
		opts.Prefix = b.links.enter()
		for _, far := range b.links.far {
			opts.Portals = append(opts.Portals, far+":3260")
		}
	case TwoTargets:
		processes = 2
		opts.Portals = []string{"127.0.0.1:0"}
	case OneTarget:
		for range p.Portals {
			opts.Portals = append(opts.Portals, "127.0.0.1:0")
		}
	}
	for range processes {
		s := tgtd.New(t, opts)
		b.tgts = append(b.tgts, s)
		for _, portal := range s.Portals() {
			if p.Topology != Links {
				px := proxy.MustNew(t, proxy.Options{Target: portal, Protocol: proxy.ISCSI, Seed: p.Seed})
				b.proxies = append(b.proxies, px)
				portal = px.Addr()
			}
			b.portals = append(b.portals, portal)
		}
	}
	b.g = gate.New(t, b.config())
	b.settle(t)
	return b
}

// config is short in its timers: a round has many faults.
func (b *bed) config() gate.Config {
	c := gate.Config{
		Unfenced: b.plan.Unfenced,
		Rules:    []string{fmt.Sprintf(`{id: "*", all-paths-down: queue, cache: protected, selector: %s}`, b.plan.Selector)},
		Timeouts: map[string]string{
			"nop-interval": "300ms", "nop-timeout": "500ms", "login": "3s", "fence-login": "1s",
			"abort": "500ms", "reset": "2s", "command": "4s", "request": "60s", "failback": "10ms",
		},
	}
	digest := "none"
	if b.plan.Digests {
		digest = "require"
	}
	more := []string{"header-digest: " + digest, "data-digest: " + digest}
	if b.links != nil {
		for i, portal := range b.portals {
			c.Adapters = append(c.Adapters, b.links.near[i])
			c.Targets = append(c.Targets, gate.Target{Portals: []string{portal}, More: append(more, fmt.Sprintf("adapters: [vmhba%d]", i))})
		}
		return c
	}
	c.Adapters = []string{"127.0.0.1", "127.0.0.2"}[:b.plan.Adapters]
	c.Targets = []gate.Target{{Portals: b.portals, More: more}}
	return c
}

// settle waits until all paths are used and nothing is left of any fault.
func (b *bed) settle(t testing.TB) {
	t.Helper()
	b.g.WaitUp(t, b.plan.paths(), settleLimit)
}

// behind are the names of the paths that lead to a portal.
func (b *bed) behind(t testing.TB, portal int) (names []string) {
	t.Helper()
	for _, p := range b.g.Paths(t) {
		if p.Portal == b.portals[portal] {
			names = append(names, p.Name)
		}
	}
	return names
}
