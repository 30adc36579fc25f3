// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package nbdhosts

import (
	"strings"
	"testing"

	"pathgate/integration/proxy"
)

// TestLongAttachPaths: paths are cut behind the gateway under a file system of a host,
// one and both; the process that looks after the device is killed, and another one goes on.
func TestLongAttachPaths(t *testing.T) {
	b := newBed(t)
	h := boot(t)
	server, port := b.server(t)
	command := "vm1/root --nbd-device /dev/nbd3 --server " + server + ":" + port + " --timeout 3s"
	h.run(t, "attach %s\nfiles start /dev/nbd3\nmore 2", command)
	b.paths[0].MustSet(proxy.Fault{Kind: proxy.BlackHole})
	h.run(t, "more 3")
	b.paths[1].MustSet(proxy.Fault{Kind: proxy.BlackHole})
	b.paths[0].Clear()
	h.run(t, "more 3")
	b.paths[1].Clear()

	h.run(t, "kill -9 $(cat /run/attach/pid)\nagain test -e /run/attach/ended\nmore 1")
	b.door.ResetConns()
	h.run(t, "attach %s\nmore 2", command)
	b.clients(t, 4)
	b.door.ResetConns()
	h.run(t, "more 2")
	b.clients(t, 4)

	// Who is told to end leaves what is in use.
	h.run(t, "kill $(cat /run/attach/pid)\nagain test -e /run/attach/ended\ntest ! -e /run/attach/status\nmore 1")
	demand(t, h.run(t, "cat /run/attach/log"), "/dev/nbd3 is in use", "it stays attached")
	demand(t, h.status(t, 1, "pathgate detach /dev/nbd3 2>&1"), "/dev/nbd3 is in use", "lsblk /dev/nbd3", "--force")
	h.checkFiles(t, "/dev/nbd3")
	h.run(t, "attach %s\nkill $(cat /run/attach/pid)\nagain test -e /run/attach/ended\ntest ! -e /sys/block/nbd3/pid", command)
	b.clients(t, 0)
}

// TestLongAttachErrors: what cannot be is told, with what to do.
func TestLongAttachErrors(t *testing.T) {
	b := newBed(t)
	h := boot(t)
	host, port := b.server(t)
	server := host + ":" + port
	for _, tt := range []struct {
		status  int
		command string
		want    string
	}{
		{2, "attach vm1/root --nbd-device /dev/null --server " + server, "not an nbd device"},
		{2, "attach vm1 --nbd-device auto --server " + server, "want VM/DISK"},
		{1, "attach vm1/none --nbd-device auto --server " + server, "no such export"},
		{1, "attach vm1/root --nbd-device auto --server " + host + ":1", "refused"},
		{3, "attach vm1/root --nbd-device auto", "no gateway answers"},
		{1, "detach /dev/nbd7", "/dev/nbd7 is not attached"},
	} {
		demand(t, h.status(t, tt.status, "pathgate "+tt.command+" 2>&1"), tt.want)
	}

	// A device that somebody else has, and a free one beside it.
	h.run(t, "nbd-client %s %s /dev/nbd0 -N vm1/root >/run/nbd-client 2>&1", host, port)
	demand(t, h.status(t, 1, "pathgate attach vm1/root --nbd-device /dev/nbd0 --server "+server+" 2>&1"), "/dev/nbd0: in use for something else", "detach it first")
	h.run(t, "attach vm1/root --nbd-device auto --server %s --read-only --connections 2", server)
	demand(t, h.run(t, "cat /run/attach/out; cat /sys/block/nbd1/ro"), "/dev/nbd1\n1\n")
	demand(t, h.status(t, 1, "pathgate attach vm1/root --nbd-device /dev/nbd1 --server "+server+" 2>&1"), "another \"pathgate attach\" looks after it")
	b.clients(t, 3)
	h.run(t, "nbd-client -d /dev/nbd0\npathgate detach /dev/nbd1\nagain test -e /run/attach/ended")
	b.clients(t, 0)

	// In the background; a device of its own beside those that the module began with.
	out := h.run(t, `pathgate attach vm1/root --nbd-device /dev/nbd20 --server %s --detach --destroy --timeout 3s 2>/run/said
echo now >/run/now && dd if=/run/now of=/dev/nbd20 conv=fsync 2>/dev/null`, server)
	if out != "/dev/nbd20\n" {
		t.Errorf("in the background: %q", out)
	}
	b.clients(t, 4)
	b.door.ResetConns()
	demand(t, h.run(t, "echo 3 >/proc/sys/vm/drop_caches\nhead -n 1 /dev/nbd20"), "now\n")
	b.clients(t, 4)
	h.run(t, "pathgate detach /dev/nbd20")
	h.run(t, "again test ! -e /sys/block/nbd20")

	// Without the driver, and without the right.
	demand(t, h.status(t, 0, `cp /usr/sbin/pathgate /tmp/pathgate
adduser -D -H nobody 2>/dev/null || echo 'nobody:x:1000:1000::/:/bin/sh' >>/etc/passwd
chmod 755 /tmp/pathgate
su nobody -s /bin/sh -c '/tmp/pathgate attach vm1/root --nbd-device auto --server `+server+`' 2>&1
[ $? = 4 ]`), "CAP_SYS_ADMIN")
	out = h.status(t, 4, "rmmod nbd && pathgate attach vm1/root --nbd-device /dev/nbd0 --server "+server+" 2>&1")
	if !strings.Contains(out, "no nbd driver: load it with \"modprobe nbd\"") {
		t.Errorf("without the driver: %s", out)
	}
}
