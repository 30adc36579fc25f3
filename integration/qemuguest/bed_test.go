// SPDX-License-Identifier: Apache-2.0

//go:build integration

package qemuguest

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/internal/port"
	"pathgate/integration/proxy"
	"pathgate/integration/tgtd"
)

const (
	mib    = 1 << 20
	prefix = "iqn.2026-11.internal.pathgate:"
	name   = "iqn.2026-11.test:vm1" // of QEMU, as initiator
	user   = "alice"
	secret = "alice-and-the-gateway"

	// limit is for what takes seconds on a machine that does nothing else.
	limit = 5 * time.Minute
)

func TestMain(m *testing.M) { os.Exit(gate.Main(m)) }

// bed is a gateway with a target portal, for vm1 alone and with CHAP.
type bed struct {
	g      *gate.Gate
	config gate.Config    // what it runs with
	portal string         // where clients find it
	secret string         // the file with the secret
	front  *proxy.Proxy   // between clients and the portal, if there is to be one
	target *tgtd.Server   // with the LUN of vm1/root, if it is on one
	paths  []*proxy.Proxy // to that LUN, two of them
	file   string         // what is behind it
}

// options say what a bed is made of.
type options struct {
	gate.Config
	front bool
	lun   *tgtd.LUN // the disk, over two portals, each behind a proxy of its own
}

// aLUN is a LUN for options; a file is made for it.
func aLUN(size int64) *tgtd.LUN {
	return &tgtd.LUN{SizeBytes: size, SCSIID: "pathgate-qemu-1", SCSISN: "qemu1"}
}

// newBed starts a gateway, and waits for its disks.
func newBed(t *testing.T, o options) *bed {
	t.Helper()
	b := &bed{secret: secretFile(t)}
	if o.lun != nil {
		b.file = memFile(t, "lun")
		l := *o.lun
		l.File = b.file
		b.target = tgtd.New(t, tgtd.Options{
			Portals: []string{"127.0.0.1:0", "127.0.0.1:0"},
			Targets: []tgtd.Target{{Name: "iqn.2026-11.test:disk", LUNs: []tgtd.LUN{l}}},
		})
		target := gate.Target{}
		for _, p := range b.target.Portals() {
			x := proxy.MustNew(t, proxy.Options{Target: p, Protocol: proxy.ISCSI, Seed: 1})
			b.paths = append(b.paths, x)
			target.Portals = append(target.Portals, x.Addr())
		}
		o.Targets = []gate.Target{target}
	}
	b.start(t, o)
	b.available(t)
	b.settle(t)
	return b
}

// start starts the gateway. Another process may take the portal first: then another
// is tried.
func (b *bed) start(t *testing.T, o options) {
	t.Helper()
	c := o.Config
	if c.VM == "" {
		c.VM = fmt.Sprintf("{initiators: [%q], chap: {user: %s, secret-file: %q}}", name, user, b.secret)
	}
	var err error
	for range 5 {
		b.portal = freeAddress(t)
		listen := fmt.Sprintf("%q", b.portal)
		if o.front {
			b.front = proxy.MustNew(t, proxy.Options{Target: b.portal, Protocol: proxy.ISCSI, Seed: 1})
			listen = fmt.Sprintf("{address: %q, advertise: [%q]}", b.portal, b.front.Addr())
			b.portal = b.front.Addr()
		}
		c.ISCSI = fmt.Sprintf("{listen: [%s]%s}", listen, o.ISCSI)
		b.g, b.config = gate.Make(t, c), c
		if err = b.g.Start(); err == nil {
			return
		}
		if !strings.Contains(err.Error(), "address already in use") {
			break
		}
	}
	t.Fatal(err)
}

// freeAddress is an address that is free now.
func freeAddress(t *testing.T) string {
	t.Helper()
	a, err := port.Free(netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	return a.String()
}

// available waits until all disks are there.
func (b *bed) available(t *testing.T) {
	t.Helper()
	b.g.WaitDisks(t, limit, func(list []gate.Disk) bool {
		for _, d := range list {
			if !d.Available {
				return false
			}
		}
		return len(list) > 0
	})
}

// settle waits until all paths to the LUN are used: two adapters make two of each
// portal.
func (b *bed) settle(t *testing.T) {
	t.Helper()
	if b.paths != nil {
		b.g.WaitUp(t, 2*len(b.paths), limit)
	}
}

// attach gives the words of the options that `pathgate attach vm1 --qemu` prints for a
// front-end, as a shell takes them.
func (b *bed) attach(t *testing.T, over string) []string {
	t.Helper()
	text := b.g.MustCLI(t, "attach", "vm1", "--qemu", "--over", over)
	text = strings.ReplaceAll(text, "SECRET-FILE", b.secret)
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	out := run(t, "sh", "-c", "printf '%s\\0' "+strings.Join(lines, " "))
	return strings.Split(strings.TrimSuffix(out, "\x00"), "\x00")
}

// onSCSI gives the words with kind ("scsi-hd", "scsi-block") in place of virtio-blk.
func onSCSI(words []string, kind string) []string {
	list := []string{"-device", "virtio-scsi-pci"}
	for _, w := range words {
		list = append(list, strings.Replace(w, "virtio-blk-pci,", kind+",", 1))
	}
	return list
}

// node gives what follows -object, and what follows the first -blockdev, of the words.
func node(t *testing.T, words []string) (object, blockdev string) {
	t.Helper()
	for i, w := range words[:len(words)-1] {
		switch {
		case w == "-object":
			object = words[i+1]
		case w == "-blockdev" && blockdev == "":
			blockdev = words[i+1]
		}
	}
	if object == "" || blockdev == "" {
		t.Fatalf("no node in %q", words)
	}
	return object, blockdev
}

// memFile is a file in memory that is not there yet; it goes with the test.
func memFile(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "qemuguest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, name)
}

// shortDir is a directory whose name fits into that of a unix socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "qemuguest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// secretFile holds secret.
func secretFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// run runs a command that has to succeed, and gives what it prints.
func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := try(t, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// try runs a command that may fail.
func try(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	return string(out), err
}

func demand(t *testing.T, out string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Errorf("%q is missing in:\n%s", w, out)
		}
	}
}
