// SPDX-License-Identifier: Apache-2.0

//go:build integration

package selectors

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/nbdclient"
	"pathgate/integration/proxy"
	"pathgate/integration/tgtd"
)

const (
	mib = 1 << 20
	// chunk is the length of a request, far above what a path's checks need.
	chunk = 64 << 10
	// noise is what may be on a path beside requests.
	noise = chunk / 2
	// patience bounds waits for what has no time of its own.
	patience = 60 * time.Second
)

func TestMain(m *testing.M) { os.Exit(gate.Main(m)) }

// bed is a gateway with a LUN over two paths: path i is vmhba<i>:<i>:1, through
// proxy i. VM vm<p> has the priority p, and a part of the LUN.
type bed struct {
	t       *testing.T
	proxies []*proxy.Proxy
	g       *gate.Gate
	device  string
}

// newBed starts targets, proxies and gateway, and waits until all paths are used.
func newBed(t *testing.T, selector string, priorities ...int) *bed {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "selectors-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := tgtd.New(t, tgtd.Options{
		Portals: []string{"127.0.0.1:0", "127.0.0.1:0"},
		Targets: []tgtd.Target{{Name: "iqn.2026-11.test:selectors", LUNs: []tgtd.LUN{{
			File: filepath.Join(dir, "lun"), SizeBytes: 16 * mib, SCSIID: "pathgate-selectors-1", SCSISN: "selectors1",
		}}}},
	})
	b := &bed{t: t, g: gate.Make(t, gate.Config{})}
	for _, portal := range s.Portals() {
		b.proxies = append(b.proxies, proxy.MustNew(t, proxy.Options{Target: portal, Protocol: proxy.ISCSI, Seed: 1}))
	}
	if err := os.WriteFile(b.g.Path("config.yaml"), []byte(b.config(selector, priorities)), 0o600); err != nil {
		t.Fatal(err)
	}
	b.start(len(priorities))
	return b
}

// start starts the gateway and waits until all paths are used and all disks are there.
func (b *bed) start(disks int) {
	b.t.Helper()
	if err := b.g.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.g.WaitUp(b.t, len(b.proxies), patience)
	b.g.WaitDisks(b.t, patience, func(ds []gate.Disk) bool {
		return len(ds) == disks && !slices.ContainsFunc(ds, func(d gate.Disk) bool { return !d.Available })
	})
	b.device = b.g.Devices(b.t)[0].Name
}

func (b *bed) config(selector string, priorities []int) string {
	var s strings.Builder
	p := func(format string, a ...any) { fmt.Fprintf(&s, format+"\n", a...) }
	p("state: %s\ncontrol: unix:%s\ninitiator: iqn.2026-11.test:selectors", b.g.Path("state"), b.g.Path("control.sock"))
	p("adapters:")
	for i := range b.proxies {
		p("  - {name: vmhba%d, address: 127.0.0.%d}", i, i+1)
	}
	p("targets:")
	for i, x := range b.proxies {
		p("  - {portals: [%q], adapters: [vmhba%d]}", x.Addr(), i)
	}
	// A path that a test makes slow is to be left by the selector alone.
	p("luns: [{id: \"*\", selector: %s, all-paths-down: queue, cache: protected, marginal: {losses: 0, request-errors: 0, slow: 0}}]", selector)
	p("vms:")
	for i, n := range priorities {
		p("  - {name: vm%d, priority: %d, disks: [{name: root, lun: \"vmhba0:0:1\", offset: %dMiB, size: 4MiB}]}", n, n, 4*i)
	}
	p("nbd: {listen: [\"unix:%s\"]}", b.g.Path("nbd.sock"))
	p("timeouts: {failback: 100ms}")
	return s.String()
}

func path(i int) string { return fmt.Sprintf("vmhba%d:%d:1", i, i) }

// traffic is the payload that a path carried.
type traffic struct{ read, written, commands int64 }

// carried is what all paths have carried so far.
func (b *bed) carried() (list []traffic) {
	for _, p := range b.proxies {
		c := p.Counters()
		list = append(list, traffic{c.ToClient.DataBytes, c.ToTarget.DataBytes, c.PDUs(proxy.SCSICommand)})
	}
	return list
}

// during is what each path carries while f runs.
func (b *bed) during(f func()) []traffic {
	before := b.carried()
	f()
	list := b.carried()
	for i, o := range before {
		list[i].read -= o.read
		list[i].written -= o.written
		list[i].commands -= o.commands
	}
	return list
}

// reads makes n reads, depth at a time.
func (b *bed) reads(c *nbdclient.Client, n, depth int) {
	b.t.Helper()
	b.each(n, depth, func(i int) error {
		_, err := c.ReadAt(make([]byte, chunk), int64(i%32)*chunk)
		return err
	})
}

func (b *bed) writes(c *nbdclient.Client, n, depth int) {
	b.t.Helper()
	b.each(n, depth, func(i int) error {
		_, err := c.WriteAt(make([]byte, chunk), int64(i%32)*chunk)
		return err
	})
}

func (b *bed) each(n, depth int, f func(i int) error) {
	b.t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, depth)
	for w := range depth {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += depth {
				errs[w] = f(i)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			b.t.Fatal(err)
		}
	}
}

// near checks bytes against a number of requests; the noise is left out.
func (b *bed) near(what string, got int64, requests int) {
	b.t.Helper()
	if want := int64(requests) * chunk; got < want || got > want+noise {
		b.t.Errorf("%s: %d bytes, want %d requests (%d bytes) and at most %d more", what, got, requests, want, noise)
	}
}

// cut loses a path, and waits until it is known to be down.
func (b *bed) cut(i int) {
	b.t.Helper()
	b.proxies[i].MustSet(proxy.Fault{Kind: proxy.Refuse})
	b.proxies[i].ResetConns()
	b.g.WaitPaths(b.t, patience, func(ps []gate.Path) bool {
		return slices.ContainsFunc(ps, func(p gate.Path) bool { return p.Name == path(i) && p.Health == "down" })
	})
}

// mend lets the path come back, and waits until it is used. It gives the time of the
// event that says so.
func (b *bed) mend(i int) time.Time {
	b.t.Helper()
	mark := b.g.Events.Mark()
	b.proxies[i].Clear(proxy.Refuse)
	e := b.g.Events.Wait(b.t, mark, patience, func(e gate.Event) bool { return e.Kind == "failback" && e.Path == path(i) })
	b.g.WaitUp(b.t, len(b.proxies), patience)
	return e.Time
}

// cliJSON decodes what a command prints.
func cliJSON[T any](b *bed, args ...string) (v T) {
	b.t.Helper()
	out := b.g.MustCLI(b.t, append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		b.t.Fatalf("pathgate %s: %v in %s", strings.Join(args, " "), err, out)
	}
	return v
}

// users are the VMs of each path, as `path list` shows them.
func (b *bed) users() map[string][]string {
	b.t.Helper()
	m := map[string][]string{}
	for _, p := range cliJSON[[]struct {
		Name string
		VMs  []string
	}](b, "path", "list") {
		m[p.Name] = p.VMs
	}
	return m
}
