// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// demoTolerance is how far, in percentage points, a VM may be from what it is entitled
// to before the summary says so: the machine may have other work to do.
const demoTolerance = 5

// demoResult is what was measured in a phase.
type demoResult struct {
	number int
	phase  *demoPhase
	ticks  int
	length time.Duration
	ios    [demoVMs]uint64
}

// add counts a tick.
func (r *demoResult) add(s *demoSecond) {
	r.ticks++
	r.length += s.length
	for i := range s.vms {
		r.ios[i] += s.vms[i].ios
	}
}

// got gives what each VM got, in percent of what all got, and how much that was in a
// second.
func (r *demoResult) got() (percent [demoVMs]float64, perSecond float64) {
	var total uint64
	for _, n := range r.ios {
		total += n
	}
	for i, n := range r.ios {
		percent[i] = percentOf(n, total)
	}
	if r.length > 0 {
		perSecond = float64(total) / r.length.Seconds()
	}
	return percent, perSecond
}

// off gives the VM that is farthest from what it was to get, and by how many points.
func (r *demoResult) off() (vm int, points float64) {
	got, _ := r.got()
	for i, want := range r.phase.want {
		if d := math.Abs(got[i] - want); d > points {
			vm, points = i, d
		}
	}
	return vm, points
}

// demoSummary compares all phases with what was expected.
func demoSummary(results []demoResult) string {
	width := len("percent of vm1 / vm2 / vm3")
	for _, r := range results {
		width = max(width, utf8.RuneCountInString(r.phase.title)+2)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-*s  %18s  %18s  %6s\n", width, "percent of vm1 / vm2 / vm3", "expected", "measured", "I/O/s")
	wrong := 0
	for _, r := range results {
		got, rate := r.got()
		vm, points := r.off()
		judged := fmt.Sprintf("within %.1f", points)
		if points > demoTolerance {
			wrong++
			judged = fmt.Sprintf("OFF by %.1f (vm%d)", points, vm+1)
		}
		fmt.Fprintf(&b, "%d %-*s  %18s  %18s  %6.0f  %s\n", r.number, width-2, r.phase.title, triple(r.phase.want), triple(got), rate, judged)
	}
	if all := len(demoPhases()); len(results) < all {
		fmt.Fprintf(&b, "cut short after %d of %d phases\n", len(results), all)
	}
	if wrong > 0 {
		fmt.Fprintf(&b, "NOT HELD: in %d of %d phases a share is off by more than %d points; is the machine overloaded?\n", wrong, len(results), demoTolerance)
	} else if len(results) > 0 {
		fmt.Fprintf(&b, "all shares were held within %d points\n", demoTolerance)
	}
	return b.String()
}

func triple(p [demoVMs]float64) string { return fmt.Sprintf("%.1f / %.1f / %.1f", p[0], p[1], p[2]) }
