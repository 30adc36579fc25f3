// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbdhosts

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/guest"
	"pathgate/integration/internal/port"
	"pathgate/integration/proxy"
	"pathgate/integration/tgtd"
)

//go:embed lib.sh
var library string

const (
	mib = 1 << 20
	// patience is how long a step may take: far above what it takes, so that a slow
	// machine is no failure.
	patience = 5 * time.Minute
)

func TestMain(m *testing.M) { os.Exit(gate.Main(m)) }

// bed is a gateway with a disk over two paths, and the proxy in front of it.
type bed struct {
	*gate.Gate
	dir   string // for files of disks
	store *tgtd.Server
	paths [2]*proxy.Proxy
	door  *proxy.Proxy // what guests connect to
}

// newBed starts a gateway with the disk vm1/root of two paths.
func newBed(t *testing.T) *bed { return newBedWith(t, func(*bed, *gate.Config, string) {}) }

// newBedWith lets more be configured; at is the address of the listener for guests.
// Another process may take its port first: then others are tried.
func newBedWith(t *testing.T, more func(b *bed, c *gate.Config, at string)) *bed {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "nbdhosts-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	srv := tgtd.New(t, tgtd.Options{
		Portals: []string{"127.0.0.1:0", "127.0.0.1:0"},
		Targets: []tgtd.Target{{Name: "iqn.2026-11.test:disk", LUNs: []tgtd.LUN{{
			File: filepath.Join(dir, "lun"), SizeBytes: 64 * mib, Thin: true, SCSIID: "pathgate-nbd-1", SCSISN: "nbd1",
		}}}},
	})
	b := &bed{dir: dir, store: srv}
	var target gate.Target
	for i, p := range srv.Portals() {
		b.paths[i] = proxy.MustNew(t, proxy.Options{Target: p, Protocol: proxy.ISCSI, Seed: 1})
		target.Portals = append(target.Portals, b.paths[i].Addr())
	}
	for range 5 {
		a, err := port.Free(netip.MustParseAddr("127.0.0.1"))
		if err != nil {
			t.Fatal(err)
		}
		c := gate.Config{TCP: `"` + a.String() + `"`, Targets: []gate.Target{target}}
		more(b, &c, a.String())
		b.Gate = gate.Make(t, c)
		err = b.Start()
		if err == nil {
			b.door = proxy.MustNew(t, proxy.Options{Target: a.String(), Seed: 1})
			b.available(t)
			return b
		}
		if !strings.Contains(err.Error(), "address already in use") {
			t.Fatal(err)
		}
	}
	t.Fatal("no free port")
	return nil
}

// available waits until every disk is there.
func (b *bed) available(t *testing.T) {
	t.Helper()
	b.WaitDisks(t, patience, func(ds []gate.Disk) bool {
		return len(ds) > 0 && !slices.ContainsFunc(ds, func(d gate.Disk) bool { return !d.Available })
	})
}

// restart ends the gateway as an administrator does, and starts it again.
func (b *bed) restart(t *testing.T) {
	t.Helper()
	if _, err := b.Terminate(patience); err != nil {
		t.Fatal(err)
	}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	b.available(t)
}

// clients waits until the disks have n connections.
func (b *bed) clients(t *testing.T, n int) {
	t.Helper()
	b.WaitDisks(t, patience, func(ds []gate.Disk) bool {
		sum := 0
		for _, d := range ds {
			sum += d.Connections
		}
		return len(ds) > 0 && sum == n
	})
}

// server is the door's address as a guest names it, in two words.
func (b *bed) server(t *testing.T) (host, port string) {
	t.Helper()
	_, port, err := net.SplitHostPort(b.door.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return "10.0.2.2", port
}

// host is a guest with the nbd driver.
type host struct{ *guest.Guest }

// boot starts a host.
func boot(t *testing.T) *host { return bootWith(t, nil) }

// bootWith starts one that has these files, content by path.
func bootWith(t *testing.T, files map[string]string) *host {
	t.Helper()
	tree, _, err := guest.Initiator()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"/lib.sh": library}
	maps.Copy(all, files)
	h := &host{guest.New(t, guest.Options{
		Script:   "mkdir -p /var/run\ndmesg -c >/run/boot.log",
		Modules:  []string{"nbd", "crc32c", "ext4"},
		Trees:    []string{tree},
		Programs: []string{"mkfs.ext4", "e2fsck", "resize2fs", gate.Binary(t)},
		Files:    all,
		Network:  true, Interactive: true, MemoryMB: 512, Timeout: patience, Append: "net.ifnames=0",
	})}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if r, err := h.Wait(ctx); err != nil || r.ExitCode != 0 {
		t.Fatalf("set-up in the guest: %v, status %d: %s", err, r.ExitCode, r.Output)
	}
	return h
}

// run runs a script, whose commands have to succeed, and gives what it prints.
func (h *host) run(t *testing.T, format string, args ...any) string {
	t.Helper()
	return h.status(t, 0, "set -e\n"+fmt.Sprintf(format, args...))
}

// status runs a script, which has to end with a status.
func (h *host) status(t *testing.T, want int, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := h.Exec(ctx, ". /lib.sh\n"+script)
	if err != nil || r.ExitCode != want {
		t.Fatalf("in the guest: %s: %v, status %d, want %d: %s\n%s", script, err, r.ExitCode, want, r.Output, h.Console())
	}
	return r.Output
}

// sees wants what the kernel takes a device for: its size in sectors, read-only, logical
// and physical block, cache, FUA, whether it discards, rotational (which Linux 6.1 does not
// take from the server) and its export.
func (h *host) sees(t *testing.T, device, want string) {
	t.Helper()
	if got := strings.TrimSpace(h.run(t, "seen %s", device)); got != want {
		t.Errorf("%s is %q, want %q", device, got, want)
	}
}

// checkFiles ends the writing, and finds every file as it was written.
func (h *host) checkFiles(t *testing.T, device string) {
	t.Helper()
	out := h.run(t, "files check %s", device)
	if n := strings.Count(out, "right\n"); n < 3 || strings.Contains(out, "wrong") {
		t.Errorf("%d files are right:\n%s", n, out)
	}
	if out := h.run(t, "errors"); out != "" {
		t.Errorf("the kernel complains:\n%s", out)
	}
	_, n, _ := strings.Cut(strings.TrimSpace(out), "written ")
	t.Logf("measured: %s files of 512 KiB written", n)
}

func demand(t *testing.T, out string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Errorf("%q is missing in:\n%s", w, out)
		}
	}
}
