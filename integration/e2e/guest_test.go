// SPDX-License-Identifier: Apache-2.0

//go:build integration

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/guest"
	"pathgate/integration/proxy"
)

// The guest makes a file system, writes files with checksums while the test cuts
// a path, and reboots; the second boot verifies them.
const guestScript = `
if [ "$PATHGATE_BOOT" = 1 ]; then
	set -e
	mkfs.ext4 -q -F /dev/vda
	mount -t ext4 /dev/vda /mnt
	echo "mounted"
	i=0
	while [ $i -lt 60 ]; do
		dd if=/dev/urandom of=/mnt/f$i bs=64k count=6 conv=fsync 2>/dev/null
		i=$((i+1))
		if [ $i = 10 ]; then echo "writing"; fi
	done
	(cd /mnt && sha256sum f* > sums)
	echo "written"
	read go
	umount /mnt
	echo "unmounted"
	reboot -f
fi
mount -t ext4 -o ro /dev/vda /mnt || exit 3
cd /mnt && sha256sum -c sums > /tmp/out 2>&1 || { grep -v OK /tmp/out; exit 4; }
echo "verified $(grep -c OK /tmp/out)"
cd / && umount /mnt
`

// TestGuest: a VM boots with its disk on the gateway's unix socket and does not
// notice that a path dies under its file system.
func TestGuest(t *testing.T) {
	for name, cut := range map[string]bool{"control": false, "cut": true} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, bedOptions{})
			before := b.g.Events.Mark()
			vm := guest.New(t, guest.Options{
				Script:   guestScript,
				Modules:  []string{"ext4"},
				Programs: []string{"mkfs.ext4"},
				Drives:   []string{"file=nbd:" + b.g.NBD() + ":exportname=vm1/root,if=virtio,format=raw"},
				Reboots:  1,
				Timeout:  3 * time.Minute,
			})
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
			defer cancel()
			wait := func(text string) {
				t.Helper()
				if err := vm.WaitOutput(ctx, text); err != nil {
					t.Fatal(err)
				}
			}
			wait("writing")
			mark := b.g.Events.Mark()
			if cut {
				paths := b.behind(t, 0)
				b.proxies[0].MustSet(proxy.Fault{Kind: proxy.BlackHole})
				b.lost(t, mark, paths, 10*time.Second)
				b.g.Events.Wait(t, mark, 10*time.Second, onPath("failover", paths))
			}
			wait("written")
			if cut {
				if b.proxies[0].Counters().Fault(proxy.BlackHole).Bytes == 0 {
					t.Error("nothing was swallowed")
				}
				b.proxies[0].Clear()
				b.settle(t)
			}
			if err := vm.Send("go"); err != nil {
				t.Fatal(err)
			}
			r, err := vm.Wait(ctx)
			if err != nil || r.ExitCode != 0 || r.Boots != 2 || !strings.Contains(r.Output, "verified 60") {
				t.Fatalf("guest: %+v, %v", r, err)
			}
			if !cut {
				b.quiet(t, before)
			}
			var failovers []gate.Event
			if cut {
				failovers = b.g.Events.Since(mark, gate.Kind("failover"))
			}
			t.Logf("measured: guest wrote 60 files of 384 KiB on ext4, rebooted, verified 60; failovers %v", failovers)
		})
	}
}
