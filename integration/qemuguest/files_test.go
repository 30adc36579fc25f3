// SPDX-License-Identifier: Apache-2.0

//go:build integration

package qemuguest

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"pathgate/integration/gate"
	"pathgate/integration/guest"
	"pathgate/integration/proxy"
)

// filesScript makes a file system, writes files with checksums while the test breaks
// something, and verifies them in the same boot, past its page cache, and in the next.
const filesScript = `
disk=$(ls /dev/vda /dev/sda 2>/dev/null)
verify() {
	mount -t ext4 -o ro "$disk" /mnt || exit 3
	(cd /mnt && sha256sum -c sums) >/tmp/out 2>&1 || { grep -v OK /tmp/out; exit 4; }
	umount /mnt
	echo "verified $(grep -c OK /tmp/out) in boot $PATHGATE_BOOT"
}
if [ "$PATHGATE_BOOT" = 1 ]; then
	set -e
	mkfs.ext4 -q -F "$disk"
	mount -t ext4 "$disk" /mnt
	i=0
	while [ $i -lt 40 ]; do
		dd if=/dev/urandom of=/mnt/f$i bs=64k count=4 conv=fsync 2>/dev/null
		i=$((i+1))
		[ $((i%10)) != 0 ] || echo "written $i."
		[ $i != 10 ] && [ $i != 20 ] || read go
	done
	(cd /mnt && sha256sum f* > sums)
	umount /mnt
	fsck.ext4 -fn "$disk" >/tmp/fsck 2>&1 || { cat /tmp/fsck; exit 5; }
	blockdev --flushbufs "$disk"
	verify
	if dmesg | grep -iE 'I/O error|EXT4-fs error|aborting journal'; then exit 6; fi
	reboot -f
fi
verify
`

// boot starts a guest with the words of attach among QEMU's arguments.
func boot(t *testing.T, script string, words []string, more func(*guest.Options)) *guest.Guest {
	t.Helper()
	o := guest.Options{
		Script:   script,
		Modules:  []string{"ext4", "virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "sg"},
		Programs: []string{"mkfs.ext4", "fsck.ext4"},
		Args:     words,
		Timeout:  limit,
	}
	if more != nil {
		more(&o)
	}
	return guest.New(t, o)
}

// TestGuestUnderPathCuts: a guest whose disk is attached as attach prints it does not
// notice that a path is reset and another one goes silent under its file system.
func TestGuestUnderPathCuts(t *testing.T) {
	filesUnderPathCuts(t, "iscsi", func(b *bed) { b.wantSession(t, nil) })
}

// filesUnderPathCuts runs filesScript and cuts a path behind each of the proxies; then is
// called while the guest writes.
func filesUnderPathCuts(t *testing.T, over string, then func(*bed)) {
	t.Helper()
	b := newBed(t, options{lun: aLUN(64 * mib)})
	vm := boot(t, filesScript, b.attach(t, over), func(o *guest.Options) { o.Reboots = 1 })
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for i, f := range []proxy.Fault{{Kind: proxy.Reset}, {Kind: proxy.BlackHole}} {
		if err := vm.WaitOutput(ctx, []string{"written 10.", "written 20."}[i]); err != nil {
			t.Fatal(err)
		}
		then(b)
		mark := b.g.Events.Mark()
		from := b.paths[i].Counters().ToTarget.Bytes
		if err := vm.Send("go"); err != nil {
			t.Fatal(err)
		}
		if err := b.paths[i].Wait(func(c proxy.Counters) bool { return c.ToTarget.Bytes > from+256<<10 }, limit); err != nil {
			t.Fatalf("no load: %v", err)
		}
		b.paths[i].MustSet(f)
		b.g.Events.Wait(t, mark, limit, gate.Kind("path-down"))
		b.paths[i].Clear()
		b.settle(t)
	}
	r, err := vm.Wait(ctx)
	if err != nil || r.ExitCode != 0 || r.Boots != 2 || strings.Count(r.Output, "verified 40 in boot") != 2 {
		t.Fatalf("guest: %+v, %v", r, err)
	}
}

// wantSession checks that QEMU is logged in as it was told to, with keys.
func (b *bed) wantSession(t *testing.T, keys map[string]string) {
	t.Helper()
	var list []struct {
		Frontend, Uses, VM, User, Initiator string
		Keys                                map[string]string
	}
	out := b.g.MustCLI(t, "session", "list", "-o", "json")
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	s := list[0]
	if s.Frontend != "iscsi" || s.Uses != prefix+"vm1" || s.VM != "vm1" || s.User != user || s.Initiator != name {
		t.Errorf("session list: %s", out)
	}
	for k, want := range keys {
		if s.Keys[k] != want {
			t.Errorf("%s: %s, want %s", k, s.Keys[k], want)
		}
	}
}
