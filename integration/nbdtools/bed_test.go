// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbdtools

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/proxy"
	"pathgate/integration/tgtd"
)

const (
	mib      = 1 << 20
	diskSize = 64 * mib
	limit    = 2 * time.Minute // for whatever has to happen on a machine that does much else
)

func TestMain(m *testing.M) { os.Exit(gate.Main(m)) }

// bed is a gateway with two paths to a thin LUN with a write cache, each behind a proxy:
// disk vm1/root. Disk vm1/file is a file.
type bed struct {
	*gate.Gate
	tgt     *tgtd.Server
	proxies []*proxy.Proxy
	lun     string // the LUN's file
}

func newBed(t *testing.T) *bed {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "nbdtools-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &bed{lun: filepath.Join(dir, "lun")}
	b.tgt = tgtd.New(t, tgtd.Options{
		Portals: []string{"127.0.0.1:0", "127.0.0.1:0"},
		Targets: []tgtd.Target{{Name: "iqn.2026-11.test:nbdtools", LUNs: []tgtd.LUN{
			{File: b.lun, SizeBytes: diskSize, SCSIID: "pathgate-nbdtools", SCSISN: "nt1", Thin: true},
		}}},
	})
	var target gate.Target
	for _, p := range b.tgt.Portals() {
		x := proxy.MustNew(t, proxy.Options{Target: p, Protocol: proxy.ISCSI, Seed: 1})
		b.proxies = append(b.proxies, x)
		target.Portals = append(target.Portals, x.Addr())
	}
	b.Gate = gate.New(t, gate.Config{
		Adapters: []string{"127.0.0.1"},
		Targets:  []gate.Target{target},
		Rules:    []string{`{id: "*", all-paths-down: queue, cache: volatile}`},
		Disks: []string{
			`{name: root, lun: "vmhba0:0:1"}`,
			fmt.Sprintf(`{name: file, file: %q, size: %d}`, filepath.Join(dir, "file"), diskSize),
		},
	})
	b.settle(t)
	return b
}

// settle waits until both paths are used and the disks are there.
func (b *bed) settle(t *testing.T) {
	t.Helper()
	b.WaitUp(t, 2, limit)
	b.WaitDisks(t, limit, func(ds []gate.Disk) bool { return len(ds) == 2 && ds[0].Available && ds[1].Available })
}

// path is the name of the path behind proxy i.
func (b *bed) path(t *testing.T, i int) string {
	t.Helper()
	for _, p := range b.Paths(t) {
		if p.Portal == b.proxies[i].Addr() {
			return p.Name
		}
	}
	t.Fatalf("no path goes through proxy %d", i)
	return ""
}

// tool runs a program and gives its standard output; anything but status 0 within limit
// fails the test.
func tool(t *testing.T, prog string, args ...string) string {
	t.Helper()
	out, err := try(t, prog, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// try is tool for programs that may fail.
func try(t *testing.T, prog string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, prog, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("%s %s does not end:\n%s%s", prog, strings.Join(args, " "), out.String(), errs.String())
	}
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s%s", prog, strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String(), err
}

// decoded is what a program prints as JSON.
func decoded[T any](t *testing.T, prog string, args ...string) (v T) {
	t.Helper()
	out := tool(t, prog, args...)
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		t.Fatalf("%s: %v in %s", prog, err, out)
	}
	return v
}
