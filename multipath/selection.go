// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Selection is how a device's paths are selected: a selector and its options. The
// zero Selection is service-time.
type Selection struct {
	// Name is the selector's; "" is service-time.
	Name string `json:"name,omitempty"`
	// Weights are looked at in order, the first that matches a path counts; one that
	// none matches has 1. Empty: as the bandwidths of adapters and portals are to each
	// other, where they are known, else all are equal.
	Weights []PathWeight `json:"weights,omitempty"`
	// UseNonOptimized uses non-optimized paths beside the optimized ones, in one
	// group. False: only while no optimized one is usable.
	UseNonOptimized bool `json:"use-non-optimized,omitempty"`
	// SelectorOptions are those that only some selectors have.
	SelectorOptions
}

// PathWeight is the weight of some paths.
type PathWeight struct {
	// Path is a path's name, or the beginning of names and "*".
	Path string `json:"path"`
	// Weight is 1-1000.
	Weight uint32 `json:"weight"`
}

// SelectorOptions are the options of selectors; a zero field takes its default.
type SelectorOptions struct {
	// IOPS and Bytes end a path's turn of round-robin, after so many requests or bytes,
	// whichever is first: 1-1000000 and 512 B-1 GiB. Default: one request.
	IOPS  uint64 `json:"iops,omitempty"`
	Bytes uint64 `json:"bytes,omitempty"`
	// Resample is how long latency leaves a path without a request, 100 ms-1 h,
	// default 1 s. Shorter finds sooner that a slow path is fast again, at the price of
	// a slow request each time.
	Resample time.Duration `json:"resample,omitempty"`
	// Preferred is the path of fixed, as PathWeight.Path.
	Preferred string `json:"preferred,omitempty"`
	// Settle is how long paths and VMs of per-vm and isolate-low must have stayed as
	// they are before VMs move for the better, 10 ms-1 m, default 200 ms.
	Settle time.Duration `json:"settle,omitempty"`
	// Below: VMs of a lower priority are confined by isolate-low, 1-10, default 5.
	Below uint8 `json:"below,omitempty"`
	// Paths is how many paths they have, 1-63, but one less than there are, if there
	// are two. Default: a quarter of those in use, at least one.
	Paths int `json:"paths,omitempty"`
}

// The defaults of SelectorOptions.
const (
	defaultResample = time.Second
	defaultSettle   = 200 * time.Millisecond
	defaultBelow    = 5
)

// The bounds of SelectorOptions and of PathWeight.Weight.
const (
	MaxTurnOps     = 1_000_000
	MinTurnBytes   = 512
	MaxTurnBytes   = 1 << 30
	MinResample    = 100 * time.Millisecond
	MaxResample    = time.Hour
	MinSettle      = 10 * time.Millisecond
	MaxSettle      = time.Minute
	MaxBelow       = 10
	MaxLowPaths    = maxPaths - 1
	MaxPathWeight  = 1000
	MaxPathWeights = 256
)

// selectors is the one table of names, constructors and the options that each has.
var selectors = [...]struct {
	name    string
	options []string
	make    func(o SelectorOptions, vms *vmTable) Selector
}{
	{"service-time", nil, func(SelectorOptions, *vmTable) Selector { return &serviceTime{} }},
	{"round-robin", []string{"iops", "bytes"}, func(o SelectorOptions, _ *vmTable) Selector {
		if o.IOPS == 0 && o.Bytes == 0 {
			o.IOPS = 1
		}
		return &roundRobin{last: -1, ops: o.IOPS, bytes: o.Bytes}
	}},
	{"queue-length", nil, func(SelectorOptions, *vmTable) Selector { return &queueLength{} }},
	{"latency", []string{"resample"}, func(o SelectorOptions, _ *vmTable) Selector {
		return &leastLatency{resample: cmp.Or(o.Resample, defaultResample)}
	}},
	{"fixed", []string{"preferred"}, func(o SelectorOptions, _ *vmTable) Selector { return &fixed{preferred: o.Preferred} }},
	{"mru", nil, func(SelectorOptions, *vmTable) Selector { return &mru{last: -1} }},
	{"per-vm", []string{"settle"}, func(o SelectorOptions, vms *vmTable) Selector {
		return newPerVM(vms, cmp.Or(o.Settle, defaultSettle))
	}},
	{"isolate-low", []string{"below", "paths", "settle"}, func(o SelectorOptions, _ *vmTable) Selector {
		return &isolateLow{below: cmp.Or(o.Below, defaultBelow), paths: o.Paths, settle: cmp.Or(o.Settle, defaultSettle)}
	}},
}

// SelectorNames gives the names of all selectors; the first one is the default.
func SelectorNames() (names []string) {
	for i := range selectors {
		names = append(names, selectors[i].name)
	}
	return names
}

// SelectorKeys gives the options that a selector has beside weights and
// use-non-optimized, which all have. Nil for one that is not known.
func SelectorKeys(name string) []string {
	for i := range selectors {
		if selectors[i].name == name {
			return selectors[i].options
		}
	}
	return nil
}

// newSelector makes the selector of a valid Selection.
func (s *Selection) newSelector(vms *vmTable) Selector {
	i := slices.Index(SelectorNames(), s.Name)
	return selectors[max(i, 0)].make(s.SelectorOptions, vms)
}

// Normal is s with its name, and without the options that its selector has not.
func (s Selection) Normal() Selection {
	if s.Name == "" {
		s.Name = selectors[0].name
	}
	keys := SelectorKeys(s.Name)
	for _, o := range s.all() {
		if !slices.Contains(keys, o.key) {
			o.clear()
		}
	}
	return s
}

// SelectionFault is what is wrong with one option.
type SelectionFault struct {
	// Key is the option's, "selector" for the name; Rule what it has to be.
	Key, Message, Rule string
}

// Error is "key: message (rule)".
func (f SelectionFault) Error() string { return fmt.Sprintf("%s: %s (%s)", f.Key, f.Message, f.Rule) }

// Validate reports all faults at once, each a SelectionFault.
func (s Selection) Validate() error {
	name := s.Name
	if name == "" {
		name = selectors[0].name
	}
	if !slices.Contains(SelectorNames(), name) {
		return SelectionFault{"selector", fmt.Sprintf("%q is not known", name), "one of " + strings.Join(SelectorNames(), ", ")}
	}
	var faults []error
	for _, o := range s.all() {
		switch {
		case !o.set:
		case !slices.Contains(SelectorKeys(name), o.key):
			faults = append(faults, SelectionFault{o.key, "is not an option of " + name, "of " + strings.Join(selectorsWith(o.key), ", ")})
		case !o.ok:
			faults = append(faults, SelectionFault{o.key, "is out of range", o.rule})
		}
	}
	if len(s.Weights) > MaxPathWeights {
		faults = append(faults, SelectionFault{"weights", "are too many", fmt.Sprintf("at most %d", MaxPathWeights)})
	}
	for _, w := range s.Weights {
		if w.Weight < 1 || w.Weight > MaxPathWeight || !ValidPathPattern(w.Path) {
			faults = append(faults, SelectionFault{"weights", fmt.Sprintf("%q: %d is not one", w.Path, w.Weight), weightRule})
		}
	}
	return errors.Join(faults...)
}

const (
	pathRule   = `a path as vmhba0:0:1, or the beginning of names and *, as "vmhba0:*"`
	weightRule = pathRule + ", and 1 to 1000"
)

// option is one field of SelectorOptions.
type option struct {
	key, rule string
	set, ok   bool
	clear     func()
}

// all lists the options of s.
func (s *Selection) all() []option {
	return []option{
		{"iops", "1 to 1000000", s.IOPS != 0, s.IOPS <= MaxTurnOps, func() { s.IOPS = 0 }},
		{"bytes", "512 to 1GiB", s.Bytes != 0, s.Bytes >= MinTurnBytes && s.Bytes <= MaxTurnBytes, func() { s.Bytes = 0 }},
		{"resample", "100ms to 1h", s.Resample != 0, s.Resample >= MinResample && s.Resample <= MaxResample, func() { s.Resample = 0 }},
		{"preferred", pathRule, s.Preferred != "", ValidPathPattern(s.Preferred), func() { s.Preferred = "" }},
		{"settle", "10ms to 1m", s.Settle != 0, s.Settle >= MinSettle && s.Settle <= MaxSettle, func() { s.Settle = 0 }},
		{"below", "1 to 10", s.Below != 0, s.Below <= MaxBelow, func() { s.Below = 0 }},
		{"paths", "1 to 63", s.Paths != 0, s.Paths >= 1 && s.Paths <= MaxLowPaths, func() { s.Paths = 0 }},
	}
}

// selectorsWith names the selectors that have an option.
func selectorsWith(key string) (names []string) {
	for i := range selectors {
		if slices.Contains(selectors[i].options, key) {
			names = append(names, selectors[i].name)
		}
	}
	return names
}

// ValidPathPattern tells whether s can name paths: a name, or a beginning and "*".
func ValidPathPattern(s string) bool {
	if head, ok := strings.CutSuffix(s, "*"); ok {
		return !strings.Contains(head, "*") && len(head) <= 64
	}
	_, _, _, ok := parsePath(s)
	return ok && len(s) <= 64
}

// matchPath tells whether a pattern names a path.
func matchPath(pattern, name string) bool {
	if head, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, head)
	}
	return pattern == name
}

// String is the name and what is not as by default, for people.
func (s Selection) String() string {
	var b strings.Builder
	b.WriteString(s.Name)
	add := func(key string, v any) { fmt.Fprintf(&b, " %s=%v", key, v) }
	if s.IOPS != 0 {
		add("iops", s.IOPS)
	}
	if s.Bytes != 0 {
		add("bytes", s.Bytes)
	}
	if s.Resample != 0 {
		add("resample", s.Resample)
	}
	if s.Preferred != "" {
		add("preferred", s.Preferred)
	}
	if s.Below != 0 {
		add("below", s.Below)
	}
	if s.Paths != 0 {
		add("paths", s.Paths)
	}
	if s.Settle != 0 {
		add("settle", s.Settle)
	}
	for _, w := range s.Weights {
		fmt.Fprintf(&b, " weight:%s=%d", w.Path, w.Weight)
	}
	if s.UseNonOptimized {
		add("use-non-optimized", true)
	}
	return b.String()
}
