// SPDX-License-Identifier: Apache-2.0

//go:build integration

package operate

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/proxy"
	"pathgate/integration/tgtd"
)

const (
	mib    = 1 << 20
	target = "iqn.2026-11.test:operate"
	settle = 30 * time.Second
)

func TestMain(m *testing.M) { os.Exit(gate.Main(m)) }

// bed is a gateway with one LUN over two portals, each behind a proxy: two adapters make
// four paths, of which a proxy carries two.
type bed struct {
	t       *testing.T
	tgt     *tgtd.Server
	proxies []*proxy.Proxy
	g       *gate.Gate
	lun     string // the LUN's file
}

// newBed starts a bed and waits until all its paths are used.
func newBed(t *testing.T, c gate.Config, more ...string) *bed {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "operate-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &bed{t: t, lun: filepath.Join(dir, "lun")}
	b.tgt = tgtd.New(t, tgtd.Options{
		Portals: []string{"127.0.0.1:0", "127.0.0.1:0"},
		Targets: []tgtd.Target{{Name: target, LUNs: []tgtd.LUN{
			{File: b.lun, SizeBytes: 32 * mib, SCSIID: "pathgate-operate", SCSISN: "op1"},
		}}},
	})
	entry := gate.Target{More: more}
	for _, p := range b.tgt.Portals() {
		x := proxy.MustNew(t, proxy.Options{Target: p, Protocol: proxy.ISCSI, Seed: 1})
		b.proxies = append(b.proxies, x)
		entry.Portals = append(entry.Portals, x.Addr())
	}
	c.Targets = []gate.Target{entry}
	b.g = gate.New(t, c)
	b.settle()
	return b
}

// settle waits until all four paths are used and all disks are there.
func (b *bed) settle() {
	b.t.Helper()
	b.g.WaitUp(b.t, 4, settle)
	b.g.WaitDisks(b.t, settle, func(ds []gate.Disk) bool {
		for _, d := range ds {
			if !d.Available {
				return false
			}
		}
		return len(ds) > 0
	})
}

// cut breaks the paths behind proxy i, which accepts none until restore.
func (b *bed) cut(i int) {
	b.proxies[i].MustSet(proxy.Fault{Kind: proxy.Refuse})
	b.proxies[i].ResetConns()
}

func (b *bed) restore() {
	for _, p := range b.proxies {
		p.Clear()
	}
}

// path gives the path of that name.
func (b *bed) path(name string) (p gate.Path) {
	b.t.Helper()
	for _, p := range b.g.Paths(b.t) {
		if p.Name == name {
			return p
		}
	}
	b.t.Fatalf("no path %s", name)
	return p
}

// waitPath waits until ok says yes to the path of that name.
func (b *bed) waitPath(name string, ok func(gate.Path) bool) {
	b.t.Helper()
	b.g.WaitPaths(b.t, settle, func(list []gate.Path) bool {
		for _, p := range list {
			if p.Name == name {
				return ok(p)
			}
		}
		return false
	})
}

// decoded is what a command prints with -o json.
func decoded[T any](b *bed, args ...string) (v T) {
	b.t.Helper()
	out := b.g.MustCLI(b.t, append(args, "-o", "json")...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		b.t.Fatalf("%v: %v: %s", args, err, out)
	}
	return v
}
