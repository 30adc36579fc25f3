// SPDX-License-Identifier: Apache-2.0

//go:build integration

package e2e

import (
	"slices"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/proxy"
)

// Goals of the failover: after a reset, and after a black hole, which only the
// NOP deadline (1 s + 1 s) shows.
const (
	resetGoal     = 100 * time.Millisecond
	blackHoleGoal = 2500 * time.Millisecond
)

// probed starts a probe on a bed.
func (b *bed) probed(t testing.TB) *gate.Probe {
	t.Helper()
	p := gate.StartProbe(32*mib, 32*mib, 16, targets(b.connect(t, 4))...)
	t.Cleanup(func() { p.Stop() })
	if !gate.Poll(20*time.Second, func() bool { return p.Done() > 500 }) {
		t.Fatal("the probe does not get going")
	}
	return p
}

// inFlightOn waits until requests are in flight on one of the paths.
func (b *bed) inFlightOn(t testing.TB, i int) {
	t.Helper()
	b.g.WaitPaths(t, 10*time.Second, func(ps []gate.Path) bool {
		return slices.ContainsFunc(ps, func(p gate.Path) bool { return p.Portal == b.proxies[i].Addr() && p.Used })
	})
}

// TestFailoverControl is what the measurements are compared with.
func TestFailoverControl(t *testing.T) {
	b := newBed(t, bedOptions{})
	mark := b.g.Events.Mark()
	p := b.probed(t)
	var last []time.Duration
	for range 10 {
		from := p.Done()
		at := time.Now()
		if !gate.Poll(10*time.Second, func() bool { return p.Done() > from+300 }) {
			t.Fatal("the probe stands still")
		}
		d, n := p.InFlight(at)
		if n == 0 {
			t.Error("nothing was in flight")
		}
		last = append(last, d)
	}
	if errs := p.Stop(); len(errs) > 0 {
		t.Error(errs[0])
	}
	b.quiet(t, mark)
	t.Logf("measured: no fault: requests in flight ended after %s, median %v", list(last), median(last))
}

// TestFailoverReset: the connections of a portal are reset, one portal after the
// other. What was in flight on its paths has ended well, over the other portal,
// within the goal; the paths come back.
func TestFailoverReset(t *testing.T) {
	b := newBed(t, bedOptions{})
	p := b.probed(t)
	var client, told []time.Duration
	for round := 0; len(told) < 6; round++ {
		if round == 12 {
			t.Fatalf("in 12 rounds only %d resets met requests in flight", len(told))
		}
		i := round % 2
		b.inFlightOn(t, i)
		paths := b.behind(t, i)
		mark, at := b.g.Events.Mark(), time.Now()
		if n := b.proxies[i].ResetConns(); n < 2 {
			t.Fatalf("%d connections were there to be reset, want 2", n)
		}
		b.lost(t, mark, paths, 5*time.Second)
		e, ok := b.failedOver(mark, paths)
		b.settle(t)
		if !ok {
			t.Logf("round %d: nothing was in flight on the paths", round)
			continue
		}
		last, n := p.InFlight(at)
		t.Logf("round %d: %d in flight, last ended after %v; failover told after %v", round, n, last, e.Time.Sub(at))
		client, told = append(client, last), append(told, e.Time.Sub(at))
		if got := b.proxies[i].Counters().Fault(proxy.Reset).Times; got == 0 {
			t.Errorf("portal %d: nothing was reset", i)
		}
	}
	if errs := p.Stop(); len(errs) > 0 {
		t.Errorf("%d requests failed: %v", len(errs), errs[0])
	}
	if m := median(client); m > resetGoal {
		t.Errorf("failover after a reset takes a client %v, goal %v", m, resetGoal)
	}
	if m := median(told); m > resetGoal {
		t.Errorf("failover after a reset takes %v by the events, goal %v", m, resetGoal)
	}
	t.Logf("measured: failover after a reset: client %s, median %v; events %s, median %v",
		list(client), median(client), list(told), median(told))
}

// TestFailoverBlackHole: the same with a portal that swallows everything.
func TestFailoverBlackHole(t *testing.T) {
	b := newBed(t, bedOptions{})
	p := b.probed(t)
	var client, told []time.Duration
	for round := range 4 {
		i := round % 2
		b.inFlightOn(t, i)
		paths := b.behind(t, i)
		mark, at := b.g.Events.Mark(), time.Now()
		b.proxies[i].MustSet(proxy.Fault{Kind: proxy.BlackHole})
		b.lost(t, mark, paths, 5*time.Second)
		e := b.g.Events.Wait(t, mark, 5*time.Second, onPath("failover", paths))
		if got := b.proxies[i].Counters().Fault(proxy.BlackHole).Bytes; got == 0 {
			t.Errorf("portal %d: nothing was swallowed", i)
		}
		b.proxies[i].Clear()
		b.settle(t)
		last, n := p.InFlight(at)
		t.Logf("round %d: %d in flight, last ended after %v; failover told after %v", round, n, last, e.Time.Sub(at))
		client, told = append(client, last), append(told, e.Time.Sub(at))
	}
	if errs := p.Stop(); len(errs) > 0 {
		t.Errorf("%d requests failed: %v", len(errs), errs[0])
	}
	if m := slices.Max(client); m > blackHoleGoal {
		t.Errorf("failover after a black hole takes a client %v, goal %v", m, blackHoleGoal)
	}
	if m := slices.Max(told); m > blackHoleGoal {
		t.Errorf("failover after a black hole takes %v by the events, goal %v", m, blackHoleGoal)
	}
	t.Logf("measured: failover after a black hole: client %s, median %v; events %s, median %v",
		list(client), median(client), list(told), median(told))
}
