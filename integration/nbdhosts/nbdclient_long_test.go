// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package nbdhosts

import (
	"path/filepath"
	"testing"

	"pathgate/integration/proxy"
)

// TestLongNBDClient: the same by nbd-client: the other connections carry on for those that
// are cut, and the device is set up again after a restart of the gateway.
func TestLongNBDClient(t *testing.T) {
	b := newBed(t)
	h := boot(t)
	server, port := b.server(t)
	h.run(t, "nbd-client %s %s /dev/nbd0 -N vm1/root -C 4 -t 3 >/run/nbd-client 2>&1\nagain test -e /sys/block/nbd0/pid", server, port)
	b.clients(t, 4)
	h.run(t, "files start /dev/nbd0\nmore 2")
	b.paths[0].MustSet(proxy.Fault{Kind: proxy.BlackHole})
	h.run(t, "more 3")
	b.paths[0].Clear()
	for _, c := range []int{b.door.Newest(), b.door.Newest() - 2} {
		b.door.MustSet(proxy.Fault{Kind: proxy.Reset, Conn: c})
	}
	b.clients(t, 2)
	h.run(t, "more 3")
	h.checkFiles(t, "/dev/nbd0")
	h.run(t, "nbd-client -d /dev/nbd0")
	b.clients(t, 0)

	// The old way to set a device up, and after a restart of the gateway once more.
	for _, device := range []string{"/dev/nbd1", "/dev/nbd2"} {
		h.run(t, "nbd-client %s %s %s -N vm1/root -nonetlink >/run/nbd-client 2>&1\nagain test -e /sys/block/%s/pid", server, port, device, filepath.Base(device))
		b.clients(t, 1)
		h.run(t, "mount -t ext4 %s /mnt\nls /mnt/1\necho %s >/mnt/device\nsync\numount /mnt", device, device)
		if device == "/dev/nbd2" {
			break
		}
		b.restart(t)
	}
	h.run(t, "nbd-client -nonetlink -d /dev/nbd2")
	b.clients(t, 0)
}

// TestLongNBDClientRestart: nbd-client has no way over a restart of the gateway, with
// -persist or without: what is written fails, and what was written before is there once
// the device is set up again.
func TestLongNBDClientRestart(t *testing.T) {
	b := newBed(t)
	h := boot(t)
	server, port := b.server(t)
	for i, options := range []string{"-C 4 -t 3", "-C 4 -t 3 -persist", "-nonetlink -t 3 -persist"} {
		begin := "nbd-client " + server + " " + port + " /dev/nbd0 -N vm1/root " + options + " >/run/nbd-client 2>&1\nagain test -s /sys/block/nbd0/pid\n"
		if i == 0 {
			h.run(t, "%smkfs.ext4 -q -O metadata_csum /dev/nbd0", begin)
		} else {
			h.run(t, "%s", begin)
		}
		h.run(t, `mount -t ext4 /dev/nbd0 /mnt
dd if=/dev/urandom of=/mnt/%d bs=64k count=8 conv=fsync 2>/dev/null
sha256sum /mnt/%d >/run/sum`, i, i)
		b.restart(t)
		h.status(t, 1, "dd if=/dev/zero of=/mnt/after bs=64k count=1 conv=fsync 2>/dev/null")
		t.Logf("measured: %s: %s", options, h.run(t, "pidof nbd-client && echo nbd-client runs || echo nbd-client has ended"))
		h.run(t, `umount /mnt
nbd-client -d /dev/nbd0 || nbd-client -nonetlink -d /dev/nbd0
again test ! -e /sys/block/nbd0/pid
again test -z "$(pidof nbd-client)"`)
		h.run(t, `%se2fsck -p /dev/nbd0 || [ $? = 1 ]
mount -t ext4 /dev/nbd0 /mnt
sha256sum -c /run/sum
umount /mnt
nbd-client -d /dev/nbd0 || nbd-client -nonetlink -d /dev/nbd0
again test ! -e /sys/block/nbd0/pid
again test -z "$(pidof nbd-client)"`, begin)
		b.clients(t, 0)
	}
}
