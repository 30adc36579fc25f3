// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package nbdhosts

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"pathgate/integration/gate"
	"pathgate/integration/scripted"
)

// TestLongAttachFlags: what the kernel takes devices for, as the transmission flags and
// block sizes of their disks say.
func TestLongAttachFlags(t *testing.T) {
	b := newBedWith(t, func(b *bed, c *gate.Config, _ string) {
		c.Disks = []string{
			`{name: root, lun: "vmhba0:0:1", size: 32MiB}`,
			`{name: fixed, lun: "vmhba0:0:1", offset: 32MiB, read-only: true}`,
		}
		c.VMs = []string{fmt.Sprintf(`{name: vm2, clients: shared, disks: [{name: large, file: %s/large, size: 16MiB, block-size: 4096}]}`, b.dir)}
	})
	h := boot(t)
	server, port := b.server(t)
	for i, tt := range []struct{ disk, options, want string }{
		{"vm1/root", "", "65536 0 512/512 write back 1 discard 0 pathgate:vm1/root"},
		{"vm1/fixed", "", "65536 1 512/512 write back 1 none 0 pathgate:vm1/fixed"},
		{"vm1/root", "--read-only", "65536 1 512/512 write back 1 discard 0 pathgate:vm1/root"},
		{"vm2/large", "", "32768 0 4096/4096 write back 1 discard 0 pathgate:vm2/large"},
	} {
		h.run(t, "attach %s --nbd-device /dev/nbd%d --server %s:%s %s", tt.disk, i, server, port, tt.options)
		h.sees(t, fmt.Sprintf("nbd%d", i), tt.want)
		if write := "dd if=/dev/zero of=/dev/nbd%d bs=4k count=1 conv=fsync 2>&1"; tt.want[6] == '1' {
			demand(t, h.status(t, 1, fmt.Sprintf(write, i)), "not permitted")
		} else {
			h.run(t, write, i)
		}
		h.run(t, "pathgate detach /dev/nbd%d\nagain test -e /run/attach/ended", i)
		b.clients(t, 0)
	}
}

// TestLongAttachDeadTimeout: requests wait for a gateway that is away, and fail when the
// time for it is over; the device works again when the gateway is back.
func TestLongAttachDeadTimeout(t *testing.T) {
	b := newBed(t)
	h := boot(t)
	server, port := b.server(t)
	h.run(t, "attach vm1/root --nbd-device /dev/nbd0 --server %s:%s --timeout 2s --dead-timeout 6s", server, port)
	write := `echo %s >/run/now && dd if=/run/now of=/dev/nbd0 conv=fsync 2>&1`
	h.run(t, write, "before")
	if _, err := b.Terminate(patience); err != nil {
		t.Fatal(err)
	}
	out := h.status(t, 1, `begun=$(cut -d . -f 1 /proc/uptime)
`+fmt.Sprintf(write, "away")+` && exit 2
[ $(($(cut -d . -f 1 /proc/uptime) - begun)) -ge 5 ] && exit 1`)
	demand(t, out, "Input/output error")
	demand(t, h.run(t, "errors"), "I/O error, dev nbd0")
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	b.clients(t, 4)
	h.run(t, write, "after")
	demand(t, h.run(t, "echo 3 >/proc/sys/vm/drop_caches\nhead -n 1 /dev/nbd0"), "after\n")
	demand(t, h.run(t, "cat /run/attach/log"), "connected again, 4 of 4 connections")
	h.run(t, "pathgate detach /dev/nbd0\nagain test -e /run/attach/ended")
}

// TestLongAttachGrows: a mounted file system takes the new room of a LUN that grows under
// it: while the gateway uses the LUN, and while both are away, which one connection
// outlives as well. A disk in a file grows by command.
func TestLongAttachGrows(t *testing.T) {
	lun := scripted.NewUnit(64 * mib)
	store := scripted.New(t, scripted.Options{Portals: []scripted.Portal{{}}, Units: map[uint16]*scripted.Unit{1: lun}})
	b := newBedWith(t, func(b *bed, c *gate.Config, _ string) {
		c.Targets = append(c.Targets, gate.Target{Portals: store.Addresses()})
		c.VMs = []string{
			`{name: vm2, clients: shared, disks: [{name: root, lun: "vmhba0:2:1"}]}`,
			fmt.Sprintf(`{name: vm3, disks: [{name: root, file: %s/file, size: 16MiB, max-size: 64MiB}]}`, b.dir),
		}
	})
	h := boot(t)
	server, port := b.server(t)
	h.run(t, "pathgate attach vm3/root --nbd-device /dev/nbd1 --server %s:%s --detach 2>/run/said", server, port)
	for _, tt := range []struct {
		disk        string
		connections int
		grow        func()
	}{
		{"vm2/root", 4, func() {
			lun.Resize(96 * mib)
			b.MustCLI(t, "disk", "resize", "vm3/root", "48MiB")
		}},
		{"vm1/root", 1, func() {
			if _, err := b.Terminate(patience); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.Truncate(b.store.File(0, 1), 96*mib), b.store.Restart(t.Context()), b.Start()); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		h.run(t, "attach %s --nbd-device /dev/nbd0 --server %s:%s --timeout 3s --connections %d", tt.disk, server, port, tt.connections)
		h.run(t, "files start /dev/nbd0\nmore 2")
		tt.grow()
		h.run(t, `grown() { [ "$(cat /sys/block/nbd0/size)" = 196608 ]; }
again grown
resize2fs /dev/nbd0 2>&1
more 2
[ "$(df -m /mnt | awk '/nbd0/ {print $2}')" -gt 70 ]`)
		demand(t, h.run(t, "cat /run/attach/log"), "/dev/nbd0: has grown to 100663296 bytes")
		h.checkFiles(t, "/dev/nbd0")
		h.run(t, `pathgate detach /dev/nbd0
again test -e /run/attach/ended
larger() { [ "$(cat /sys/block/nbd1/size)" = 98304 ]; }
again larger`)
	}
	h.run(t, "pathgate detach /dev/nbd1")
	b.clients(t, 0)
}
