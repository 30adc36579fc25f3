// SPDX-License-Identifier: Apache-2.0

package stamp

import (
	"encoding/json"
	"fmt"
	"math/bits"
	"strings"
	"sync"
	"time"
)

// maxListed bounds the violations and errors that a report spells out.
const maxListed = 50

// Report is the outcome of a run. Durations are in nanoseconds in JSON.
type Report struct {
	Seed       uint64         `json:"seed"`
	Duration   time.Duration  `json:"durationNs"` // of the writing phase
	Reads      Class          `json:"reads"`
	Writes     Class          `json:"writes"`
	Flushes    Class          `json:"flushes"`
	Errors     int64          `json:"errors"`
	ErrorList  []string       `json:"errorList,omitempty"` // the first ones
	Violations int64          `json:"violations"`          // sectors of reads that were wrong
	List       []Violation    `json:"list,omitempty"`      // one for each kind, LBA and value; the first ones
	Kinds      map[string]int `json:"kinds,omitempty"`     // violations by kind
	// Races are sectors that were read in the middle of a write to them.
	Races int64 `json:"races"`
	// Stall is the longest time in which no request of any writer succeeded,
	// the time from the last success to the end included.
	Stall Stall `json:"stall"`
	// WriterStalls is the same for each writer by itself.
	WriterStalls []Stall `json:"writerStalls"`
}

// Class is what is told of the successful requests of one kind.
type Class struct {
	Ops   int64         `json:"ops"`
	Bytes int64         `json:"bytes"`
	P50   time.Duration `json:"p50Ns"` // percentiles are exact to 1/16
	P90   time.Duration `json:"p90Ns"`
	P99   time.Duration `json:"p99Ns"`
	P999  time.Duration `json:"p999Ns"`
	Max   time.Duration `json:"maxNs"`
}

// Stall is a gap between two completions; At counts from the run's start.
type Stall struct {
	Gap time.Duration `json:"gapNs"`
	At  time.Duration `json:"atNs"`
}

// JSON returns the report indented.
func (r *Report) JSON() ([]byte, error) { return json.MarshalIndent(r, "", "  ") }

// String is the report for a person, violations first.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d violations, %d errors in %v (seed %d)\n", r.Violations, r.Errors, r.Duration.Round(time.Millisecond), r.Seed)
	for _, v := range r.List {
		fmt.Fprintf(&b, "  %v\n", v)
	}
	for _, e := range r.ErrorList {
		fmt.Fprintf(&b, "  error: %s\n", e)
	}
	for _, c := range []struct {
		name string
		Class
	}{{"reads", r.Reads}, {"writes", r.Writes}, {"flushes", r.Flushes}} {
		fmt.Fprintf(&b, "%-8s %8d  %8.1f MiB  p50 %v  p90 %v  p99 %v  p99.9 %v  max %v\n", c.name, c.Ops,
			float64(c.Bytes)/(1<<20), c.P50, c.P90, c.P99, c.P999, c.Max)
	}
	fmt.Fprintf(&b, "longest stall %v at %v; per writer", r.Stall.Gap.Round(time.Microsecond), r.Stall.At.Round(time.Millisecond))
	for _, s := range r.WriterStalls {
		fmt.Fprintf(&b, " %v", s.Gap.Round(time.Microsecond))
	}
	fmt.Fprintf(&b, "\nsectors read in the middle of a write %d\n", r.Races)
	return b.String()
}

type opKind int

const (
	kindRead opKind = iota
	kindWrite
	kindFlush
	opKinds
)

// meter collects what the report tells. Safe for concurrent use.
type meter struct {
	mu      sync.Mutex
	r       Report
	began   time.Time
	stopped bool
	classes [opKinds]histogram
	last    []time.Time // completion per writer; [0] of all
	stalls  []Stall
	listed  map[string]bool
}

func newMeter(writers int) *meter {
	return &meter{last: make([]time.Time, writers+1), stalls: make([]Stall, writers+1), listed: make(map[string]bool)}
}

func (m *meter) start() {
	m.began = time.Now()
	for i := range m.last {
		m.last[i] = m.began
	}
}

func (m *meter) gap(i int, now time.Time) {
	if g := now.Sub(m.last[i]); g > m.stalls[i].Gap {
		m.stalls[i] = Stall{Gap: g, At: m.last[i].Sub(m.began)}
	}
	m.last[i] = now
}

// stop ends the writing phase: a writer that never came back has stalled until now.
func (m *meter) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.r.Duration, m.stopped = now.Sub(m.began), true
	for i := range m.last {
		m.gap(i, now)
	}
}

func (m *meter) done(writer uint32, k opKind, n int, begin time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.classes[k].add(now.Sub(begin), n)
	m.gap(0, now)
	m.gap(int(writer), now)
}

func (m *meter) failed(what string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.r.Errors++
	if len(m.r.ErrorList) < maxListed {
		m.r.ErrorList = append(m.r.ErrorList, fmt.Sprintf("%v after %v: %s", err, time.Since(m.began).Round(time.Millisecond), what))
	}
}

func (m *meter) violated(bad []Violation) {
	if len(bad) == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.r.Kinds == nil {
		m.r.Kinds = make(map[string]int)
	}
	for _, v := range bad {
		m.r.Violations++
		m.r.Kinds[v.Kind.String()]++
		key := fmt.Sprint(v.Kind, v.LBA, v.Found)
		if !m.listed[key] && len(m.r.List) < maxListed {
			m.listed[key] = true
			m.r.List = append(m.r.List, v)
		}
	}
}

func (c *Checker) report() *Report {
	m := c.meter
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.r
	r.Seed = c.cfg.Seed
	c.model.mu.Lock()
	r.Races = c.model.races
	c.model.mu.Unlock()
	r.Reads, r.Writes, r.Flushes = m.classes[kindRead].class(), m.classes[kindWrite].class(), m.classes[kindFlush].class()
	r.Stall, r.WriterStalls = m.stalls[0], m.stalls[1:]
	return &r
}

// histogram has 16 buckets for each power of two of nanoseconds.
type histogram struct {
	buckets [64 * 16]int64
	n       int64
	bytes   int64
	max     time.Duration
}

func (h *histogram) add(d time.Duration, bytes int) {
	v := uint64(max(d, 16))
	shift := bits.Len64(v) - 5
	h.buckets[shift*16+int(v>>shift)-16]++
	h.n++
	h.bytes += int64(bytes)
	h.max = max(h.max, d)
}

func (h *histogram) percentile(p float64) time.Duration {
	rank := int64(p * float64(h.n))
	for i, c := range h.buckets {
		if rank -= c; rank < 0 {
			upper := time.Duration(uint64(i%16+17)<<(i/16)) - 1
			return min(upper, h.max)
		}
	}
	return h.max
}

func (h *histogram) class() Class {
	return Class{
		Ops: h.n, Bytes: h.bytes, Max: h.max,
		P50: h.percentile(0.5), P90: h.percentile(0.9), P99: h.percentile(0.99), P999: h.percentile(0.999),
	}
}
