// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// gauge is an observer that keeps the order of what it is told.
type gauge struct {
	mu    sync.Mutex
	told  []string // "3/4", "path-down", "redrive"
	batch map[string]*backends.Batch
}

func (g *gauge) QueueEvent(b *backends.Batch, ev backends.QueueEvent) {
	g.note(b, ev.Kind.String())
}

func (g *gauge) CapacityChanged(b *backends.Batch, now, nominal float64) {
	g.note(b, fmt.Sprintf("%g/%g", now, nominal))
}

func (g *gauge) Refusing(*backends.Batch, backends.PathWait) {}

func (g *gauge) note(b *backends.Batch, s string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.told = append(g.told, s)
	if g.batch == nil {
		g.batch = map[string]*backends.Batch{}
	}
	g.batch[s] = b
}

// want compares with what was told since the last call, all of it.
func (g *gauge) want(t *testing.T, what string, want ...string) {
	t.Helper()
	synctest.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.Equal(g.told, want) {
		t.Errorf("%s: told %v, want %v", what, g.told, want)
	}
	g.told = nil
}

// gauged is oneDisk with a gauge.
func gauged(t *testing.T, change func(*Config)) (*bed, *fakeLUN, *gauge) {
	bd, _, l := oneDisk(t, change)
	g := &gauge{}
	bd.device().Observe(g)
	return bd, l, g
}

// A path without a limit is one part. Each change is told once.
func TestCapacityInEqualParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, g := gauged(t, nil)
		defer bd.stop()
		g.want(t, "observer set", "4/4")
		bd.net.reset("10.0.0.1:3260", "vmhba0")
		g.want(t, "lost", "3/4")
		time.Sleep(time.Second)
		g.want(t, "on probation")
		time.Sleep(30 * time.Second)
		g.want(t, "failback", "4/4")
		bd.net.cut("10.0.0.2:3260")
		g.want(t, "a portal", "3/4", "2/4")
		bd.net.reset("10.0.0.1:3260", "")
		g.want(t, "the other", "1/4", "0/4")
		time.Sleep(time.Second)
		g.want(t, "on probation, alone", "1/4", "2/4")
		if c := bd.device().State().Capacity; c != (Capacity{2, 4, UnitPaths}) {
			t.Errorf("state shows %+v", c)
		}
		if err := bd.m.Rescan(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.want(t, "rescan")
		again := &gauge{}
		bd.device().Observe(again)
		again.want(t, "another observer", "2/4")
	})
}

// The capacity is told in the step in which the path goes, before the first
// request is sent again (the patent, par. 0110).
func TestCapacityIsToldBeforeRedrive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, l, g := gauged(t, nil)
		defer bd.stop()
		d := bd.device()
		g.want(t, "observer set", "4/4")
		bd.net.with(func() { l.delay = slow(10 * time.Millisecond) })
		var calls []*call
		for i := range 4 { // one on each path
			calls = append(calls, read(d, uint64(i)*4096, 4096))
		}
		start := time.Now()
		bd.net.reset("10.0.0.1:3260", "vmhba0")
		g.want(t, "lost", "path-down", "3/4", "redrive")
		if g.batch["path-down"] != g.batch["3/4"] {
			t.Error("told in another batch than the loss")
		}
		if !time.Now().Equal(start) {
			t.Errorf("told after %v", time.Since(start))
		}
		mustOK(t, calls...)
		for _, c := range calls {
			c.r.Data.Release()
		}
	})
}

// limits sets those of the two adapters and, with an entry for each, of the two
// portals.
func limits(a0, a1, p1, p2 uint64) func(*Config) {
	return func(c *Config) {
		c.Adapters[0].Bandwidth, c.Adapters[1].Bandwidth = a0, a1
		c.Targets = []Target{{Portals: portals(2)[:1], Bandwidth: p1}, {Portals: portals(2)[1:], Bandwidth: p2}}
	}
}

func TestCapacityOfLimits(t *testing.T) {
	for _, c := range []struct {
		name                 string
		change               func(*Config)
		whole, portal, reset string // all; without the first portal; without its path over vmhba0 only
	}{
		{"equal parts", limits(0, 0, 0, 0), "4/4", "2/4", "3/4"},
		{"portals of their own", limits(0, 0, 100, 300), "400/400", "300/400", "400/400"},
		{"adapters share theirs", limits(100, 50, 0, 0), "150/150", "150/150", "150/150"},
		{"adapters and portals alike", limits(125, 125, 125, 125), "250/250", "125/250", "250/250"},
		{"adapters are the narrow place", limits(40, 50, 100, 100), "90/90", "90/90", "90/90"},
		{"one portal is the narrow place", limits(100, 100, 20, 70), "90/90", "70/90", "90/90"},
		{"some are not known: the mean", limits(0, 0, 100, 0), "300/300", "200/300", "300/300"},
		{"one adapter is not known", limits(60, 0, 0, 0), "180/180", "120/180", "180/180"},
		{"mean of unlike ones", limits(0, 10, 30, 0), "56/56", "26/56", "26/56"}, // 10, 30 and 10 make 16
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bd, _, g := gauged(t, c.change)
				defer bd.stop()
				g.want(t, "all", c.whole)
				last := func() string {
					cap := bd.device().State().Capacity
					return fmt.Sprintf("%d/%d", cap.Now, cap.Nominal)
				}
				bd.net.reset("10.0.0.1:3260", "vmhba0")
				synctest.Wait()
				if got := last(); got != c.reset {
					t.Errorf("without a path: %s, want %s", got, c.reset)
				}
				bd.net.cut("10.0.0.1:3260")
				synctest.Wait()
				if got := last(); got != c.portal {
					t.Errorf("without a portal: %s, want %s", got, c.portal)
				}
			})
		})
	}
}

// Over a path each, two adapters: what goes is what the path carried.
func TestCapacityOfUnlikePaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd := newBed(t)
		bd.net.server(iqn, portals(2)...).addLUN(1, newMedium(), naa(1))
		bd.start(func(c *Config) {
			limits(1250e6, 125e6, 0, 0)(c)
			c.Targets[0].Adapters, c.Targets[1].Adapters = []string{"vmhba0"}, []string{"vmhba1"}
		})
		defer bd.stop()
		g := &gauge{}
		bd.device().Observe(g)
		g.want(t, "all", "1.375e+09/1.375e+09")
		bd.net.cut("10.0.0.1:3260")
		g.want(t, "the wide one lost", "1.25e+08/1.375e+09")
		if u := bd.device().State().Capacity.Unit; u != UnitBytes {
			t.Errorf("unit %s", u)
		}
	})
}

// Disabled and quarantined paths are missed as lost ones are.
func TestCapacityOfPathsOutOfUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, g := gauged(t, nil)
		defer func() { bd.stop() }()
		g.want(t, "observer set", "4/4")
		if err := bd.m.SetPathEnabled("vmhba0:1:1", false); err != nil {
			t.Fatal(err)
		}
		g.want(t, "disabled", "3/4")
		p := bd.device().path("vmhba1:0:1")
		p.port.refuse(p, "another LUN")
		g.want(t, "quarantined", "2/4")
		if err := bd.m.SetPathEnabled("vmhba0:1:1", true); err != nil {
			t.Fatal(err)
		}
		g.want(t, "enabled", "3/4")
		if err := bd.m.SetPathEnabled("vmhba0:1:1", false); err != nil {
			t.Fatal(err)
		}
		g.want(t, "disabled again", "2/4")
		bd.stop()
		bd.start(nil) // where it is still disabled
		bd.device().Observe(g)
		g.told = g.told[len(g.told)-1:]
		g.want(t, "after a restart", "3/4")
	})
}

// report has paths report an access state, as a proof does.
func report(d *Device, e AccessEvent, names ...string) {
	for _, n := range names {
		var b backends.Batch
		out := newOutbox()
		p := d.path(n)
		d.mu.Lock()
		d.accessLocked(&b, out, p, e, time.Now())
		d.mu.Unlock()
		d.send(&b, out)
		b.Run()
	}
}

// The group in use counts, against the best one.
func TestCapacityOfGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, g := gauged(t, nil)
		defer bd.stop()
		d := bd.device()
		g.want(t, "observer set", "4/4")
		report(d, ReportNonOptimized, "vmhba0:1:1", "vmhba1:1:1")
		g.want(t, "two are slower", "3/3", "2/2")
		report(d, ReportNonOptimized, "vmhba0:0:1")
		g.want(t, "three are", "1/1")
		bd.net.reset("10.0.0.1:3260", "vmhba1")
		g.want(t, "the other group, larger") // 3 of 1 are as good as 1
		report(d, ReportTransitioning, "vmhba0:0:1", "vmhba0:1:1")
		g.want(t, "two on their way")
		report(d, SenseTransition, "vmhba1:1:1")
		g.want(t, "three", "0/1")
	})
}

// A transition takes nothing off the nominal capacity.
func TestCapacityInTransition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, g := gauged(t, nil)
		defer bd.stop()
		g.want(t, "observer set", "4/4")
		names := []string{"vmhba0:0:1", "vmhba0:1:1", "vmhba1:0:1", "vmhba1:1:1"}
		report(bd.device(), ReportTransitioning, names...)
		g.want(t, "in transition", "3/4", "2/4", "1/4", "0/4")
		report(bd.device(), ReportOptimized, names...)
		g.want(t, "done", "1/4", "2/4", "3/4", "4/4")
	})
}

// A lost controller's paths are not missed when the paths of the other one turn
// from standby to optimized in their place.
func TestCapacityOfActivePassive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, g := gauged(t, nil)
		defer bd.stop()
		d := bd.device()
		g.want(t, "observer set", "4/4")
		report(d, ReportStandby, "vmhba0:1:1", "vmhba1:1:1")
		g.want(t, "two on standby", "3/3", "2/2")
		bd.net.cut("10.0.0.1:3260")
		g.want(t, "active ones lost", "1/2", "0/2")
		report(d, ReportTransitioning, "vmhba0:1:1", "vmhba1:1:1")
		g.want(t, "on their way")
		report(d, ReportOptimized, "vmhba0:1:1", "vmhba1:1:1")
		g.want(t, "in their place", "1/1", "2/2")
		bd.net.mend("10.0.0.1:3260")
		time.Sleep(10 * time.Second)
		g.want(t, "back, on probation", "2/3", "2/4") // this fake says: all are optimized
		time.Sleep(30 * time.Second)
		g.want(t, "failback", "3/4", "4/4")
	})
}

// A path that is found later raises both; one that is not proved is not missed.
func TestCapacityOfNewPaths(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd := newBed(t)
		m := newMedium()
		bd.net.server("iqn.2026-11.test:a", "10.0.0.1:3260").addLUN(1, m, naa(1))
		other := bd.net.server("iqn.2026-11.test:b", "10.0.0.2:3260")
		bd.start(nil)
		defer bd.stop()
		g := &gauge{}
		bd.device().Observe(g)
		g.want(t, "observer set", "2/2")
		bd.net.with(func() { other.addLUN(1, m, naa(1)) })
		if err := bd.m.Rescan(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.want(t, "two more", "3/3", "4/4")
		bd.net.with(func() { other.addLUN(2, newMedium(), naa(1)) }) // the same identity, another serial number
		if err := bd.m.Rescan(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := len(bd.m.Paths()); n != 6 {
			t.Errorf("got %d paths, want 6: %+v", n, bd.m.Paths())
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, s := range g.told {
			if !strings.HasSuffix(s, "/4") {
				t.Errorf("a path that was never proved counts: %v", g.told)
			}
		}
	})
}

// cut is the slow way: the least that has to be taken away to part adapters and
// portals, over all choices of knots; links between knots that stay are taken.
func (n *network) cut() uint64 {
	least := ^uint64(0)
	all := len(n.adapters) + len(n.portals)
	for set := range uint(1) << all {
		sum := uint64(0)
		for i := range all {
			switch {
			case set&(1<<i) == 0:
			case i < len(n.adapters):
				sum += n.adapters[i].left
			default:
				sum += n.portals[i-len(n.adapters)].left
			}
		}
		for _, l := range n.links {
			if set&(1<<l.adapter) == 0 && set&(1<<(len(n.adapters)+l.portal)) == 0 {
				sum += l.left
			}
		}
		least = min(least, sum)
	}
	return least
}

func TestFlowOracle(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	for range 3000 {
		var n network
		adapters, portals := 1+r.IntN(4), 1+r.IntN(4)
		knots := make([]uint64, adapters+portals)
		for i := range knots {
			knots[i] = uint64(max(0, r.IntN(30)-5))
		}
		for range 1 + r.IntN(16) {
			a, p := r.IntN(adapters), r.IntN(portals)
			n.add(fmt.Sprint(a), knots[a], fmt.Sprint(p), knots[adapters+p], 1+uint64(r.IntN(20)))
		}
		want := n.cut()
		if got := n.flow(); got != want {
			t.Fatalf("seed %d: got %d, want %d: %+v", seed, got, want, n)
		}
	}
}

// Of two limits for one portal (two targets there) the lower one counts.
func TestFlowOfTwoLimits(t *testing.T) {
	for _, l := range [][2]uint64{{7, 9}, {9, 7}, {0, 7}, {7, 0}} {
		var n network
		n.add("a", 0, "p", l[0], 20)
		n.add("b", 0, "p", l[1], 20)
		if got := n.flow(); got != 7 {
			t.Errorf("%v: got %d, want 7", l, got)
		}
	}
}

// The largest limits that are allowed do not overflow.
func TestFlowOfTheLargest(t *testing.T) {
	var n network
	for i := range maxPaths {
		n.add(fmt.Sprint(i), MaxBandwidth, fmt.Sprint(i), 0, MaxBandwidth)
	}
	if got := n.flow(); got != maxPaths*MaxBandwidth || bits.Len64(got) > 63 {
		t.Errorf("got %d", got)
	}
}
