// SPDX-License-Identifier: Apache-2.0

//go:build integration

package selectors

import (
	"testing"
	"time"

	"pathgate/integration/nbdclient"
	"pathgate/integration/proxy"
)

// slow has each answer of a path come so much later.
func (b *bed) slow(i int, delay time.Duration) {
	b.proxies[i].MustSet(proxy.Fault{Kind: proxy.Delay, Dir: proxy.ToClient, Delay: delay})
}

func TestRoundRobin(t *testing.T) {
	t.Parallel()
	b := newBed(t, `{name: round-robin, iops: 4, weights: {"vmhba1:*": 3}}`, 5)
	c := b.g.Connect(t, "vm5/root")
	got := b.during(func() { b.reads(c, 160, 1) })
	b.near("path 0 of weight 1", got[0].read, 40)
	b.near("path 1 of weight 3", got[1].read, 120)
	b.g.MustCLI(t, "device", "set", b.device, "--iops", "default", "--bytes", "128KiB", "--weights", "none")
	b.reads(c, 1, 1) // which ends no turn
	got = b.during(func() { b.reads(c, 80, 1) })
	if d := got[0].read - got[1].read; d < -2*chunk-noise || d > 2*chunk+noise {
		t.Errorf("by bytes: %+v", got)
	}
}

// The queue of a slow path is as long as that of a fast one, and so it gets less.
func TestQueueLength(t *testing.T) {
	t.Parallel()
	b := newBed(t, "queue-length", 5)
	lessOnSlow(b)
}

// The bytes pending on a slow path are as many as on a fast one, and so it gets less.
// One request at a time makes it round-robin; weights divide a queue.
func TestServiceTime(t *testing.T) {
	t.Parallel()
	b := newBed(t, "service-time", 5)
	lessOnSlow(b)
}

func lessOnSlow(b *bed) {
	b.t.Helper()
	c := b.g.Connect(b.t, "vm5/root")
	got := b.during(func() { b.reads(c, 80, 1) })
	b.near("path 0, one at a time", got[0].read, 40)
	b.near("path 1, one at a time", got[1].read, 40)
	b.slow(1, 200*time.Millisecond)
	got = b.during(func() { b.reads(c, 400, 8) })
	if got[1].read < chunk || 3*got[1].read > got[0].read {
		b.t.Errorf("fast and slow path: %+v; want some on the slow one, and thrice as much on the fast one", got)
	}
}

// One request at a time goes where the last ones were answered sooner; the slow path is
// tried again, and used when it is fast.
func TestLatency(t *testing.T) {
	t.Parallel()
	b := newBed(t, "{name: latency, resample: 500ms}", 5)
	c := b.g.Connect(t, "vm5/root")
	b.slow(1, 100*time.Millisecond)
	b.reads(c, 50, 1) // it learns
	from := time.Now()
	got := b.during(func() { b.reads(c, 300, 1) })
	t.Logf("measured: 300 reads in %v, %d of them on the slow path", time.Since(from).Round(time.Millisecond), got[1].read/chunk)
	if samples := int64(time.Since(from)/(500*time.Millisecond)) + 2; got[1].read > samples*(chunk+noise) {
		t.Errorf("on the slow path: %+v, want at most %d requests", got, samples)
	}
	b.proxies[1].Clear(proxy.Delay)
	from = time.Now()
	end := time.Now().Add(patience)
	for got = b.during(func() { b.reads(c, 50, 1) }); got[1].read < 5*chunk; got = b.during(func() { b.reads(c, 50, 1) }) {
		if time.Now().After(end) {
			t.Fatalf("the path that was slow is not used again: %+v", got)
		}
	}
	t.Logf("measured: used again after %v", time.Since(from).Round(time.Millisecond))
}

func TestFixed(t *testing.T) {
	t.Parallel()
	b := newBed(t, `{name: fixed, preferred: "vmhba1:*"}`, 5)
	b.follow(b.g.Connect(t, "vm5/root"), 1, 0, 1)
}

func TestMRU(t *testing.T) {
	t.Parallel()
	b := newBed(t, "mru", 5)
	b.follow(b.g.Connect(t, "vm5/root"), 0, 1, 1)
}

// follow checks that all requests are on one path, on which then, that one being lost,
// and on which after its return.
func (b *bed) follow(c *nbdclient.Client, first, lost, back int) {
	b.t.Helper()
	only := func(when string, on int) {
		b.t.Helper()
		got := b.during(func() { b.reads(c, 60, 4) })
		b.near(when+", path in use", got[on].read, 60)
		b.near(when+", other path", got[1-on].read, 0)
	}
	only("at first", first)
	b.cut(first)
	only("after the loss", lost)
	b.mend(first)
	only("after the return", back)
}
