// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pathgate/backends"
)

// epoch is when the clocks of these tests begin.
var epoch = time.Unix(1_000_000, 0)

// selectorOf makes a selector as a device does.
func selectorOf(name string, o SelectorOptions) (Selector, *vmTable) {
	vms := new(vmTable)
	s := Selection{Name: name, SelectorOptions: o}
	return s.newSelector(vms), vms
}

func TestSelectionValidate(t *testing.T) {
	for _, c := range []struct {
		s    Selection
		want string
	}{
		{Selection{}, ""},
		{Selection{Name: "mru"}, ""},
		{Selection{Name: "best"}, `selector: "best" is not known (one of service-time, round-robin, queue-length, latency, fixed, mru, per-vm, isolate-low)`},
		{Selection{Name: "round-robin", SelectorOptions: SelectorOptions{IOPS: 8, Bytes: 1 << 20}}, ""},
		{
			Selection{Name: "round-robin", SelectorOptions: SelectorOptions{IOPS: MaxTurnOps + 1, Bytes: 511}},
			"iops: is out of range (1 to 1000000)\nbytes: is out of range (512 to 1GiB)",
		},
		{Selection{SelectorOptions: SelectorOptions{IOPS: 8}}, "iops: is not an option of service-time (of round-robin)"},
		{
			Selection{Name: "latency", SelectorOptions: SelectorOptions{Resample: time.Millisecond, Settle: time.Second}},
			"resample: is out of range (100ms to 1h)\nsettle: is not an option of latency (of per-vm, isolate-low)",
		},
		{
			Selection{Name: "isolate-low", SelectorOptions: SelectorOptions{Below: 11, Paths: -1, Settle: time.Hour}},
			"settle: is out of range (10ms to 1m)\nbelow: is out of range (1 to 10)\npaths: is out of range (1 to 63)",
		},
		{Selection{Name: "fixed", SelectorOptions: SelectorOptions{Preferred: "vmhba1:*"}}, ""},
		{Selection{Name: "fixed", SelectorOptions: SelectorOptions{Preferred: "vmhba1"}}, "preferred: is out of range (" + pathRule + ")"},
		{Selection{Weights: []PathWeight{{"vmhba0:0:1", 1}, {"*", 1000}}}, ""},
		{Selection{Weights: []PathWeight{{"vmhba0:0:1", 0}}}, `weights: "vmhba0:0:1": 0 is not one (` + weightRule + ")"},
		{Selection{Weights: []PathWeight{{"a*b*", 1}}}, `weights: "a*b*": 1 is not one (` + weightRule + ")"},
		{Selection{Weights: slices.Repeat([]PathWeight{{"*", 1}}, MaxPathWeights+1)}, "weights: are too many (at most 256)"},
	} {
		got := ""
		if err := c.s.Validate(); err != nil {
			got = err.Error()
			if _, ok := errors.AsType[SelectionFault](err); !ok {
				t.Errorf("%v: no SelectionFault in %v", c.s, err)
			}
		}
		if got != c.want {
			t.Errorf("%v:\ngot  %s\nwant %s", c.s, got, c.want)
		}
	}
}

// Normal leaves what the selector has, and names the default.
func TestSelectionNormal(t *testing.T) {
	all := Selection{
		Weights: []PathWeight{{"vmhba0:*", 2}}, UseNonOptimized: true,
		SelectorOptions: SelectorOptions{1, 512, time.Second, "*", time.Second, 1, 1},
	}
	for name, want := range map[string]string{
		"":             "service-time",
		"round-robin":  "round-robin iops=1 bytes=512",
		"queue-length": "queue-length",
		"latency":      "latency resample=1s",
		"fixed":        "fixed preferred=*",
		"mru":          "mru",
		"per-vm":       "per-vm settle=1s",
		"isolate-low":  "isolate-low below=1 paths=1 settle=1s",
	} {
		s := all
		s.Name = name
		if got, want := s.Normal().String(), want+" weight:vmhba0:*=2 use-non-optimized=true"; got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
	if keys := SelectorKeys("best"); keys != nil {
		t.Errorf("keys of an unknown one: %v", keys)
	}
}

// TestSelectorOracles compares each selector on random runs with a slow and obvious
// version of its rule.
func TestSelectorOracles(t *testing.T) {
	for _, c := range []struct {
		name string
		o    SelectorOptions
		slow func(r *record) slowRule
	}{
		{"service-time", SelectorOptions{}, slowServiceTime},
		{"queue-length", SelectorOptions{}, slowQueueLength},
		{"round-robin", SelectorOptions{}, func(r *record) slowRule { return slowRoundRobin(r, 1, 0) }},
		{"round-robin", SelectorOptions{IOPS: 3, Bytes: 12288}, func(r *record) slowRule { return slowRoundRobin(r, 3, 12288) }},
		{"latency", SelectorOptions{Resample: time.Second}, func(r *record) slowRule { return slowLatency(r, time.Second) }},
		{"fixed", SelectorOptions{Preferred: "vmhba1:*"}, func(r *record) slowRule { return slowFixed(r, "vmhba1:") }},
		{"fixed", SelectorOptions{}, func(r *record) slowRule { return slowFixed(r, "none") }},
		{"mru", SelectorOptions{}, slowMRU},
		{"isolate-low", SelectorOptions{Settle: time.Second}, func(r *record) slowRule { return slowIsolateLow(r, 5, 0, time.Second) }},
		{"isolate-low", SelectorOptions{Settle: 20 * time.Millisecond, Below: 2, Paths: 3}, func(r *record) slowRule { return slowIsolateLow(r, 2, 3, 20*time.Millisecond) }},
		{"per-vm", SelectorOptions{Settle: time.Second}, func(r *record) slowRule { return slowPerVM(r, time.Second) }},
	} {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("%s/%v", c.name, c.o), func(t *testing.T) {
			t.Logf("seed %d", seed)
			fast, vms := selectorOf(c.name, c.o)
			rec := newRecord(vms)
			compareSelectors(t, rand.New(rand.NewPCG(seed, 1)), fast, rec, c.slow(rec))
		})
	}
}

// compareSelectors drives both with the same random run.
func compareSelectors(t *testing.T, r *rand.Rand, fast Selector, rec *record, slow slowRule) {
	t.Helper()
	now := epoch
	var origins []*backends.Origin
	for i := range 7 {
		origins = append(origins, &backends.Origin{VM: fmt.Sprint("vm", i), Priority: backends.NewPriority(uint8(i))})
	}
	origins = append(origins, nil)
	for step := range 4000 {
		now = now.Add(time.Duration(r.IntN(40)) * time.Millisecond)
		slot := r.IntN(6)
		switch r.IntN(16) {
		case 0, 1:
			adapter, portal := r.IntN(2), r.IntN(3) // a slot gets another path when it is free
			l, known := rec.lines[slot]
			if !known {
				l = Line{Slot: slot, Name: fmt.Sprintf("vmhba%d:%d:1", adapter, portal), Adapter: fmt.Sprint(adapter), Portal: fmt.Sprint(portal)}
			}
			l.Weight = 1 << r.IntN(3) // so that quotients are exact
			fast.Add(l)
			rec.add(l)
			if slow.changed != nil {
				slow.changed(true)
			}
		case 2:
			if _, ok := rec.lines[slot]; ok {
				fast.Remove(slot)
				rec.remove(slot)
				if slow.changed != nil {
					slow.changed(false)
				}
			}
		case 3, 4, 5, 6:
			if f := rec.flight[slot]; len(f) > 0 {
				i := r.IntN(len(f))
				a := Answer{Began: f[i].began, Ended: now, OK: r.IntN(8) > 0}
				fast.End(slot, f[i].n, a)
				rec.end(slot, i, a)
			}
		default:
			o := origins[r.IntN(len(origins))]
			q := Demand{Now: now, VM: rec.vms.of(o, now), Bytes: uint64(r.IntN(8)) * 4096, Tried: PathSet(r.Uint64() & r.Uint64() & r.Uint64() & 63)}
			if o != nil {
				q.Priority = o.Priority.Now()
			}
			want := slow.pick(q)
			got := fast.Select(q)
			if got != want {
				t.Fatalf("step %d: got %d, want %d; %+v of %v", step, got, want, q, rec.lines)
			}
			if got >= 0 {
				rec.take(got, now)
				fast.Start(got, q.Bytes)
				rec.start(got, q.Bytes, now)
			}
		}
	}
}

func TestSelectorsDoNotAllocate(t *testing.T) {
	for _, row := range selectors {
		s, vms := selectorOf(row.name, SelectorOptions{})
		now := epoch
		origins := []*backends.Origin{{VM: "a", Priority: backends.NewPriority(1)}, {VM: "b"}, nil}
		for i := range 8 {
			s.Add(Line{Slot: i, Weight: 1, Adapter: fmt.Sprint(i % 2), Portal: fmt.Sprint(i / 2)})
		}
		turn := 0
		run := func() {
			now = now.Add(time.Millisecond)
			o := origins[turn%3]
			turn++
			if turn%100 == 0 { // plans are made anew
				s.Remove(2)
				s.Add(Line{Slot: 2, Weight: 1})
			}
			v := vms.of(o, now)
			q := Demand{Now: now, VM: v, Bytes: 4096, Tried: 1}
			if o != nil {
				q.Priority = o.Priority.Now()
			}
			p := s.Select(q)
			if v != nil {
				v.used(p, now)
			}
			s.Start(p, 4096)
			s.End(p, 4096, Answer{Began: now, Ended: now, OK: true})
		}
		run()
		run()
		if n := testing.AllocsPerRun(1000, run); n != 0 {
			t.Errorf("%s: %v allocations", row.name, n)
		}
	}
}

func BenchmarkSelect(b *testing.B) {
	for _, row := range selectors {
		for _, paths := range []int{2, 8} {
			b.Run(fmt.Sprintf("%s/%d", row.name, paths), func(b *testing.B) {
				s, vms := selectorOf(row.name, SelectorOptions{})
				for i := range paths {
					s.Add(Line{Slot: i, Weight: 1, Adapter: fmt.Sprint(i % 2), Portal: fmt.Sprint(i / 2)})
				}
				origins := []*backends.Origin{{VM: "a", Priority: backends.NewPriority(1)}, {VM: "b"}}
				now, i := epoch, 0
				b.ReportAllocs()
				for b.Loop() {
					i++
					o := origins[i/16%2] // in rows, as sockets are read
					q := Demand{Now: now, VM: vms.of(o, now), Priority: o.Priority.Now(), Bytes: 4096}
					p := s.Select(q)
					s.Start(p, 4096)
					s.End(p, 4096, Answer{Began: now, Ended: now, OK: true})
				}
			})
		}
	}
}

// Every selector says its rule first, and is a file of its own.
func TestSelectorNames(t *testing.T) {
	if got := SelectorNames(); got[0] != "service-time" || len(got) != 8 || strings.Contains(strings.Join(got, ""), " ") {
		t.Errorf("got %v", got)
	}
}
