// SPDX-License-Identifier: Apache-2.0

//go:build integration

package initiators

import (
	"bytes"
	"testing"

	"pathgate/integration/gate"
	"pathgate/integration/scripted"
	"pathgate/internal/scsi"
)

// TestH11InitiatorsSeeGrowth: a LUN grows while two sessions use the disk on it. Each is
// told so once, learns the new size and uses it; a later session is told nothing.
func TestH11InitiatorsSeeGrowth(t *testing.T) {
	const small, large = 8 * mib, 16 * mib
	u := scripted.NewUnit(small)
	tg := scripted.New(t, scripted.Options{Portals: []scripted.Portal{{}, {}}, Units: map[uint16]*scripted.Unit{1: u}})
	g, portals := start(t, gate.Config{
		Adapters: []string{"127.0.0.1"},
		Targets:  []gate.Target{{Portals: tg.Addresses()}},
		Timeouts: map[string]string{"checker": "1s", "client-nop-interval": "1m"},
	}, 1)
	g.WaitUp(t, 2, patience) // a path that has not joined yet could show the new size first
	g.WaitDisks(t, patience, available(1))
	size := func(p *peer) uint64 {
		t.Helper()
		c, err := scsi.DecodeCapacity16(p.good(t, 0, scsi.ReadCapacity16{AllocationLength: 32}, 32))
		if err != nil {
			t.Fatal(err)
		}
		return c.Bytes()
	}
	var peers []*peer
	for i := range 2 {
		p := mustLogin(t, portals[0], isid(byte(i+1)))
		p.once(t, 0, lost)
		if got := size(p); got != small {
			t.Fatalf("%d bytes", got)
		}
		if a := p.await(t, p.write(t, 0, small, fill(chunk, older))); a.sense != scsi.CodeLBAOutOfRange {
			t.Errorf("a write behind the end: %v, %v", a.status, a.sense)
		}
		peers = append(peers, p)
	}

	u.Resize(large)
	nbd := g.Connect(t, "vm1/root")
	if !gate.Poll(patience, func() bool {
		if _, err := nbd.ReadAt(make([]byte, block), 0); err != nil { // a command finds it
			t.Fatal(err)
		}
		ds := g.Disks(t)
		return len(ds) == 1 && ds[0].Size == large
	}) {
		t.Fatalf("the disk has not grown: %+v", g.Disks(t))
	}

	for i, p := range peers {
		p.once(t, 0, func(c scsi.SenseCode) bool { return c == scsi.CodeCapacityChanged })
		if got := size(p); got != large {
			t.Errorf("session %d sees %d bytes, want %d", i, got, large)
		}
		off := small + i*mib
		if a := p.await(t, p.write(t, 0, off, fill(chunk, byte(i+1)))); a.status != scsi.StatusGood {
			t.Errorf("a write behind the old end: %v, %v", a.status, a.sense)
		}
		if !bytes.Equal(u.Medium.Bytes(off, chunk), fill(chunk, byte(i+1))) {
			t.Error("the write is not on the LUN")
		}
	}
	late := mustLogin(t, portals[0], isid(3))
	late.once(t, 0, lost)
	for _, p := range append(peers, late) {
		for i := range peers {
			if !bytes.Equal(p.read(t, 0, small+i*mib, chunk), fill(chunk, byte(i+1))) {
				t.Errorf("what session %d wrote is not read", i)
			}
		}
		p.good(t, 0, scsi.ReadWrite{LBA: large/block - 1, Blocks: 1}, block)
		if a := p.exec(t, 0, scsi.ReadWrite{LBA: large / block, Blocks: 1}, block); a.sense != scsi.CodeLBAOutOfRange {
			t.Errorf("behind the new end: %v, %v", a.status, a.sense)
		}
	}
}
