// SPDX-License-Identifier: Apache-2.0

//go:build integration

package selectors

import (
	"slices"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/nbdclient"
	"pathgate/integration/proxy"
)

// within is how soon after the return of a path the plan is as it was before the loss.
const within = time.Second

// Two VMs on two paths: per-path byte counters show each VM only on its own; after a
// loss both on the survivor; apart again within 1 s of the return (RT-8, RT-10).
func TestPerVM(t *testing.T) {
	t.Parallel()
	b := newBed(t, "per-vm", 4, 5)
	reader, writer := b.g.Connect(t, "vm4/root"), b.g.Connect(t, "vm5/root")
	b.reads(reader, 1, 1) // the first to come has path 0
	both := func() []traffic {
		return b.during(func() {
			b.reads(reader, 40, 4)
			b.writes(writer, 40, 4)
		})
	}
	apart := func(when string) {
		t.Helper()
		got := both()
		b.near(when+": vm4 on path 0", got[0].read, 40)
		b.near(when+": vm4 on path 1", got[1].read, 0)
		b.near(when+": vm5 on path 0", got[0].written, 0)
		b.near(when+": vm5 on path 1", got[1].written, 40)
	}
	apart("at first")
	if u := b.users(); !slices.Equal(u[path(0)], []string{"vm4"}) || !slices.Equal(u[path(1)], []string{"vm5"}) {
		t.Errorf("path list: %v", u)
	}
	for _, lost := range []int{1, 0} {
		b.cut(lost)
		got := both()
		b.near("after the loss: vm4", got[1-lost].read, 40)
		b.near("after the loss: vm5", got[1-lost].written, 40)
		b.returns(lost, func() (done bool) {
			got := b.during(func() {
				b.reads(reader, 1, 1)
				b.writes(writer, 1, 1)
			})
			return got[0].read >= chunk && got[1].read < noise && got[1].written >= chunk && got[0].written < noise
		})
		apart("after the return")
	}
}

// returns mends a path and asks until done says that the VMs are where they were, at
// most within after the path is used again. Where the machine was slow the time is
// measured anew, over another loss.
func (b *bed) returns(lost int, done func() bool) {
	b.t.Helper()
	const attempts = 5
	for i := 1; ; i++ {
		mark := b.g.Events.Mark()
		b.proxies[lost].Clear(proxy.Refuse)
		var slowest time.Duration
		end := time.Now().Add(patience)
		for last := time.Now(); !done(); {
			now := time.Now()
			slowest, last = max(slowest, now.Sub(last)), now
			if now.After(end) {
				b.t.Fatalf("the VMs are not where they were: %v", b.users())
			}
		}
		at := time.Now()
		e := b.g.Events.Wait(b.t, mark, patience, func(e gate.Event) bool { return e.Kind == "failback" && e.Path == path(lost) })
		took := at.Sub(e.Time)
		b.t.Logf("measured: apart %v after the return of %s, slowest request %v", took.Round(time.Millisecond), path(lost), slowest.Round(time.Millisecond))
		b.g.WaitUp(b.t, len(b.proxies), patience)
		if took <= within {
			return
		}
		if i == attempts {
			b.t.Errorf("%v after the return, want at most %v", took, within)
			return
		}
		b.cut(lost)
	}
}

// A VM of low priority has one path of two, one of high priority both; the priority
// counts as it is set; after the loss of that path the low one is on the survivor, and
// back within 1 s of the return (RT-9, RT-10).
func TestIsolateLow(t *testing.T) {
	t.Parallel()
	b := newBed(t, "isolate-low", 2, 7)
	low, high := b.g.Connect(t, "vm2/root"), b.g.Connect(t, "vm7/root")
	settled := func() bool { return b.during(func() { b.reads(low, 4, 1) })[0].read < noise }
	if !gate.Poll(patience, settled) {
		t.Fatal("not confined at first")
	}
	b.confined(low, high, true)
	for _, lost := range []int{1, 0} {
		b.cut(lost)
		got := b.during(func() {
			b.reads(low, 40, 4)
			b.writes(high, 40, 4)
		})
		b.near("after the loss: low", got[1-lost].read, 40)
		b.near("after the loss: high", got[1-lost].written, 40)
		b.returns(lost, func() (done bool) {
			got := b.during(func() {
				b.reads(low, 1, 1)
				b.writes(high, 2, 1)
			})
			return got[1].read >= chunk && got[0].read < noise && got[0].written >= chunk
		})
		b.confined(low, high, true)
	}
	b.g.MustCLI(t, "share", "set", "vm2", "--priority", "9")
	b.confined(low, high, false)
	b.g.MustCLI(t, "share", "reset", "vm2")
	b.g.MustCLI(t, "device", "set", b.device, "--below", "2")
	b.confined(low, high, false)
	b.g.MustCLI(t, "device", "reset", b.device)
	if !gate.Poll(patience, settled) {
		t.Fatal("not confined again")
	}
	b.confined(low, high, true)
}

// confined checks that the high one is on both paths, and the low one on the last or,
// when it is not confined, on both.
func (b *bed) confined(low, high *nbdclient.Client, confined bool) {
	b.t.Helper()
	got := b.during(func() {
		b.reads(low, 40, 1)
		b.writes(high, 40, 1)
	})
	if confined {
		b.near("low on path 0", got[0].read, 0)
		b.near("low on path 1", got[1].read, 40)
	} else {
		b.near("low on path 0", got[0].read, 20)
		b.near("low on path 1", got[1].read, 20)
	}
	if got[0].written < 15*chunk || got[1].written < 15*chunk {
		b.t.Errorf("the high one is not on both paths: %+v", got)
	}
}
