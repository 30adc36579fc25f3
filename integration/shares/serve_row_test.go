// SPDX-License-Identifier: Apache-2.0

//go:build integration

package shares

import (
	"testing"
	"time"

	"pathgate/share"
)

// Rows 1 to 3 on a real target: two paths of 500 commands per second each.
func TestServeRows1To3(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{rate: 500, scheduler: scheduler(1000)}, of("vm1", 2000), of("vm2", 2000), of("vm3", 1000))
	loads := b.closed()
	b.warm()
	b.expect("tgtd, row 1", 3*time.Second, b.each(loads, 400, 400, 200)...)
	for vm, row := range b.shares() {
		want := map[string]float64{"vm1": 400, "vm2": 400, "vm3": 200}[vm]
		if e := row.Effective; e == nil || e.Shares != uint32(want*5) {
			t.Errorf("share list: %s has %+v in force, want %.0f shares", vm, e, want*5)
		}
		if d := row.EntitledCU/want - 1; d > 0.01 || d < -0.01 || !row.Active {
			t.Errorf("share list: %s is entitled to %.1f CU/s, want %.0f", vm, row.EntitledCU, want)
		}
		if row.Queued == 0 || row.Why == nil {
			t.Errorf("share list: %s has %d queued, for %+v", vm, row.Queued, row.Why)
		} else if r := row.Why.Reason; r != "share" && r != "window" && r != "over-entitlement" {
			t.Errorf("share list: %s waits for %s", vm, r)
		}
	}
	finish(t, loads[0])
	b.clock.Sleep(loads[0].Last() + within)
	b.expect("tgtd, row 2, the first second", time.Second, b.each(loads, 0, 1000.*2/3, 1000./3)[1:]...)
	b.expect("tgtd, row 2", 2*time.Second, b.each(loads, 0, 1000.*2/3, 1000./3)[1:]...)
	loads[0] = b.load("vm1", Job{Rate: 200})
	b.warm()
	b.expect("tgtd, row 3", 3*time.Second, b.each(loads, 200, 800.*2/3, 800./3)...)
	finish(t, loads...)
}

// Row 12 on two real paths, of which one is killed.
func TestServeRow12(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{rate: 500, scheduler: scheduler(1000)}, of("a", 1000).prio(10), of("b", 1000).prio(2))
	loads := []*Load{b.load("a", Job{Rate: 400}), b.load("b", Job{Depth: 128})}
	b.warm()
	b.expect("tgtd, row 12, two paths", 3*time.Second, b.each(loads, 400, 600)...)
	b.kill()
	b.warm()
	b.expect("tgtd, row 12, one path", 3*time.Second, b.each(loads, 400, 100)...)
	b.revive()
	b.warm()
	b.expect("tgtd, row 12, two again", 3*time.Second, b.each(loads, 400, 600)...)
	finish(t, loads...)
}

// Row 13 on two real paths; then on one of them; then with a reservation of more than
// that has.
func TestServeRow13(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{rate: 500, scheduler: scheduler(1000)},
		of("a", 100).prio(0).reserve(share.Rate{Ops: 300}), of("b", 10000).prio(10), of("c", 10000).prio(10))
	loads := b.closed()
	b.warm()
	b.expect("tgtd, row 13, two paths", 3*time.Second, b.each(loads, 300, 350, 350)...)
	b.kill()
	b.warm()
	b.expect("tgtd, row 13, one path", 3*time.Second, b.each(loads, 300, 100, 100)...)
	b.g.MustCLI(t, "share", "set", "a/root", "--reserve-iops", "600")
	b.warm()
	b.expect("tgtd, row 13, more than one path has", 3*time.Second, b.each(loads, 492, 4, 4)...)
	if r := b.shares()["a"].Reservation; r != "scaled" {
		t.Errorf("share list: the reservation of a is %s, want scaled", r)
	}
	finish(t, loads...)
}
