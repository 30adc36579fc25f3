// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
)

// from makes calls the calls of a VM.
func from(vm string, priority uint8, calls ...*call) []*call {
	o := &backends.Origin{VM: vm, Priority: backends.NewPriority(priority)}
	for _, c := range calls {
		c.r.Origin = o
	}
	return calls
}

// slowReads has each read take 10 ms, so that there is something in flight.
func slowReads(l *fakeLUN) {
	l.delay = func(r *backends.Request) time.Duration { return 10 * time.Millisecond }
}

// reads counts the reads by path.
func (bd *bed) reads() map[string]uint64 {
	n := map[string]uint64{}
	for _, p := range bd.m.Paths() {
		n[p.Name] = p.Reads
	}
	return n
}

// readsOf has a VM read n times, one after the other, and tells on which paths.
func (bd *bed) readsOf(vm string, priority uint8, n int) (paths []string) {
	bd.t.Helper()
	before := bd.reads()
	for range n {
		c := newCall(backends.Read, 0, 512, 0)
		do(bd.device(), from(vm, priority, c)...)
		mustOK(bd.t, c)
		c.r.Data.Release()
	}
	for name, now := range bd.reads() {
		if now > before[name] {
			paths = append(paths, name)
		}
	}
	slices.Sort(paths)
	return paths
}

func selected(name string) func(*Config) {
	return func(c *Config) {
		c.Rule = func(...string) Rule { return Rule{Selector: Selection{Name: name}} }
	}
}

// Two VMs of four paths have one each, over adapters of their own; after the loss of
// one both are on what is left, and they part again when it is back. A VM that says
// nothing for long is forgotten, and those that are left spread again (RT-8, RT-10).
func TestPerVMMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, selected("per-vm"))
		defer bd.stop()
		both := func() string { return fmt.Sprint(bd.readsOf("a", 5, 3), bd.readsOf("b", 5, 3)) }
		want := func(w string) {
			t.Helper()
			if got := both(); got != w {
				t.Errorf("got %s, want %s", got, w)
			}
		}
		want("[vmhba0:0:1] [vmhba1:1:1]") // portals of their own, too
		for name, vm := range map[string]string{"vmhba0:0:1": "a", "vmhba1:1:1": "b"} {
			if p := bd.device().path(name); !slices.Contains(bd.device().pathInfo(p).VMs, vm) {
				t.Errorf("%s is not told to be used by %s", name, vm)
			}
		}
		bd.net.cut(portals(2)[1])
		time.Sleep(time.Millisecond)
		want("[vmhba0:0:1] [vmhba1:0:1]")
		bd.net.mend(portals(2)[1])
		bd.net.cut(portals(2)[0])
		for bd.used() < 2 || !bd.device().path("vmhba0:1:1").isUp() {
			time.Sleep(time.Second)
		}
		want("[vmhba0:1:1] [vmhba1:1:1]")
		bd.net.mend(portals(2)[0])
		for bd.used() < 4 {
			both()
			time.Sleep(10 * time.Millisecond)
		}
		back := time.Now()
		for both() != "[vmhba0:0:1] [vmhba1:1:1]" {
			if time.Since(back) > time.Second {
				t.Fatalf("not apart 1 s after the return: %s", both())
			}
			time.Sleep(10 * time.Millisecond)
		}
		if time.Since(back) < defaultSettle {
			t.Errorf("moved %v after the return, before it was calm", time.Since(back))
		}
	})
}

func (d *Device) pathInfo(p *Path) PathInfo {
	d.mu.Lock()
	defer d.mu.Unlock()
	return p.infoLocked(time.Now())
}

func (p *Path) isUp() bool { return p.dev.pathInfo(p).Health == "up" }

// A VM that is gone is forgotten: the others take the room that it leaves.
func TestPerVMForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, selected("per-vm"))
		defer bd.stop()
		d := bd.device()
		for i := range 6 { // a fifth one shares with the first, a sixth with the next
			bd.readsOf(fmt.Sprint("vm", i), 5, 1)
			time.Sleep(defaultSettle)
		}
		shared := bd.readsOf("vm0", 5, 1)
		if got := bd.readsOf("vm4", 5, 1); !slices.Equal(got, shared) {
			t.Fatalf("vm0 on %v, vm4 on %v", shared, got)
		}
		for range 70 { // vm1 to vm3 and vm5 say nothing any more
			bd.readsOf("vm0", 5, 1)
			bd.readsOf("vm4", 5, 1)
			time.Sleep(time.Second)
		}
		d.mu.Lock()
		left := len(d.vms.list)
		d.mu.Unlock()
		if left != 2 {
			t.Errorf("%d VMs are remembered, want 2", left)
		}
		a, b := bd.readsOf("vm0", 5, 1), bd.readsOf("vm4", 5, 1)
		if a[0][:6] == b[0][:6] {
			t.Errorf("vm0 on %v, vm4 on %v: one adapter", a, b)
		}
	})
}

// VMs of low priority have one path of four; the others roam over all. The priority
// counts as it is with each request (RT-9).
func TestIsolateLow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, selected("isolate-low"))
		defer bd.stop()
		bd.readsOf("warm", 5, 1)
		time.Sleep(time.Second)
		for _, c := range []struct {
			priority uint8
			want     string
		}{
			{4, "[vmhba1:1:1]"},
			{5, "[vmhba0:0:1 vmhba0:1:1 vmhba1:0:1 vmhba1:1:1]"},
			{0, "[vmhba1:1:1]"},
		} {
			if got := fmt.Sprint(bd.readsOf("vm", c.priority, 20)); got != c.want {
				t.Errorf("priority %d: got %s, want %s", c.priority, got, c.want)
			}
		}
		bd.net.cut(portals(2)[1])
		time.Sleep(time.Millisecond)
		if got := fmt.Sprint(bd.readsOf("low", 0, 20)); got != "[vmhba1:0:1]" {
			t.Errorf("after the loss: got %s", got)
		}
	})
}

// TestSetSelectorInFlight changes the selector at random under load: no request is lost,
// and in the end nothing counts as in flight.
func TestSetSelectorInFlight(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	synctest.Test(t, func(t *testing.T) {
		bd, _, l := oneDisk(t, nil)
		defer bd.stop()
		slowReads(l)
		d := bd.device()
		var calls []*call
		for i := range 400 {
			c := newCall(backends.Read, uint64(r.IntN(64))*512, 512, 0)
			do(d, from(fmt.Sprint("vm", r.IntN(3)), uint8(r.IntN(10)), c)...)
			calls = append(calls, c)
			if i%7 == 0 {
				s := Selection{Name: SelectorNames()[r.IntN(len(selectors))]}
				if err := d.SetSelector(&s); err != nil {
					t.Fatal(err)
				}
				d.checkFlights(t)
			}
			switch r.IntN(20) {
			case 0:
				bd.net.reset(portals(2)[r.IntN(2)], "")
			case 1, 2, 3, 4:
				time.Sleep(time.Duration(r.IntN(5)) * time.Millisecond)
			}
		}
		mustOK(t, calls...)
		for _, c := range calls {
			c.r.Data.Release()
		}
		for _, name := range SelectorNames() { // what each has now, of requests that began under others
			if err := d.SetSelector(&Selection{Name: name}); err != nil {
				t.Fatal(err)
			}
			d.checkFlights(t)
		}
		if n := len(bd.events.of(SelectorChanged)); n < 50 {
			t.Errorf("%d events", n)
		}
	})
}

// checkFlights compares what the selector counts with what the paths have in flight.
func (d *Device) checkFlights(t *testing.T) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.paths {
		want := p.bytes + uint64(p.inflight)*commandBytes
		got := want
		switch s := d.sel.(type) {
		case *serviceTime:
			got = s.pending[p.slot]
		case *perVM:
			got = s.load.pending[p.slot]
		case *isolateLow:
			got = s.load.pending[p.slot]
		case *queueLength:
			got, want = s.queue[p.slot], uint64(p.inflight)
		case *leastLatency:
			got, want = s.path[p.slot].queue, uint64(p.inflight)
		}
		if got != want {
			t.Fatalf("%s: the selector %T counts %d, want %d", p.name, d.sel, got, want)
		}
	}
}

// What is set counts at once, is told, is kept over a restart and can be taken back.
// What cannot be kept, or is not valid, changes nothing.
func TestSetSelectorIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, s, _ := oneDisk(t, selected("round-robin"))
		d := bd.device()
		want := func(name string, set bool) {
			t.Helper()
			got, isSet := bd.device().Selection()
			if i := bd.device().State(); got.Name != name || isSet != set || i.Selection.Name != name || i.SelectionSet != set {
				t.Errorf("got %v, %v, and %v, %v, want %s, %v", got, isSet, i.Selection, i.SelectionSet, name, set)
			}
		}
		want("round-robin", false)
		fix := Selection{Name: "fixed", SelectorOptions: SelectorOptions{Preferred: "vmhba1:0:*"}}
		if err := d.SetSelector(&fix); err != nil {
			t.Fatal(err)
		}
		want("fixed", true)
		if e := bd.events.of(SelectorChanged); len(e) != 1 || e[0].Device != d.Name() || e[0].Reason != "fixed preferred=vmhba1:0:*, was round-robin" {
			t.Errorf("events %+v", e)
		}
		if got := fmt.Sprint(bd.readsOf("a", 5, 5)); got != "[vmhba1:0:1]" {
			t.Errorf("fixed is on %s", got)
		}
		if err := d.SetSelector(&Selection{Name: "mru", SelectorOptions: SelectorOptions{IOPS: 4}}); !errors.Is(err, ErrSelection) {
			t.Errorf("not valid: %v", err)
		}
		bd.store.mu.Lock()
		bd.store.fail = errors.New("disk full")
		bd.store.mu.Unlock()
		if err := d.SetSelector(nil); err == nil {
			t.Error("not kept, and no error")
		}
		bd.store.mu.Lock()
		bd.store.fail = nil
		bd.store.mu.Unlock()
		want("fixed", true)
		bd.stop()

		bd.start(selected("mru"))
		want("fixed", true)
		if err := bd.device().SetSelector(nil); err != nil {
			t.Fatal(err)
		}
		want("mru", false)
		bd.stop()
		bd.start(selected("round-robin"))
		want("round-robin", false)
		bd.stop()
		_ = s
	})
}

// Weights and bandwidths reach the selector; non-optimized paths are used beside the
// others only if that is asked for, while running too (RT-5, RT-6).
func TestWeightsAndNonOptimized(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bd, _, _ := oneDisk(t, func(c *Config) {
			c.Adapters[0].Bandwidth, c.Adapters[1].Bandwidth = 100e6, 300e6
		})
		defer bd.stop()
		d := bd.device()
		weights := func() map[string]uint32 {
			d.mu.Lock()
			defer d.mu.Unlock()
			m := map[string]uint32{}
			for _, p := range d.paths {
				m[p.name] = p.line.Weight
			}
			return m
		}
		want := map[string]uint32{"vmhba0:0:1": 333, "vmhba0:1:1": 333, "vmhba1:0:1": 1000, "vmhba1:1:1": 1000}
		if got := weights(); !maps.Equal(got, want) {
			t.Errorf("by bandwidth: %v, want %v", got, want)
		}
		set := Selection{Name: "round-robin", Weights: []PathWeight{{"vmhba1:1:1", 4}, {"vmhba1:*", 2}}}
		if err := d.SetSelector(&set); err != nil {
			t.Fatal(err)
		}
		want = map[string]uint32{"vmhba0:0:1": 1, "vmhba0:1:1": 1, "vmhba1:0:1": 2, "vmhba1:1:1": 4}
		if got := weights(); !maps.Equal(got, want) {
			t.Errorf("as set: %v, want %v", got, want)
		}
		before := bd.reads()
		bd.readsOf("a", 5, 80)
		for name, n := range bd.reads() {
			if got, want := n-before[name], uint64(want[name]*10); got != want {
				t.Errorf("%s: %d reads, want %d", name, got, want)
			}
		}

		var b backends.Batch
		out := newOutbox()
		d.mu.Lock()
		for _, p := range d.paths[2:] {
			d.accessLocked(&b, out, p, ReportNonOptimized, time.Now())
		}
		d.mu.Unlock()
		d.send(&b, out)
		b.Run()
		if n := bd.used(); n != 2 {
			t.Errorf("%d paths are used, want the two optimized ones", n)
		}
		set.UseNonOptimized = true
		if err := d.SetSelector(&set); err != nil {
			t.Fatal(err)
		}
		if n := bd.used(); n != 4 {
			t.Errorf("%d paths are used, want all", n)
		}
		if c := d.State().Capacity; c.Now != c.Nominal || c.Now != 400e6 {
			t.Errorf("capacity %+v", c)
		}
		if err := d.SetSelector(nil); err != nil {
			t.Fatal(err)
		}
		if n := bd.used(); n != 2 {
			t.Errorf("%d paths are used after the reset", n)
		}
	})
}
