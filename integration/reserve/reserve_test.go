// SPDX-License-Identifier: Apache-2.0

//go:build integration

package reserve

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/proxy"
	"pathgate/integration/tgtd"
	"pathgate/internal/scsi"
)

// TestH06Reservations is all of it on one guest, which takes seconds to boot.
func TestH06Reservations(t *testing.T) {
	b := newBed(t)
	t.Run("second gateway", b.secondGateway)
	t.Run("path losses", func(t *testing.T) { b.pathLosses(t, 4) })
	t.Run("fence by key", b.fenceByKey)
}

// TestH06ReservationsOfTgtd: it has no PREEMPT AND ABORT, and keeps a registration of
// each login; PREEMPT and a reset do.
func TestH06ReservationsOfTgtd(t *testing.T) {
	b := newTgtdBed(t)
	t.Run("second gateway", b.secondGateway)
	t.Run("path losses", func(t *testing.T) { b.pathLosses(t, 2) })
}

// TestH03ReservationOfTwoProcesses: two tgtd on one file have registrations of their
// own. Each of them is reserved, and no path's key can be taken away over the other, so
// neither level of a fence is shown.
func TestH03ReservationOfTwoProcesses(t *testing.T) {
	const name = "iqn.2026-11.test:two"
	lun := tgtd.LUN{File: filepath.Join(t.TempDir(), "lun"), SizeBytes: 32 * mib, SCSIID: "pathgate-two", SCSISN: "two"}
	target := tgtd.Options{Targets: []tgtd.Target{{Name: name, LUNs: []tgtd.LUN{lun}}}}
	first, second := tgtd.New(t, target), tgtd.New(t, target)
	b := makeBed(t, 1, name, append(first.Portals(), second.Portals()...))
	g := b.gateway(t, "first", "127.0.0.1")
	other := newEye(t, 1, name, second.Portals()[0])
	for i, e := range []*eye{b.eye, other} {
		if keys := e.keys(t); len(keys) != 1 || !e.reservation(t).Held {
			t.Errorf("process %d knows the keys %x", i, keys)
		}
	}
	for _, p := range g.Paths(t) {
		if p.Fencing != "waiting" {
			t.Errorf("level of %s: %s", p.Name, p.Fencing)
		}
	}
	if out := g.MustCLI(t, "device", "show", b.device); !strings.Contains(out, "waiting") {
		t.Errorf("shown:\n%s", out)
	}
	stop(t, g)
}

// empty fails the test unless nothing is registered.
func (b *bed) empty(t *testing.T) {
	t.Helper()
	if k := b.eye.keys(t); len(k) != 0 || b.eye.reservation(t).Held {
		t.Errorf("left behind: %x, %+v", k, b.eye.reservation(t))
	}
}

// stop ends a gateway in order.
func stop(t *testing.T, g *gate.Gate) {
	t.Helper()
	if _, err := g.Terminate(30 * time.Second); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// A second gateway reads and does not write until it preempts; then the first one
// does not, and a clean stop gives the LUN back.
func (b *bed) secondGateway(t *testing.T) {
	first := b.gateway(t, "first", "127.0.0.1")
	c := first.Connect(t, "vm1/root")
	if _, err := c.WriteAt(block(1), 0); err != nil {
		t.Fatal(err)
	}
	if r := b.eye.reservation(t); !r.Held || r.Type != scsi.WriteExclusiveAllRegistrants {
		t.Errorf("reserved: %+v", r)
	}
	second := b.gateway(t, "second", "127.0.0.1")
	d := second.Connect(t, "vm1/root")
	reads(t, d, 0, 1)
	if _, err := d.WriteAt(block(2), 0); err == nil {
		t.Error("the second gateway writes")
	}
	second.WaitDisks(t, 10*time.Second, func(ds []gate.Disk) bool {
		return len(ds) == 1 && !ds[0].Available && strings.Contains(ds[0].Why, "reserved (write exclusive, all registrants) by gateway")
	})
	if r := b.show(t, second); r.State != "foreign" || len(r.Keys) != 2 || r.Keys[0].Ours {
		t.Errorf("shown: %+v", r)
	}
	reads(t, c, 0, 1)
	if out := second.MustCLI(t, "reservation", "list"); !strings.Contains(out, b.device) || !strings.Contains(out, "foreign") {
		t.Errorf("listed:\n%s", out)
	}
	owner := b.show(t, first).Gateway
	if _, err := second.CLI(t.Context(), "reservation", "preempt", b.device, "--gateway", "0x1"); err == nil || !strings.Contains(err.Error(), "no such key") {
		t.Errorf("preempt of a gateway that is not there: %v", err)
	}
	begin := time.Now()
	out := second.MustCLI(t, "reservation", "preempt", b.device, "--gateway", owner)
	took := time.Since(begin)
	if strings.Count(out, "is taken away") != 2 || strings.Contains(out, "may still run") {
		t.Errorf("preempt printed:\n%s", out)
	}
	if _, err := d.WriteAt(block(3), 0); err != nil {
		t.Errorf("the second gateway after it has preempted: %v", err)
	}
	mark := 0
	if _, err := c.WriteAt(block(4), 0); err == nil {
		t.Error("the first gateway still writes")
	}
	first.Events.Wait(t, mark, 10*time.Second, gate.Kind("reservation-lost"))
	reads(t, c, 0, 3)
	stop(t, second)
	// The LUN is free, and the first one takes it when it looks again.
	if !gate.Poll(30*time.Second, func() bool { _, err := c.WriteAt(block(5), 0); return err == nil }) {
		t.Error("the first gateway does not take the free LUN")
	}
	stop(t, first)
	b.empty(t)
	t.Logf("measured: preempting the two paths of a living gateway took %v", took.Round(time.Millisecond))
}

// Keys after each loss of a path: those of the living ones, and no other;
// and all again when it is back.
func (b *bed) pathLosses(t *testing.T, rounds int) {
	g := b.gateway(t, "first", "127.0.0.1", "127.0.0.2")
	c := g.Connect(t, "vm1/root")
	var sum time.Duration
	for round := range rounds {
		lost := round % 2
		p := b.proxies[lost]
		p.MustSet(proxy.Fault{Kind: proxy.Refuse})
		p.ResetConns()
		if round%3 == 0 {
			if _, err := c.WriteAt(block(byte(round)), 0); err != nil {
				t.Fatal(err)
			}
		}
		begin := time.Now()
		b.settled(t, g, fmt.Sprintf("round %d, portal %d lost", round, lost), b.proxies[1-lost].Addr())
		sum += time.Since(begin)
		p.Clear()
		// Up or on probation: a path that is lost so often is not used at once.
		b.settled(t, g, fmt.Sprintf("round %d, portal %d back", round, lost), b.proxies[0].Addr(), b.proxies[1].Addr())
	}
	if got := g.Events.Since(0, gate.Kind("reservation-lost", "reservation-conflict")); len(got) != 0 {
		t.Errorf("told: %v", got)
	}
	stop(t, g)
	b.empty(t)
	t.Logf("measured: a lost path's key was gone %v after the loss, mean of %d", (sum / time.Duration(rounds)).Round(time.Millisecond), rounds)
}

// settled waits until the target knows exactly the keys of the paths over the
// portals, reserved for all registrants.
func (b *bed) settled(t *testing.T, g *gate.Gate, what string, portals ...string) {
	t.Helper()
	want := 0
	for _, p := range g.Paths(t) {
		if slices.Contains(portals, p.Portal) {
			want++
		}
	}
	var keys []uint64
	if !gate.Poll(20*time.Second, func() bool { keys = b.eye.keys(t); return len(keys) == want }) {
		t.Fatalf("%s: the target knows %x, want %d keys", what, keys, want)
	}
	if r := b.eye.reservation(t); !r.Held || r.Type != scsi.WriteExclusiveAllRegistrants {
		t.Errorf("%s: reserved: %+v", what, r)
	}
	living := map[string]bool{}
	for _, p := range g.Paths(t) {
		living[p.Name] = slices.Contains(portals, p.Portal)
	}
	for _, k := range b.show(t, g).Keys {
		if !k.Ours || !living[k.Path] {
			t.Errorf("%s: the key %s is of %q", what, k.Key, k.Path)
		}
	}
}

// fenceByKey (rule 6(c)): W1 is held on the way to one portal group, and nothing gets through to that any more. W1 is acknowledged from the
// other group, W2 when the path's key is taken away; what is let go later is refused.
func (b *bed) fenceByKey(t *testing.T) {
	g := b.gateway(t, "first", "127.0.0.1")
	c := g.Connect(t, "vm1/root")
	for _, p := range g.Paths(t) {
		if p.Fencing != "pr-fenced" {
			t.Errorf("level of %s: %q", p.Name, p.Fencing)
		}
	}
	trigger := func(p proxy.PDU) bool { return p.Opcode == proxy.SCSICommand && p.DataLen > 0 }
	hit := -1
	for _, p := range b.proxies {
		p.MustSet(proxy.Fault{Kind: proxy.Hold, Dir: proxy.ToTarget, At: &proxy.Trigger{When: trigger}})
	}
	mark := g.Events.Mark()
	w1 := make(chan error, 1)
	go func() { _, err := c.WriteAt(block(1), mib); w1 <- err }()
	if !gate.Poll(10*time.Second, func() bool {
		for i, p := range b.proxies {
			if p.Counters().Fault(proxy.Hold).Times > 0 {
				hit = i
			}
		}
		return hit >= 0
	}) {
		t.Fatal("no proxy has seen W1")
	}
	b.proxies[1-hit].Clear()
	b.proxies[hit].MustSet(proxy.Fault{Kind: proxy.Refuse})
	if err := <-w1; err != nil {
		t.Fatalf("W1: %v", err)
	}
	begin := time.Now()
	if _, err := c.WriteAt(block(2), mib); err != nil {
		t.Fatalf("W2: %v", err)
	}
	took := time.Since(begin)
	if e := g.Events.Wait(t, mark, time.Second, gate.Kind("fence-done")); e.Attrs["method"] != "preempt+lun-reset" {
		t.Errorf("fenced by %v", e)
	}
	b.proxies[hit].Clear()
	if err := b.proxies[hit].Wait(func(c proxy.Counters) bool { return c.Fault(proxy.Hold).Released > 0 }, 5*time.Second); err != nil {
		t.Errorf("nothing was let go: %v", err)
	}
	g.WaitUp(t, 2, time.Minute)
	reads(t, c, mib, 2)
	stop(t, g)
	b.empty(t)
	t.Logf("measured: with its portal group out of reach a write was fenced by its path's key: the next one waited %v", took.Round(time.Millisecond))
}
