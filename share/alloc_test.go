// SPDX-License-Identifier: Apache-2.0

//go:build !race

package share

import "testing"

func TestPassingDoesNotAllocate(t *testing.T) {
	d, step := passing(t)
	step()
	if d.word.load().queued() != 0 || !d.word.load().open() {
		t.Fatal("the way past the core is not open")
	}
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations for a command that passes, want 0", n)
	}
}

func TestWaitingDoesNotAllocate(t *testing.T) {
	d, step := backlogged(t, 100)
	for range 1000 {
		step()
	}
	if n := testing.AllocsPerRun(1000, step); n != 0 {
		t.Errorf("%v allocations for a command that waits, want 0", n)
	}
	if d.word.load().queued() == 0 {
		t.Error("nothing waited")
	}
}

func TestStatusDoesNotAllocate(t *testing.T) {
	d, step := backlogged(t, 100)
	var s Snapshot
	var log []Explain
	work := func() {
		step()
		d.Status(&s)
		log = d.Explained(log[:0], 0)
	}
	work()
	for range 1200 {
		step()
	}
	work()
	if n := testing.AllocsPerRun(100, work); n != 0 {
		t.Errorf("%v allocations for a status that re-uses its slices, want 0", n)
	}
}
