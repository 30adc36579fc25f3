// SPDX-License-Identifier: Apache-2.0

//go:build integration

package e2e

import (
	"testing"
	"time"

	"pathgate/integration/gate"
)

// TestStampControl: the load of the tests below without a fault.
func TestStampControl(t *testing.T) {
	for name, two := range map[string]bool{"one target": false, "two targets": true} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, bedOptions{two: two})
			mark := b.g.Events.Mark()
			l := b.startStamps(t, 1)
			l.flowOn(t, 0, 32*mib)
			rep := l.finish(t)
			b.quiet(t, mark)
			t.Logf("measured: stamps without a fault: %s", summary(rep))
		})
	}
}

// TestStampKilledTarget: one of two processes with one file is killed and started
// again. Its LUN is declared to have a protected cache: the file's page cache lives on.
func TestStampKilledTarget(t *testing.T) {
	b := newBed(t, bedOptions{two: true})
	l := b.startStamps(t, 4)
	for i, s := range b.tgts {
		paths := b.behind(t, i)
		mark := b.g.Events.Mark()
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		b.lost(t, mark, paths, 5*time.Second)
		if err := s.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.settle(t)
		l.flow(t)
		if got := b.g.Events.Since(mark, gate.Kind("flush-lost")); len(got) > 0 {
			t.Errorf("the cache is protected, and: %v", got)
		}
	}
	rep := l.finish(t)
	t.Logf("measured: stamps, each of two targets killed and restarted: %s", summary(rep))
}

// TestStampAllStopped: the only process is stopped for 5 s: all paths are down, and
// everything waits.
func TestStampAllStopped(t *testing.T) {
	b := newBed(t, bedOptions{})
	l := b.startStamps(t, 5)
	mark := b.g.Events.Mark()
	if err := b.tgts[0].Down(t.Context(), 5*time.Second); err != nil {
		t.Fatal(err)
	}
	b.g.Events.Wait(t, mark, time.Second, gate.Kind("all-paths-down"))
	e := b.g.Events.Wait(t, mark, 20*time.Second, gate.Kind("paths-restored"))
	b.settle(t)
	l.flow(t)
	rep := l.finish(t)
	if rep.Stall.Gap < 4*time.Second {
		t.Errorf("longest stall %v, although nothing could run for 5 s", rep.Stall.Gap)
	}
	t.Logf("measured: stamps, the only target stopped for 5 s: %s; without paths for %v", summary(rep), e.Duration())
}
