// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package detect

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/proxy"
	"pathgate/integration/stamp"
	"pathgate/integration/tgtd"
)

const (
	cuts = 100
	// measurements is how often stalls are measured, while the machine disturbs that.
	measurements = 3
	// nop is NOP interval and timeout, short so that many black holes fit in.
	nop = 200 * time.Millisecond
	// ways is so many that each session has lived for 5 s when its turn comes again:
	// one that did not is logged in again only after a longer pause.
	ways = 14
)

// manyWays starts a gateway with a path over each of many proxies, under load.
func manyWays(t *testing.T) ([]*proxy.Proxy, *gate.Gate, *gate.Probe) {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "detect-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	o := tgtd.Options{Targets: []tgtd.Target{{Name: "iqn.2026-11.test:disk", LUNs: []tgtd.LUN{{File: filepath.Join(dir, "lun"), SizeBytes: lunSize}}}}}
	for range ways {
		o.Portals = append(o.Portals, "127.0.0.1:0")
	}
	s := tgtd.New(t, o)
	var list []*proxy.Proxy
	var portals []string
	for _, portal := range s.Portals() {
		p := proxy.MustNew(t, proxy.Options{Target: portal, Protocol: proxy.ISCSI, Seed: 1})
		list, portals = append(list, p), append(portals, p.Addr())
	}
	g := gate.New(t, gate.Config{
		Adapters: []string{"127.0.0.1"}, Targets: []gate.Target{{Portals: portals}},
		Timeouts: map[string]string{"failback": "10ms", "nop-interval": nop.String(), "nop-timeout": nop.String()},
	})
	g.WaitUp(t, ways, long)
	g.WaitDisks(t, long, func(ds []gate.Disk) bool { return len(ds) > 0 && ds[0].Available })
	var clients []stamp.Target
	for range 4 {
		clients = append(clients, g.Connect(t, "vm1/root"))
	}
	p := gate.StartProbe(0, 32*mib, 24, clients...)
	t.Cleanup(func() {
		if errs := p.Stop(); len(errs) > 0 {
			t.Errorf("%d requests failed: %v", len(errs), errs[0])
		}
	})
	return list, g, p
}

// stalls cuts paths, and judges how long requests stood still. slack is what there is of
// bar once a loss is to be found.
func stalls(t *testing.T, bar, slack, pace time.Duration, cut, mend func(p *proxy.Proxy)) {
	ps, g, p := manyWays(t)
	for i := 1; ; i++ {
		s := NewStalls(bar, slack)
		cutEach(t, s, pace, ps, g, p, cut, mend)
		text, err := s.Judge()
		again := err != nil && s.Disturbed() && i < measurements
		s.Stop()
		t.Logf("measured: %s", text)
		if err != nil && !again {
			t.Error(err)
		}
		if !again {
			return
		}
	}
}

// cutEach cuts one path after the other, and has s take how long requests stood still.
func cutEach(t *testing.T, s *Stalls, pace time.Duration, ps []*proxy.Proxy, g *gate.Gate, p *gate.Probe, cut, mend func(p *proxy.Proxy)) {
	t.Helper()
	for i, missed := 0, 0; s.Len() < cuts; i++ {
		name := fmt.Sprintf("vmhba0:%d:1", i%ways)
		path(t, g, name, func(p gate.Path) bool { return p.Health == "up" && p.Used })
		mark, from, at := g.Events.Mark(), s.Now(), time.Now()
		cut(ps[i%ways])
		down := g.Events.Wait(t, mark, long, func(e gate.Event) bool { return e.Kind == "path-down" && e.Path == name })
		var moved []gate.Event
		gate.Poll(time.Second, func() bool {
			moved = g.Events.Since(mark, func(e gate.Event) bool { return e.Kind == "failover" && e.Path == name })
			return len(moved) > 0
		})
		mend(ps[i%ways])
		if len(moved) == 0 { // nothing was in flight there
			if missed++; missed > cuts {
				t.Fatal("the cuts meet no requests")
			}
			continue
		}
		done := p.Done()
		if !gate.Poll(long, func() bool { return p.Done() > done+100 }) { // those that moved have ended
			t.Fatal("the load stands still")
		}
		n, err := strconv.Atoi(moved[0].Attrs["requests"])
		if err != nil {
			t.Fatalf("%v: %v", moved[0], err)
		}
		s.Cut(p, from, at, down.Time, n)
		<-time.After(pace - time.Since(at))
	}
}

// TestLongP16StallAfterReset: the goal is p99 50 ms.
func TestLongP16StallAfterReset(t *testing.T) {
	const goal = 50 * time.Millisecond
	stalls(t, goal, goal, 400*time.Millisecond, func(p *proxy.Proxy) { p.ResetConns() }, func(*proxy.Proxy) {})
}

// TestLongP16StallAfterBlackHole: the goal is p99 200 ms past the NOP deadline.
func TestLongP16StallAfterBlackHole(t *testing.T) {
	const goal = 200 * time.Millisecond
	stalls(t, 2*nop+goal, goal, 500*time.Millisecond,
		func(p *proxy.Proxy) { p.MustSet(proxy.Fault{Kind: proxy.BlackHole}) }, func(p *proxy.Proxy) { p.Clear() })
}
