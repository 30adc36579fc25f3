// SPDX-License-Identifier: Apache-2.0

//go:build integration

package link

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"pathgate/integration/gate"
	"pathgate/integration/tgtd"
)

const (
	mib     = 1 << 20
	lunSize = 64 * mib
	iqn     = "iqn.2026-11.test:disk"
)

// inside is set in the process that has the namespace.
const inside = "PATHGATE_LINK_INSIDE"

func TestMain(m *testing.M) {
	if os.Getenv(inside) == "" {
		os.Exit(enter())
	}
	if err := loopback(); err != nil {
		fmt.Fprintln(os.Stderr, "link:", err)
		os.Exit(1)
	}
	os.Exit(gate.Main(m))
}

// enter runs this test process again, in a network namespace of its own.
func enter() int {
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "link: in a network namespace, which needs root:", err)
		return 1
	}
	return 0
}

func loopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// bed is a tgtd behind two links.
type bed struct {
	tgt    *tgtd.Server
	holder *exec.Cmd // has the targets' namespace
	g      *gate.Gate
}

// near and far are the names of the ends of a link.
func near(i int) string { return fmt.Sprintf("pgl%d", i) }
func far(i int) string  { return fmt.Sprintf("pgt%d", i) }

// newBed makes the links and starts tgtd and a gateway; adapters are as in
// gate.Config. All is gone with the test.
func newBed(t testing.TB, c gate.Config, adapters ...string) *bed {
	t.Helper()
	b := &bed{holder: exec.Command("sleep", "infinity")}
	b.holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := b.holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = b.holder.Process.Kill()
		_ = b.holder.Wait() // killed
	})
	b.there(t, "ip", "link", "set", "lo", "up")
	var portals []string
	for i := range 2 {
		run(t, "ip", "link", "add", near(i), "type", "veth", "peer", "name", far(i), "netns", strconv.Itoa(b.holder.Process.Pid))
		t.Cleanup(func() { del(near(i)) })
		run(t, "ip", "addr", "add", fmt.Sprintf("10.99.%d.1/24", i), "dev", near(i))
		run(t, "ip", "link", "set", near(i), "up")
		for n := 2; n < 4; n++ {
			addr := fmt.Sprintf("10.99.%d.%d", i, n)
			b.there(t, "ip", "addr", "add", addr+"/24", "dev", far(i))
			portals = append(portals, addr+":3260")
		}
		b.there(t, "ip", "link", "set", far(i), "up")
	}
	file := memFile(t)
	b.tgt = tgtd.New(t, tgtd.Options{
		Program: b.program(t), Portals: portals,
		Targets: []tgtd.Target{{Name: iqn, LUNs: []tgtd.LUN{{File: file, SizeBytes: lunSize, SCSIID: "pathgate-link", SCSISN: "link1"}}}},
	})
	c.Adapters = adapters
	for i := range 2 {
		c.Targets = append(c.Targets, gate.Target{
			Portals: portals[2*i : 2*i+2], More: []string{"name: " + iqn, fmt.Sprintf("adapters: [vmhba%d]", i)},
		})
	}
	b.g = gate.New(t, c)
	b.g.WaitUp(t, 4, 30*time.Second)
	b.g.WaitDisks(t, 10*time.Second, func(ds []gate.Disk) bool { return len(ds) > 0 && ds[0].Available })
	return b
}

// program is a tgtd that runs in the targets' namespace.
func (b *bed) program(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tgtd")
	text := fmt.Sprintf("#!/bin/sh\nexec nsenter -t %d -n tgtd \"$@\"\n", b.holder.Process.Pid)
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func memFile(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "link-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "lun")
}

func run(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// there runs a command in the targets' namespace.
func (b *bed) there(t testing.TB, args ...string) {
	t.Helper()
	run(t, append([]string{"nsenter", "-t", strconv.Itoa(b.holder.Process.Pid), "-n"}, args...)...)
}

func del(name string) {
	if l, err := netlink.LinkByName(name); err == nil {
		_ = netlink.LinkDel(l) // it ends with the namespace anyway
	}
}

func setLink(t testing.TB, name string, up bool) {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	set := netlink.LinkSetDown
	if up {
		set = netlink.LinkSetUp
	}
	if err := set(l); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// over are the paths over an adapter.
func over(adapter string) func(gate.Path) bool {
	return func(p gate.Path) bool { return p.Adapter == adapter }
}

// downOn are the events that tell of the loss of paths over an adapter.
func (b *bed) downOn(mark int, adapter string) (list []gate.Event) {
	return b.g.Events.Since(mark, func(e gate.Event) bool {
		return e.Kind == "path-down" && strings.HasPrefix(e.Path, adapter+":")
	})
}

// waitDown waits until both paths over an adapter are down, and gives the events.
func (b *bed) waitDown(t testing.TB, mark int, adapter string) []gate.Event {
	t.Helper()
	if !gate.Poll(10*time.Second, func() bool { return len(b.downOn(mark, adapter)) >= 2 }) {
		t.Fatalf("paths over %s are not down: %+v", adapter, b.g.Paths(t))
	}
	return b.downOn(mark, adapter)
}

// count counts the paths that match.
func count(ps []gate.Path, ok func(gate.Path) bool) (n int) {
	for _, p := range ps {
		if ok(p) {
			n++
		}
	}
	return n
}
