// SPDX-License-Identifier: Apache-2.0

//go:build integration

package shares

import (
	"testing"
	"time"

	"pathgate/integration/gate"
)

// Writes that wait for a fence do not eat the window. One of two target processes is
// stopped with writes in it: what overlaps them is held until it goes on, and the
// others share the path that is left.
func TestServeHeldForFence(t *testing.T) {
	t.Parallel()
	b := newBed(t, bedOptions{rate: 500, scheduler: scheduler(1000), processes: 2},
		of("held", 2000), of("vm1", 2000), of("vm2", 1000))
	const depth = 64 // more than the window that is left
	held := b.load("held", Job{Depth: depth, Write: true, Size: depth * 4096})
	loads := []*Load{held, b.load("vm1", Job{Depth: 64}), b.load("vm2", Job{Depth: 64})}
	b.warm()
	mark := b.g.Events.Mark()
	if err := b.tgts[1].Stop(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.tgts[1].Cont() }) // it may run
	b.g.Events.Wait(t, mark, 20*time.Second, gate.Kind("ghost-held"))
	failover := b.clock.Now() // what it sent again may still be answered, and free others
	var row shareRow
	if !gate.Poll(20*time.Second, func() bool {
		row = b.shares()["held"]
		return max(held.Last(), failover) < b.clock.Now()-500*time.Millisecond && row.Why != nil && row.Queued == 0
	}) {
		t.Fatalf("writes go on, the last %v ago: %+v", b.clock.Now()-held.Last(), row)
	}
	if row.Why.Reason != "fence" {
		t.Errorf("share list: the writes wait for %+v, want fence", row.Why)
	}
	from := b.clock.Now()
	b.expect("tgtd, writes held for a fence", 3*time.Second, b.each(loads, 0, 1000./3, 500./3)[1:]...)
	if n := held.Done(from, b.clock.Now()); n > 0 {
		t.Errorf("%d writes were answered while the old ones could still land", n)
	}
	if got := b.g.Events.Since(mark, gate.Kind("fence-done")); len(got) > 0 {
		t.Errorf("a stopped process was fenced: %v", got)
	}
	if err := b.tgts[1].Cont(); err != nil {
		t.Fatal(err)
	}
	b.g.Events.Wait(t, mark, 30*time.Second, gate.Kind("fence-done"))
	again := b.clock.Now()
	if _, ok := b.clock.Until(20*time.Second, func() bool { return held.Done(again, b.clock.Now()) > 10*depth }); !ok {
		t.Errorf("%d writes after the fence", held.Done(again, b.clock.Now()))
	}
	finish(t, loads...)
}
