// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbdhosts

import "testing"

// TestAttach: a disk is a block device of a host by four connections, and a file system
// on it lives through their loss and a restart of the gateway.
func TestAttach(t *testing.T) {
	b := newBed(t)
	h := boot(t)
	server, port := b.server(t)
	h.run(t, "attach vm1/root --nbd-device /dev/nbd0 --server %s:%s --timeout 3s", server, port)
	b.clients(t, 4)
	look := h.run(t, `cat /run/attach/out /run/attach/log
cd /sys/block/nbd0
echo "size $(cat size), block $(cat queue/logical_block_size), ro $(cat ro), backend $(cat backend)"
echo "cache $(cat queue/write_cache), fua $(cat queue/fua), discard $(($(cat queue/discard_max_bytes) > 0))"`)
	demand(t, look, "/dev/nbd0\n", "pathgate: /dev/nbd0 is vm1/root, 64MiB, connections: 4\n",
		"size 131072, block 512, ro 0, backend pathgate:vm1/root\n", "fua 1, discard 1\n")
	h.run(t, "files start /dev/nbd0\nmore 2")
	if n := b.door.ResetConns(); n < 4 { // beside those that ask for the size
		t.Errorf("%d connections are cut, want 4", n)
	}
	h.run(t, "more 2")
	b.restart(t)
	h.run(t, "more 2")
	b.clients(t, 4)
	h.checkFiles(t, "/dev/nbd0")
	demand(t, h.run(t, "cat /run/attach/log"), "connected again, 4 of 4 connections")
	h.run(t, "pathgate detach /dev/nbd0\nagain test -e /run/attach/ended\ntest ! -e /run/attach/status")
	b.clients(t, 0)
}
