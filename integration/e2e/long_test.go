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
