// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package e2e

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/proxy"
)

// TestLongNothingGrows is TestNothingGrows for longer.
func TestLongNothingGrows(t *testing.T) { nothingGrows(t, 50) }

// TestLongStampRandomFaults: faults of all kinds, one after the other, in an order
// that PATHGATE_E2E_SEED repeats, on two processes with one file under stamps.
func TestLongStampRandomFaults(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("PATHGATE_E2E_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	// Each loss doubles the delay of a path's failback: from a short one, the paths
	// are back between the faults.
	b := newBed(t, bedOptions{two: true, config: gate.Config{Timeouts: map[string]string{"failback": "10ms"}}})
	l := b.startStamps(t, seed)
	kinds := []string{"reset", "half-close", "black-hole", "hold", "stop", "kill"}
	count := map[string]int{}
	for begin := time.Now(); time.Since(begin) < 3*time.Minute; {
		kind, i := kinds[r.IntN(len(kinds))], r.IntN(2)
		mark := b.g.Events.Mark()
		paths := b.behind(t, i)
		b.strike(t, kind, i, time.Duration(2500+r.IntN(4000))*time.Millisecond)
		b.lost(t, mark, paths, 10*time.Second)
		b.settle(t)
		if got := b.g.Events.Since(mark, gate.Kind("flush-lost", "path-quarantined", "store-failed", "all-paths-down")); len(got) > 0 {
			t.Errorf("after %s of portal %d: %v", kind, i, got)
		}
		l.flow(t)
		count[kind]++
	}
	rep := l.finish(t)
	t.Logf("measured: random faults %v: %s", count, summary(rep))
}

// strike breaks target i or the way to it, for a time if it is a fault that lasts.
func (b *bed) strike(t *testing.T, kind string, i int, lasts time.Duration) {
	t.Helper()
	var err error
	switch kind {
	case "stop":
		err = b.tgts[i].Down(t.Context(), lasts)
	case "kill":
		if err = b.tgts[i].Kill(); err == nil {
			err = b.tgts[i].Restart(t.Context())
		}
	default:
		var k proxy.Kind
		if k, err = proxy.ParseKind(kind); err != nil {
			break
		}
		p, before := b.proxies[i], b.proxies[i].Counters().Fault(k)
		p.MustSet(proxy.Fault{Kind: k})
		if err := p.Wait(func(c proxy.Counters) bool { return c.Fault(k).Times > before.Times }, 5*time.Second); err != nil {
			t.Errorf("%s of portal %d hit nothing: %v", kind, i, err)
		}
		if k == proxy.BlackHole || k == proxy.Hold {
			<-time.After(lasts)
			p.Clear()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// portalFault breaks a portal, waits until the gateway has noticed, and mends it.
type portalFault struct {
	kind   proxy.Kind
	mend   bool // the fault lasts until it is taken back
	rounds int
}

func portalFaults() map[string]portalFault {
	return map[string]portalFault{
		"reset":      {proxy.Reset, false, 3},
		"half-close": {proxy.HalfClose, false, 3},
		"black hole": {proxy.BlackHole, true, 1},
		"hold":       {proxy.Hold, true, 1},
	}
}

// TestLongStampPortalFaults: 8 writers with overwrites, while the connections of each
// portal in turn are reset, half-closed, black-holed, held and released late.
func TestLongStampPortalFaults(t *testing.T) {
	for name, f := range portalFaults() {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, bedOptions{})
			l := b.startStamps(t, 2)
			failovers := 0
			for n := range f.rounds * len(b.proxies) {
				i := n % len(b.proxies)
				p, paths := b.proxies[i], b.behind(t, i)
				mark, hits := b.g.Events.Mark(), p.Counters().Fault(f.kind)
				p.MustSet(proxy.Fault{Kind: f.kind})
				b.lost(t, mark, paths, 10*time.Second)
				if _, ok := b.failedOver(mark, paths); ok {
					failovers++
				}
				if f.mend {
					// The other portal is of the same portal group: the fence goes over it.
					b.g.Events.Wait(t, mark, 20*time.Second, onPath("fence-done", paths))
					l.flowOn(t, 1-i, mib)
					p.Clear()
				}
				if e := p.Counters().Fault(f.kind); e.Times == hits.Times || f.mend && e.Bytes == hits.Bytes {
					t.Errorf("portal %d: the fault hit nothing: %v", i, p.Counters())
				}
				b.settle(t)
				l.flow(t)
			}
			if all := f.rounds * len(b.proxies); failovers < all/2 || f.mend && failovers < all {
				t.Errorf("%d of %d faults led to a failover", failovers, all)
			}
			rep := l.finish(t)
			t.Logf("measured: stamps under %s: %s", name, summary(rep))
		})
	}
}

// TestLongStampStoppedTarget: one of two processes with one file is stopped for 5 s,
// with writes in its sockets that it executes when it goes on.
func TestLongStampStoppedTarget(t *testing.T) {
	b := newBed(t, bedOptions{two: true})
	l := b.startStamps(t, 3)
	for i, s := range b.tgts {
		paths := b.behind(t, i)
		mark := b.g.Events.Mark()
		if err := s.Down(t.Context(), 5*time.Second); err != nil {
			t.Fatal(err)
		}
		b.lost(t, mark, paths, time.Second)
		b.g.Events.Wait(t, mark, time.Second, onPath("failover", paths))
		b.g.Events.Wait(t, mark, 20*time.Second, onPath("fence-done", paths))
		b.settle(t)
		l.flow(t)
	}
	rep := l.finish(t)
	t.Logf("measured: stamps, each of two targets stopped for 5 s: %s", summary(rep))
}
