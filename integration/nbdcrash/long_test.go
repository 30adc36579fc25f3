// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package nbdcrash

import (
	"fmt"
	"testing"

	"pathgate/integration/gate"
	"pathgate/integration/guest"
	"pathgate/integration/proxy"
)

// kernel is the nbd driver of Linux over four connections. It asks for FUA.
func (b *bed) kernel(t *testing.T) client {
	t.Helper()
	tree, _, err := guest.Initiator()
	if err != nil {
		t.Fatal(err)
	}
	return client{
		device: "/dev/nbd0",
		before: fmt.Sprintf(`mkdir -p /var/run
nbd-client 10.0.2.2 %d /dev/nbd0 -N vm1/root -C 4 >/run/nbd-client 2>&1 || { cat /run/nbd-client; exit 3; }
until [ -e /sys/block/nbd0/pid ]; do sleep 0.1; done
`, b.port),
		after: "nbd-client -d /dev/nbd0\n",
		options: guest.Options{
			Modules:  []string{"nbd", "ext4", "crc32c"},
			Programs: []string{"mkfs.ext4"},
			Trees:    []string{tree},
			Network:  true, MemoryMB: 512, Append: "net.ifnames=0",
		},
	}
}

// cuts gives a function for plan.at that has one portal after the other swallow all bytes,
// and then hold them back and deliver them late, each for some steps and until its two
// paths are down.
func (b *bed) cuts(t *testing.T) func(step int) {
	mark := 0
	begin := func(i int, k proxy.Kind) {
		t.Helper()
		b.settle(t)
		mark = b.Events.Mark()
		b.proxies[i].MustSet(proxy.Fault{Kind: k})
	}
	end := func(i int) {
		t.Helper()
		b.Events.WaitN(t, mark, 2, patience, gate.Kind("path-down"))
		b.proxies[i].Clear()
	}
	return func(step int) {
		switch step {
		case 5:
			begin(0, proxy.BlackHole)
		case 13:
			end(0)
		case 15:
			begin(1, proxy.Hold)
		case 23:
			end(1)
		}
	}
}

// TestLongP1CrashReplayCut: the same with paths that are lost meanwhile.
func TestLongP1CrashReplayCut(t *testing.T) {
	b := newBed(t, 10)
	b.crash(t, plan{seed: 10, steps: 28, some: 2, client: b.virtio, at: b.cuts(t)})
}

// TestLongP2CrashReplayKernel: the same by a client that asks for FUA, over several
// connections of which a flush on one covers all.
func TestLongP2CrashReplayKernel(t *testing.T) {
	b := newBed(t, 20)
	l := b.crash(t, plan{seed: 20, steps: 20, some: 2, client: b.kernel})
	if _, _, _, fua := l.count(); fua == 0 {
		t.Error("no write had FUA")
	}
}
