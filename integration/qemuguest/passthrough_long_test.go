// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package qemuguest

import (
	"context"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"pathgate/integration/gate"
	"pathgate/integration/guest"
	"pathgate/integration/proxy"
)

// inside runs a command in a guest, which has to succeed, and gives what it prints.
func inside(t *testing.T, vm *guest.Guest, command string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	r, err := vm.Exec(ctx, command)
	if err != nil || r.ExitCode != 0 {
		t.Fatalf("in the guest: %s: %v, status %d: %s", command, err, r.ExitCode, r.Output)
	}
	return r.Output
}

// synced counts the SYNCHRONIZE CACHE commands that pass through proxies.
func synced(proxies ...*proxy.Proxy) *atomic.Int64 {
	var n atomic.Int64
	for _, p := range proxies {
		p.MustSet(proxy.Fault{Kind: proxy.Hold, Dir: proxy.ToTarget, At: &proxy.Trigger{
			Opcodes: []proxy.Opcode{proxy.SCSICommand},
			When: func(p proxy.PDU) bool {
				if op := p.CDB()[0]; op == 0x35 || op == 0x91 {
					n.Add(1)
				}
				return false // it only counts
			},
		}})
	}
	return &n
}

// allocated is how many bytes of a file are there.
func allocated(t *testing.T, file string) int64 {
	t.Helper()
	fi, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return fi.Sys().(*syscall.Stat_t).Blocks * 512
}

// TestLongGuestPassthrough: through scsi-block the guest has the LUN itself: persistent
// reservations that hold at the gateway, discards that reach what is below, and flushes
// that do so too.
func TestLongGuestPassthrough(t *testing.T) {
	l := aLUN(64 * mib)
	l.Thin = true
	b := newBed(t, options{front: true, lun: l, Config: gate.Config{Rules: []string{`{id: "*", all-paths-down: queue, cache: volatile}`}}})
	vm := boot(t, "true", onSCSI(b.attach(t, "iscsi"), "scsi-block"), func(o *guest.Options) {
		o.Interactive = true
		o.Programs = append(o.Programs, "sg_persist", "sg_inq", "blkdiscard", "fstrim")
	})
	do := func(command string) string { t.Helper(); return inside(t, vm, command) }
	demand(t, do("sg_inq /dev/sda"), "Vendor identification: PATHGATE")
	reserve(t, b, do)
	discard(t, b, do)

	front, behind := synced(b.front), synced(b.paths...)
	do("dd if=/dev/urandom of=/dev/sda bs=64k count=16 conv=fsync")
	if front.Load() == 0 || behind.Load() == 0 {
		t.Errorf("%d flushes at the gateway, %d at the target", front.Load(), behind.Load())
	}
	demand(t, do("cat /sys/block/sda/queue/write_cache"), "write back")
}

// reserve has the guest reserve its disk, against an NBD client of the same disk.
func reserve(t *testing.T, b *bed, do func(string) string) {
	t.Helper()
	demand(t, do("sg_persist --in --report-capabilities /dev/sda"), "Persist Through Power Loss Capable(PTPL_C): 1")
	do("sg_persist --out --register --param-sark=0xabc123 /dev/sda")
	do("sg_persist --out --reserve --param-rk=0xabc123 --prout-type=1 /dev/sda")
	demand(t, do("sg_persist --in --read-keys /dev/sda"), "0xabc123")
	demand(t, do("sg_persist --in --read-reservation /dev/sda"), "Key=0xabc123", "Write Exclusive")
	c := b.g.Connect(t, "vm1/root")
	defer c.Close()
	block := make([]byte, 4096)
	if _, err := c.WriteAt(block, mib); err == nil {
		t.Error("an NBD client writes what is reserved")
	}
	do("dd if=/dev/zero of=/dev/sda bs=4k count=1 oflag=direct")
	do("sg_persist --out --release --param-rk=0xabc123 --prout-type=1 /dev/sda")
	if _, err := c.WriteAt(block, mib); err != nil {
		t.Errorf("after the release: %v", err)
	}
	do("sg_persist --out --clear --param-rk=0xabc123 /dev/sda")
	demand(t, do("sg_persist --in --read-keys /dev/sda"), "there are NO registered reservation keys")
}

// discard has the guest discard, a range and what its file system does not use.
func discard(t *testing.T, b *bed, do func(string) string) {
	t.Helper()
	do("dd if=/dev/urandom of=/dev/sda bs=1M count=16 oflag=direct")
	full := allocated(t, b.file)
	do("blkdiscard -o 0 -l 16777216 /dev/sda")
	if now := allocated(t, b.file); full < 16*mib || now > full-15*mib {
		t.Errorf("%d bytes are there after the discard, %d before", now, full)
	}
	do("mkfs.ext4 -q -F -E nodiscard /dev/sda && mount -t ext4 /dev/sda /mnt && dd if=/dev/urandom of=/mnt/f bs=1M count=24 conv=fsync")
	full = allocated(t, b.file)
	do("rm /mnt/f && sync")
	demand(t, do("fstrim -v /mnt"), "trimmed")
	if now := allocated(t, b.file); now > full-20*mib {
		t.Errorf("%d bytes are there after fstrim, %d before", now, full)
	}
	do("umount /mnt && fsck.ext4 -fn /dev/sda")
}

// rootScript makes a root file system on the disk at the first boot, and goes over
// to it at each.
const rootScript = `
set -e
if [ "$PATHGATE_BOOT" = 1 ]; then
	mkfs.ext4 -q -F /dev/vda
	mount -t ext4 /dev/vda /mnt
	for d in /bin /lib /lib64 /usr; do [ ! -e $d ] || cp -a $d /mnt/; done
	cp /work /mnt/work
	mkdir -p /mnt/proc /mnt/dev /mnt/root
else
	mount -t ext4 /dev/vda /mnt
fi
mount --move /proc /mnt/proc
mount --move /dev /mnt/dev
cd /mnt
mount --move . /
exec chroot . /bin/sh /work
`

// rootWork is what runs on it.
const rootWork = `
grep -q '^/dev/vda / ext4 ' /proc/mounts || { cat /proc/mounts; exit 7; }
cd /root
make() {
	for i in 0 1 2 3 4 5 6 7 8 9; do dd if=/dev/urandom of=$1$i bs=64k count=2 conv=fsync 2>/dev/null || exit 3; done
	sha256sum $1? >sums.$1 && sync || exit 3
}
check() { sha256sum -c sums.$1 >/dev/null || exit 4; }
case $PATHGATE_BOOT in
1)
	make a
	mount -o remount,ro /
	reboot -f
	;;
2)
	check a
	make b
	echo "pull the plug"
	i=0
	while :; do dd if=/dev/zero of=c bs=64k count=4 2>/dev/null; done
	;;
3)
	check a
	check b
	echo "all is there"
	;;
esac
`

// TestLongGuestRoot: a guest whose root file system is on the disk boots, writes, reboots
// by itself and is reset, and finds what it wrote.
func TestLongGuestRoot(t *testing.T) {
	b := newBed(t, options{lun: aLUN(64 * mib)})
	m, args := monitor(t)
	vm := boot(t, rootScript, append(args, b.attach(t, "iscsi")...), func(o *guest.Options) {
		o.Files, o.Reboots = map[string]string{"/work": rootWork}, 2
	})
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := vm.WaitOutput(ctx, "pull the plug"); err != nil {
		t.Fatal(err)
	}
	if err := m().Do("system_reset", nil, nil); err != nil {
		t.Fatal(err)
	}
	r, err := vm.Wait(ctx)
	if err != nil || r.ExitCode != 0 || r.Boots != 3 || !strings.Contains(r.Output, "all is there") {
		t.Fatalf("guest: %+v, %v", r, err)
	}
	if out, err := try(t, "/usr/sbin/fsck.ext4", "-fy", b.file); err != nil && !strings.Contains(out, "recovering journal") {
		t.Errorf("fsck: %v: %s", err, out)
	}
}
