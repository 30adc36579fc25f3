// SPDX-License-Identifier: Apache-2.0

//go:build integration

package hosts

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
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

//go:embed setup.sh
var setup string

//go:embed lib.sh
var library string

const (
	mib    = 1 << 20
	prefix = "iqn.2026-11.internal.pathgate:"
	vm1    = prefix + "vm1"
	// patience is how long a step may take: far above what it takes, so that a slow
	// machine is no failure.
	patience = 5 * time.Minute
)

func TestMain(m *testing.M) { os.Exit(gate.Main(m)) }

// start starts a gateway that listens at n portals, which it gives. Another process may
// take one of them first: then others are tried.
func start(t *testing.T, c gate.Config, n int) (*gate.Gate, []string) {
	t.Helper()
	var err error
	for range 5 {
		var list []string
		for range n {
			a, err := port.Free(netip.MustParseAddr("127.0.0.1"))
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, a.String())
		}
		c.ISCSI = fmt.Sprintf(`{listen: ["%s"]}`, strings.Join(list, `", "`))
		g := gate.Make(t, c)
		if err = g.Start(); err == nil {
			return g, list
		}
		if !strings.Contains(err.Error(), "address already in use") {
			break
		}
	}
	t.Fatal(err)
	return nil, nil
}

// available waits until the gateway has n disks, all there.
func available(t *testing.T, g *gate.Gate, n int) {
	t.Helper()
	g.WaitDisks(t, time.Minute, func(ds []gate.Disk) bool {
		there := 0
		for _, d := range ds {
			if d.Available {
				there++
			}
		}
		return there == n
	})
}

// nobody waits until no client is left.
func nobody(t *testing.T, g *gate.Gate) {
	t.Helper()
	list := ""
	if !gate.Poll(patience, func() bool {
		list = g.MustCLI(t, "session", "list", "-o", "json")
		return list == "[]\n"
	}) {
		t.Errorf("sessions stay: %s", list)
	}
}

// array is a tgtd with one LUN at two portals, each behind a proxy.
type array struct {
	file    string
	proxies []*proxy.Proxy
	target  gate.Target
}

func newArray(t *testing.T, l tgtd.LUN) *array {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "hosts-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	a := &array{file: filepath.Join(dir, "lun")}
	l.File, l.SCSIID, l.SCSISN = a.file, "pathgate-hosts-1", "hosts1"
	srv := tgtd.New(t, tgtd.Options{
		Portals: []string{"127.0.0.1:0", "127.0.0.1:0"},
		Targets: []tgtd.Target{{Name: "iqn.2026-11.test:disk", LUNs: []tgtd.LUN{l}}},
	})
	for _, p := range srv.Portals() {
		x := proxy.MustNew(t, proxy.Options{Target: p, Protocol: proxy.ISCSI, Seed: 1})
		a.proxies = append(a.proxies, x)
		a.target.Portals = append(a.target.Portals, x.Addr())
	}
	return a
}

// host is a guest with open-iscsi.
type host struct{ *guest.Guest }

// hostModules are what every host has.
var hostModules = []string{"sd_mod", "iscsi_tcp", "crc32c", "ext4", "virtio_net", "virtio_pci"}

// options of a host; the zero value has a name and one network card.
type options struct {
	name     string // of the initiator
	cards    int    // beside the first
	args     []string
	files    map[string]string
	programs []string // beside those that all have
	modules  []string
}

// boot starts a host.
func boot(t *testing.T, o options) *host {
	t.Helper()
	tree, _, err := guest.Initiator()
	if err != nil {
		t.Fatal(err)
	}
	inside := map[string]string{"/lib.sh": library, "/files.sh": files}
	maps.Copy(inside, o.files)
	if o.name == "" {
		o.name = "iqn.2026-11.test:host"
	}
	h := &host{guest.New(t, guest.Options{
		Script:  fmt.Sprintf("NAME=%s CARDS=%d\n%s", o.name, o.cards, setup),
		Modules: append(slices.Clone(hostModules), o.modules...),
		Trees:   []string{tree}, Programs: append([]string{"mkfs.ext4", "e2fsck", "dumpe2fs", "sg_persist"}, o.programs...),
		Files: inside, Args: o.args, Network: true, Interactive: true, MemoryMB: 512, Timeout: patience, Append: "net.ifnames=0",
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
		t.Fatalf("in the guest: %s: %v, status %d, want %d: %s", script, err, r.ExitCode, want, r.Output)
	}
	return r.Output
}

// disk waits for the disk with a number, and gives its device.
func (h *host) disk(t *testing.T, lun int) string {
	t.Helper()
	return "/dev/" + strings.TrimSpace(h.run(t, "again disk %d\ndisk %d", lun, lun))
}

// clean fails the test when the kernel has complained of its disks.
func (h *host) clean(t *testing.T) {
	t.Helper()
	if out := h.run(t, "complaints || true"); out != "" {
		t.Errorf("the kernel complains:\n%s", out)
	}
}

func demand(t *testing.T, out string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Errorf("%q is missing in:\n%s", w, out)
		}
	}
}
