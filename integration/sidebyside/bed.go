// SPDX-License-Identifier: Apache-2.0

package sidebyside

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pathgate/integration/guest"
	"pathgate/integration/proxy"
	"pathgate/integration/qmp"
	"pathgate/integration/sidebyside/load"
	"pathgate/integration/tgtd"
)

//go:embed setup.sh
var setup string

//go:embed ready.sh
var ready string

// Names of the contenders in reports.
const (
	DM       = "dm"
	Pathgate = "pathgate"
)

const iqn = "iqn.2026-11.test:disk"

// Bed is a guest with both contenders, under load. Not safe for concurrent use.
type Bed struct {
	profile Profile
	targets []*tgtd.Server
	proxies []*proxy.Proxy
	guest   *guest.Guest
	monitor *qmp.Monitor
	load    *load.Client
	next    int // the path of the next cut
}

// config is the gateway's: its timers, selector and checks are the defaults. failback
// and marginal say how soon a path that is back is used, which is 15 s, doubled at each
// loss, and a minute for one that is lost four times in two minutes: a bed that cuts
// paths all the time would wait for that most of its time.
const config = `state: /run/pathgate/state
control: unix:/run/pathgate/control.sock
initiator: iqn.2026-11.test:pathgate
adapters:
  - {name: vmhba0, interface: eth1}
  - {name: vmhba1, interface: eth2}
targets:
  - {portals: ["%s"], name: "` + iqn + `", adapters: [vmhba0]}
  - {portals: ["%s"], name: "` + iqn + `", adapters: [vmhba1]}
vms:
  - name: vm1
    disks:
      - {name: root, lun: "vmhba0:0:2"}
nbd: {listen: ["unix:/run/pathgate/nbd.sock"]}
timeouts: {failback: 1s}
marginal: {losses: 0, request-errors: 0}
`

// New starts a bed, and ends it with the test.
func New(t testing.TB, p Profile) *Bed {
	t.Helper()
	b := &Bed{profile: p}
	var portals []string
	for i, addr := range b.newTargets(t) {
		portals = append(portals, strings.Replace(addr, "127.0.0.1", fmt.Sprintf("10.0.%d0.2", i+1), 1))
	}
	tree, _, err := guest.Initiator()
	if err != nil {
		t.Fatal(err)
	}
	programs := build(t)
	// Not t.TempDir: its name is longer than that of a unix socket may be.
	dir, err := os.MkdirTemp("", "sidebyside-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "qmp")
	args := []string{"-qmp", "unix:" + socket + ",server=on,wait=off"}
	for i := range 2 {
		args = append(args,
			"-netdev", fmt.Sprintf("user,id=net%d,net=10.0.%d0.0/24", i+1, i+1),
			"-device", fmt.Sprintf("virtio-net-pci,netdev=net%d,id=%s,romfile=", i+1, card(i)))
	}
	files := map[string]string{
		"/etc/pathgate.yaml": fmt.Sprintf(config, portals[0], portals[1]),
		"/ready.sh":          ready,
	}
	if p.Multipath != "" {
		files["/etc/multipath.conf"] = p.Multipath
	}
	b.guest = guest.New(t, guest.Options{
		Script: fmt.Sprintf("A=%s B=%s SELECTED='%s'\n%s", portals[0], portals[1], p.sed(), setup),
		Modules: []string{
			"sd_mod", "iscsi_tcp", "crc32c", "dm-multipath", "dm-round-robin", "dm-service-time", "dm-queue-length",
			"scsi_dh_alua", "nbd", "virtio_net", "virtio_pci",
		},
		Trees: []string{tree}, Programs: programs, Files: files, Args: args,
		Forwards:    []guest.Forward{{Host: "127.0.0.1:0", GuestPort: 7000}},
		Interactive: true, MemoryMB: 768, Timeout: 5 * time.Minute, Append: "net.ifnames=0",
	})
	b.start(t, socket)
	return b
}

// card is the name of a network card.
func card(i int) string { return fmt.Sprintf("card%d", i) }

// newTargets starts two controllers of one array, behind proxies.
func (b *Bed) newTargets(t testing.TB) (addrs []string) {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "sidebyside-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var luns []tgtd.LUN
	for i := range 2 {
		luns = append(luns, tgtd.LUN{
			File: filepath.Join(dir, fmt.Sprintf("lun%d", i+1)), SizeBytes: load.Size,
			SCSIID: fmt.Sprintf("side-by-side-%d", i+1), SCSISN: fmt.Sprintf("side%d", i+1),
		})
	}
	for range 2 {
		s := tgtd.New(t, tgtd.Options{Targets: []tgtd.Target{{Name: iqn, LUNs: luns}}})
		p := proxy.MustNew(t, proxy.Options{Target: s.Portals()[0], Protocol: proxy.ISCSI, Seed: 1})
		b.targets, b.proxies = append(b.targets, s), append(b.proxies, p)
		addrs = append(addrs, p.Addr())
	}
	return addrs
}

// build makes the programs that run in the guest, without libraries.
func build(t testing.TB) (programs []string) {
	t.Helper()
	dir := t.TempDir()
	for _, pkg := range []string{"pathgate/cmd/pathgate", "pathgate/integration/cmd/diskload"} {
		to := filepath.Join(dir, filepath.Base(pkg))
		cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", to, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v: %s", pkg, err, out)
		}
		programs = append(programs, to)
	}
	return programs
}

// start waits for the guest's script and connects to all that is in it.
func (b *Bed) start(t testing.TB, socket string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	if r, err := b.guest.Wait(ctx); err != nil || r.ExitCode != 0 {
		t.Fatalf("set-up in the guest: %v, status %d: %s", err, r.ExitCode, r.Output)
	}
	var err error
	if b.monitor, err = qmp.Dial(socket); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.monitor.Close() })
	for {
		if b.load, err = load.Dial(ctx, b.guest.Forward(0)); err == nil {
			if _, err = b.load.Mark(); err == nil {
				break
			}
			b.load.Close()
		}
		if ctx.Err() != nil {
			t.Fatalf("no load: %v: %s", err, b.Exec(t, "cat /run/load.log"))
		}
		<-time.After(100 * time.Millisecond)
	}
	t.Cleanup(func() { b.load.Close() })
	b.ready(t)
}

// Exec runs a command in the guest, which has to succeed, and gives what it prints.
func (b *Bed) Exec(t testing.TB, command string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Minute)
	defer cancel()
	r, err := b.guest.Exec(ctx, command)
	if err != nil || r.ExitCode != 0 {
		t.Fatalf("in the guest: %s: %v, status %d: %s", command, err, r.ExitCode, r.Output)
	}
	return r.Output
}

// ready waits until both contenders use both paths.
func (b *Bed) ready(t testing.TB) {
	t.Helper()
	b.Exec(t, "sh /ready.sh")
}

// Settings tells what runs in the guest, and with which timers.
func (b *Bed) Settings(t testing.TB) string {
	t.Helper()
	return b.Exec(t, `uname -sr
iscsid --version
multipath -h 2>&1 | grep -m1 multipath-tools
pathgate version
dmsetup table --target multipath
for f in recovery_tmo; do echo "$f $(cat /sys/class/iscsi_session/session*/$f | tr '\n' ' ')"; done
for f in recv_tmo ping_tmo; do echo "$f $(cat /sys/class/iscsi_connection/connection*/$f | tr '\n' ' ')"; done
`)
}
