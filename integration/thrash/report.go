// SPDX-License-Identifier: Apache-2.0

package thrash

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"
)

// Stall is how long clients waited because of one fault.
type Stall struct {
	// Wait is the longest wait of a request from the strike on, Gap the longest time
	// in which no request ended.
	Wait, Gap time.Duration
}

// Tally is what is told of one kind of fault.
type Tally struct {
	Injected int // took effect
	Missed   int // nothing was there to be hit
	Lost     int // cost at least one path that was in use
	Stalls   []Stall
}

// Report is what came of one round or of many. The zero value is empty. Safe for
// concurrent use.
type Report struct {
	mu         sync.Mutex
	Seeds      []uint64
	Duration   time.Duration // of all rounds together, were they one after the other
	Kinds      [kinds]Tally
	Requests   int64 // that ended well
	Cut        int64 // ended with a killed gateway
	Errors     int64 // all others that did not end well
	Violations int64
	Fences     int
}

// Add takes over what other has.
func (r *Report) Add(other *Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Seeds = append(r.Seeds, other.Seeds...)
	r.Duration += other.Duration
	for k := range r.Kinds {
		t, o := &r.Kinds[k], &other.Kinds[k]
		t.Injected += o.Injected
		t.Missed += o.Missed
		t.Lost += o.Lost
		t.Stalls = append(t.Stalls, o.Stalls...)
	}
	r.Requests += other.Requests
	r.Cut += other.Cut
	r.Errors += other.Errors
	r.Violations += other.Violations
	r.Fences += other.Fences
}

// Injected is how many faults took effect.
func (r *Report) Injected() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k := range r.Kinds {
		n += r.Kinds[k].Injected
	}
	return n
}

// Failovers is how many faults cost a path that was in use.
func (r *Report) Failovers() (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k := range r.Kinds {
		n += r.Kinds[k].Lost
	}
	return n
}

// String is the table of the report, the verdict first.
func (r *Report) String() string {
	injected, failovers := r.Injected(), r.Failovers()
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "%d faults injected : %d violations; %d client errors, %d faults cost a path, %d fences, %d requests, %d cut with the gateway\n",
		injected, r.Violations, r.Errors, failovers, r.Fences, r.Requests, r.Cut)
	fmt.Fprintf(&b, "rounds %d, seeds %s, %v of rounds, %s\n", len(r.Seeds), seeds(r.Seeds), r.Duration.Round(time.Second), version())
	fmt.Fprintf(&b, "%-13s %8s %6s %6s  %-29s %s\n", "kind", "injected", "missed", "cost", "longest wait p50/p99/max", "nothing ended p50/p99/max")
	for k := range kinds {
		t := &r.Kinds[k]
		if t.Injected+t.Missed == 0 {
			continue
		}
		wait := percentiles(t.Stalls, func(s Stall) time.Duration { return s.Wait })
		gap := percentiles(t.Stalls, func(s Stall) time.Duration { return s.Gap })
		fmt.Fprintf(&b, "%-13v %8d %6d %6d  %-29s %s\n", Kind(k), t.Injected, t.Missed, t.Lost, wait, gap)
	}
	return b.String()
}

// percentiles prints the median, the 99th percentile and the largest.
func percentiles(list []Stall, of func(Stall) time.Duration) string {
	if len(list) == 0 {
		return "-"
	}
	var ds []time.Duration
	for _, s := range list {
		ds = append(ds, of(s).Round(time.Millisecond))
	}
	slices.Sort(ds)
	at := func(percent int) time.Duration { return ds[min(len(ds)*percent/100, len(ds)-1)] }
	return fmt.Sprintf("%v/%v/%v", at(50), at(99), ds[len(ds)-1])
}

// seeds prints the first and the last, which are all when they came in a row.
func seeds(list []uint64) string {
	if len(list) == 0 {
		return "none"
	}
	return fmt.Sprintf("%d to %d", slices.Min(list), slices.Max(list))
}

// version names what was tested, as far as the binary knows.
func version() string {
	v := runtime.Version()
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v += ", revision " + s.Value
			}
		}
	}
	return v
}
