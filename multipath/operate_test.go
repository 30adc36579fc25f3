// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// firstPath gives vmhba0:0:1 as it is now.
func (bd *bed) firstPath() PathInfo {
	bd.t.Helper()
	synctest.Wait()
	for _, p := range bd.m.Paths() {
		if p.Name == "vmhba0:0:1" {
			return p
		}
	}
	bd.t.Fatalf("no such path: %+v", bd.m.Paths())
	return PathInfo{}
}

// TestPA17FailAndReinstate: a path that is failed by hand is taken down alone and
// comes back by itself, or, if it is held, when it is reinstated.
func TestPA17FailAndReinstate(t *testing.T) {
	const name = "vmhba0:0:1"
	t.Run("back by itself", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			bd, _, _ := oneDisk(t, nil)
			defer bd.stop()
			if err := bd.m.FailPath(name, false); err != nil {
				t.Fatal(err)
			}
			if p := bd.firstPath(); p.Health != "down" || p.Used || p.Reason != failedByHand || p.Generation != 1 {
				t.Errorf("failed: %+v", p)
			}
			if n := bd.used(); n != 3 {
				t.Errorf("%d paths are used, want 3", n)
			}
			time.Sleep(6 * time.Second)
			if p := bd.firstPath(); p.Health != "marginal" || p.Generation != 1 {
				t.Errorf("after a proof: %+v", p)
			}
			time.Sleep(time.Minute)
			if p := bd.firstPath(); p.Health != "up" || !p.Used {
				t.Errorf("after the failback delay: %+v", p)
			}
		})
	})
	t.Run("held", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			bd, _, _ := oneDisk(t, nil)
			defer bd.stop()
			if err := bd.m.FailPath(name, true); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			bd.net.reset("10.0.0.1:3260", "vmhba0") // nor does another login bring it back
			time.Sleep(time.Hour)
			if err := bd.m.Rescan(t.Context()); err != nil {
				t.Fatal(err)
			}
			if p := bd.firstPath(); p.Health != "down" || p.Generation != 2 || !p.Kept || !strings.Contains(p.Reason, "held until") {
				t.Errorf("held: %+v", p)
			}
			before := time.Now()
			if err := bd.m.ReinstatePath(name); err != nil {
				t.Fatal(err)
			}
			if p := bd.firstPath(); p.Health != "up" || !p.Used || p.Kept || p.Asked || time.Since(before) > time.Second {
				t.Errorf("reinstated, after %v: %+v", time.Since(before), p)
			}
		})
	})
	t.Run("probation", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			bd, _, _ := oneDisk(t, nil)
			defer bd.stop()
			for range 3 {
				bd.net.reset("10.0.0.1:3260", "vmhba0")
				time.Sleep(time.Second)
			}
			if p := bd.firstPath(); p.Health != "marginal" || !strings.Contains(p.Reason, "after 3 losses") {
				t.Fatalf("on probation: %+v", p)
			}
			if err := bd.m.ReinstatePath(name); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond)
			if p := bd.firstPath(); p.Health != "up" {
				t.Errorf("reinstated: %+v", p)
			}
			bd.net.reset("10.0.0.1:3260", "vmhba0")
			time.Sleep(time.Second)
			if p := bd.firstPath(); p.Reason != "on probation, back in 15 s" {
				t.Errorf("lost again, with its failures forgotten: %+v", p)
			}
		})
	})
	t.Run("no session", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			bd, _, _ := oneDisk(t, nil)
			defer bd.stop()
			bd.net.cut("10.0.0.1:3260")
			time.Sleep(time.Minute)
			if err := bd.m.ReinstatePath(name); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			if p := bd.firstPath(); p.Health != "down" || p.Asked {
				t.Errorf("it cannot be reached: %+v", p)
			}
			bd.net.mend("10.0.0.1:3260")
			if err := bd.m.ReinstatePath(name); err != nil {
				t.Fatal(err)
			}
			time.Sleep(20 * time.Millisecond)
			if p := bd.firstPath(); p.Health != "up" {
				t.Errorf("it can be reached again: %+v", p)
			}
		})
	})
}

// TestPA17Refusals: what cannot be done says why.
func TestPA17Refusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		defer bd.stop()
		if err := bd.m.FailPath("vmhba9:0:1", false); !errors.Is(err, ErrNotFound) {
			t.Errorf("fail what is not there: %v", err)
		}
		if err := bd.m.ReinstatePath("vmhba9:0:1"); !errors.Is(err, ErrNotFound) {
			t.Errorf("reinstate what is not there: %v", err)
		}
		if err := bd.m.SetPathEnabled("vmhba0:0:1", false); err != nil {
			t.Fatal(err)
		}
		if err := bd.m.FailPath("vmhba0:0:1", false); !errors.Is(err, ErrDisabled) {
			t.Errorf("fail what is disabled: %v", err)
		}
		if err := bd.m.ReinstatePath("vmhba0:0:1"); !errors.Is(err, ErrDisabled) {
			t.Errorf("reinstate what is disabled: %v", err)
		}
	})
}

// TestPA17FailMovesRequests: what is in flight on a path that is failed by hand goes
// out on another one at once, also if the target does not answer, and nothing is
// acknowledged twice or lost.
func TestPA17FailMovesRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		w := &watcher{out: map[*backends.Request]bool{}}
		d.Observe(w)
		bd.net.with(func() { l.delay = slow(time.Second) })
		var calls []*call
		for i := range 8 {
			calls = append(calls, write(d, uint64(i)*4096, 4096, byte(i+1)), read(d, uint64(64+i)*4096, 4096))
		}
		before := time.Now()
		bd.net.with(func() { l.delay = nil })
		for _, p := range []string{"vmhba0:0:1", "vmhba0:1:1", "vmhba1:0:1"} {
			if err := bd.m.FailPath(p, false); err != nil {
				t.Fatal(err)
			}
		}
		mustOK(t, calls...)
		if took := time.Since(before); took > 1100*time.Millisecond {
			t.Errorf("done after %v", took)
		}
		for i := range 8 {
			mustRead(t, d, uint64(i)*4096, 4096, byte(i+1))
		}
		if n := len(bd.events.of(PathDown)); n != 3 {
			t.Errorf("%d paths were told to be down, want 3", n)
		}
		moved := 0
		for _, e := range bd.events.of(Failover) {
			moved += e.Count
		}
		if moved < 12 {
			t.Errorf("%d requests were told to have moved, want at least the 12 of the paths that were failed", moved)
		}
	})
}

// TestPA17FailTheLastPath: requests wait, and go on once the path is back.
func TestPA17FailTheLastPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		defer bd.stop()
		d := bd.device()
		for _, p := range bd.m.Paths() {
			if err := bd.m.FailPath(p.Name, true); err != nil {
				t.Fatal(err)
			}
		}
		c := write(d, 0, 4096, 7)
		time.Sleep(10 * time.Minute)
		if c.ended() {
			t.Fatalf("it ended with %v though no path is there", c.res.Err())
		}
		if err := bd.m.ReinstatePath("vmhba1:1:1"); err != nil {
			t.Fatal(err)
		}
		mustOK(t, c)
		mustRead(t, d, 0, 4096, 7)
	})
}

// TestPathHistory: a path remembers its last changes, oldest first, and no more than
// it has room for.
func TestPathHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		defer bd.stop()
		const name = "vmhba0:0:1"
		states := func() (list []string) {
			for _, c := range bd.m.PathHistory(name) {
				list = append(list, c.Health.String())
			}
			return list
		}
		if got, want := states(), []string{"up"}; !slices.Equal(got, want) {
			t.Errorf("in the beginning %v, want %v", got, want)
		}
		bd.net.reset("10.0.0.1:3260", "vmhba0")
		time.Sleep(time.Minute)
		if got, want := states(), []string{"up", "down", "marginal", "up"}; !slices.Equal(got, want) {
			t.Errorf("after a loss %v, want %v", got, want)
		}
		for range historyLen {
			for _, on := range []bool{false, true} {
				if err := bd.m.SetPathEnabled(name, on); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
		}
		list := bd.m.PathHistory(name)
		if len(list) != historyLen || list[historyLen-1].Health != Up || list[historyLen-3].Reason != "by the administrator" {
			t.Errorf("after many: %+v", list)
		}
		for i := 1; i < len(list); i++ {
			if list[i].Time.Before(list[i-1].Time) {
				t.Errorf("not in order: %+v", list)
			}
		}
		if got := bd.m.PathHistory("vmhba9:0:1"); got != nil {
			t.Errorf("of no path: %+v", got)
		}
	})
}

// TestSimulateAgreesWithTheLoss: what is told before a loss is what is there after it.
func TestSimulateAgreesWithTheLoss(t *testing.T) {
	const one, two = "10.0.0.1:3260", "10.0.0.2:3260"
	for _, c := range []struct {
		name string
		gone func(PathInfo) bool
		lose func(*bed)
		left int
	}{
		{"nothing", func(PathInfo) bool { return false }, func(*bed) {}, 4},
		{"a portal", func(p PathInfo) bool { return p.Portal == one }, func(bd *bed) { bd.net.cut(one) }, 2},
		{"an adapter", func(p PathInfo) bool { return p.Adapter == "vmhba1" }, func(bd *bed) {
			for _, p := range bd.m.Paths() {
				if p.Adapter == "vmhba1" {
					if err := bd.m.FailPath(p.Name, true); err != nil {
						bd.t.Fatal(err)
					}
				}
			}
		}, 2},
		{"a path", func(p PathInfo) bool { return p.Name == "vmhba0:1:1" }, func(bd *bed) {
			if err := bd.m.FailPath("vmhba0:1:1", true); err != nil {
				bd.t.Fatal(err)
			}
		}, 3},
		{"all", func(PathInfo) bool { return true }, func(bd *bed) { bd.net.cut(one); bd.net.cut(two) }, 0},
	} {
		for _, limits := range [][]uint64{{0, 0, 0}, {1e9, 1e9, 0}, {1e9, 4e8, 7e8}} {
			t.Run(fmt.Sprint(c.name, limits), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					bd, _, _ := oneDisk(t, func(cfg *Config) {
						cfg.Adapters[0].Bandwidth, cfg.Adapters[1].Bandwidth = limits[0], limits[1]
						cfg.Targets[0].Bandwidth = limits[2]
					})
					defer bd.stop()
					d := bd.device()
					s := d.Simulate(c.gone)
					if s.Before != d.State().Capacity {
						t.Errorf("before: %+v, and it is %+v", s.Before, d.State().Capacity)
					}
					c.lose(bd)
					synctest.Wait()
					var used []string
					for _, p := range d.Paths() {
						if p.Used {
							used = append(used, p.Name)
						}
					}
					if s.After != d.State().Capacity || !slices.Equal(s.Left, used) || len(s.Left) != c.left || len(s.Without) != 4-c.left {
						t.Errorf("told %+v; there is %+v over %v", s, d.State().Capacity, used)
					}
				})
			})
		}
	}
}

// TestSimulateProbation: paths on probation count only when none is up.
func TestSimulateProbation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, nil)
		defer bd.stop()
		bd.net.reset("10.0.0.1:3260", "")
		time.Sleep(time.Second)
		s := bd.device().Simulate(func(p PathInfo) bool { return p.Portal == "10.0.0.2:3260" })
		if s.Before.Now != 2 || s.After.Now != 2 || s.Health != "marginal" || len(s.Left) != 2 {
			t.Errorf("told %+v", s)
		}
	})
}
