// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbdhosts

import (
	"errors"
	"os/exec"
	"testing"

	"pathgate/integration/gate"
	"pathgate/integration/proxy"
)

// TestAttach: a disk is a block device of a host by four connections, with what the disk
// can do, and a file system on it lives through the loss of a path, of all connections and
// a restart of the gateway. It is not detached while it is in use.
func TestAttach(t *testing.T) {
	b := newBed(t)
	h := boot(t)
	server, port := b.server(t)
	h.run(t, "attach vm1/root --nbd-device /dev/nbd0 --server %s:%s --timeout 3s", server, port)
	b.clients(t, 4)
	demand(t, h.run(t, "cat /run/attach/out /run/attach/log"), "/dev/nbd0\n", "pathgate: /dev/nbd0 is vm1/root, 64MiB, connections: 4\n")
	h.sees(t, "nbd0", "131072 0 512/512 write back 1 discard 0 pathgate:vm1/root")

	h.run(t, "files start /dev/nbd0\nmore 2")
	b.paths[0].MustSet(proxy.Fault{Kind: proxy.BlackHole})
	h.run(t, "more 2")
	b.paths[0].Clear()
	if n := b.door.ResetConns(); n < 4 { // beside those that ask for the size
		t.Errorf("%d connections are cut, want 4", n)
	}
	h.run(t, "more 2")
	b.restart(t)
	h.run(t, "more 2")
	b.clients(t, 4)
	demand(t, h.status(t, 1, "pathgate detach /dev/nbd0 2>&1"), "/dev/nbd0 is in use", "unmount it", "--force")
	h.checkFiles(t, "/dev/nbd0")
	demand(t, h.run(t, "cat /run/attach/log"), "connected again, 4 of 4 connections")
	h.run(t, "pathgate detach /dev/nbd0\nagain test -e /run/attach/ended\ntest ! -e /run/attach/status")
	b.clients(t, 0)
}

// TestNoDriver: where the kernel has no nbd driver, which is so in a network namespace that
// a process makes for itself, the command says so and what to do, before it connects.
func TestNoDriver(t *testing.T) {
	out, err := exec.Command("unshare", "--net", gate.Binary(t), "attach", "vm1/root", "--nbd-device", "auto", "--server", "unix:/nowhere").CombinedOutput()
	failed := &exec.ExitError{}
	if !errors.As(err, &failed) || failed.ExitCode() != 4 {
		t.Fatalf("%v: %s", err, out)
	}
	demand(t, string(out), "no nbd driver", "modprobe nbd", "/etc/modules-load.d/nbd.conf", "CONFIG_BLK_DEV_NBD", "use iSCSI")
}
