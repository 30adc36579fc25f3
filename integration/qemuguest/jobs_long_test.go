// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package qemuguest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/guest"
	"pathgate/integration/proxy"
	"pathgate/integration/qmp"
)

// job waits for the end of a block job.
func job(t *testing.T, m *qmp.Monitor, want string) {
	t.Helper()
	e, err := m.Wait(limit, want, "BLOCK_JOB_COMPLETED", "BLOCK_JOB_ERROR", "BLOCK_JOB_CANCELLED")
	if err != nil || e.Name != want || strings.Contains(string(e.Data), `"error"`) {
		t.Fatalf("waiting for %s: %s %s, %v", want, e.Name, e.Data, err)
	}
}

// TestLongGuestMovesIn: a guest that runs on a local disk is mirrored to the gateway's
// disk, under writes and over a broken connection, and goes on there; then it is
// backed up from there.
func TestLongGuestMovesIn(t *testing.T) {
	const size = 32 * mib
	file := memFile(t, "root")
	b := newBed(t, options{front: true, Config: gate.Config{Disks: []string{`{name: root, file: "` + file + `", size: 32MiB}`}}})
	object, blockdev := node(t, b.attach(t, "iscsi"))
	local, backup := memFile(t, "local"), memFile(t, "backup")
	for _, f := range []string{local, backup} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(f, size); err != nil {
			t.Fatal(err)
		}
	}
	connect, args := monitor(t)
	vm := boot(t, "mkfs.ext4 -q -F /dev/vda && mount -t ext4 /dev/vda /mnt", append(args, "-object", object,
		"-blockdev", "driver=file,node-name=local,filename="+local, "-device", "virtio-blk-pci,drive=local"),
		func(o *guest.Options) { o.Interactive = true })
	do := func(command string) string { t.Helper(); return inside(t, vm, command) }
	fill := func(name string) {
		do("cd /mnt && for i in 0 1 2 3; do dd if=/dev/urandom of=" + name + "$i bs=256k count=2 conv=fsync || exit 1; done && sha256sum " + name + "? >sums." + name)
	}
	fill("a")
	m := connect()
	command := func(name string, arguments map[string]any) {
		t.Helper()
		if err := m.Do(name, arguments, nil); err != nil {
			t.Fatal(err)
		}
	}
	var added map[string]any
	if err := json.Unmarshal([]byte(blockdev), &added); err != nil {
		t.Fatal(err)
	}
	command("blockdev-add", added)
	command("blockdev-mirror", map[string]any{"job-id": "move", "device": "local", "target": "pathgate-lun0", "sync": "full", "speed": 8 * mib})
	if err := b.front.Wait(func(c proxy.Counters) bool { return c.ToTarget.Bytes > 2*mib }, limit); err != nil {
		t.Fatal(err)
	}
	b.front.MustSet(proxy.Fault{Kind: proxy.Reset})
	fill("b")
	job(t, m, "BLOCK_JOB_READY")
	fill("c")
	command("block-job-complete", map[string]any{"device": "move"})
	job(t, m, "BLOCK_JOB_COMPLETED")
	if err := os.Truncate(local, 0); err != nil { // whoever still used it would see it
		t.Fatal(err)
	}
	fill("d")
	do("umount /mnt && blockdev --flushbufs /dev/vda && fsck.ext4 -fn /dev/vda && mount -t ext4 /dev/vda /mnt && cd /mnt && sha256sum -c sums.? && cd / && umount /mnt")

	command("blockdev-add", map[string]any{"driver": "file", "node-name": "backup", "filename": backup})
	command("blockdev-backup", map[string]any{"job-id": "save", "device": "pathgate-lun0", "target": "backup", "sync": "full"})
	job(t, m, "BLOCK_JOB_COMPLETED")
	same(t, backup, file)
	run(t, "/usr/sbin/fsck.ext4", "-fn", backup)
}

// TestLongGuestDiskGrows: a disk grows, and the guest that runs on it is told when
// QEMU is.
func TestLongGuestDiskGrows(t *testing.T) {
	file := filepath.Join(t.TempDir(), "root")
	b := newBed(t, options{Config: gate.Config{Disks: []string{`{name: root, file: "` + file + `", size: 16MiB}`}}})
	connect, args := monitor(t)
	vm := boot(t, "mkfs.ext4 -q -F /dev/vda && mount -t ext4 /dev/vda /mnt", append(args, b.attach(t, "iscsi")...), func(o *guest.Options) {
		o.Interactive = true
		o.Programs = append(o.Programs, "resize2fs")
	})
	b.config.Disks = []string{`{name: root, file: "` + file + `", size: 48MiB}`}
	b.g.Configure(t, b.config)
	if _, err := b.g.Terminate(time.Minute); err != nil {
		t.Error(err)
	}
	if err := b.g.Start(); err != nil {
		t.Fatal(err)
	}
	b.available(t)
	m := connect()
	if !gate.Poll(limit, func() bool { // it may be logging in again
		return m.Do("block_resize", map[string]any{"node-name": "pathgate-lun0", "size": 48 * mib}, nil) == nil
	}) {
		t.Fatal("QEMU does not see the new size")
	}
	demand(t, inside(t, vm, "resize2fs /dev/vda 2>&1 && cat /sys/block/vda/size && dd if=/dev/urandom of=/mnt/f bs=1M count=24 conv=fsync && umount /mnt && fsck.ext4 -fn /dev/vda"), "98304")
}
