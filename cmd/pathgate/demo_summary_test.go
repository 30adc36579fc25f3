// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"strings"
	"testing"
	"time"
)

// TestDemoPhases: what is expected adds up, and follows from the shares.
func TestDemoPhases(t *testing.T) {
	phases := demoPhases()
	for i, p := range phases {
		sum := 0.0
		for _, w := range p.want {
			sum += w
		}
		if math.Abs(sum-100) > 1e-9 {
			t.Errorf("phase %d: %v adds up to %v", i+1, p.want, sum)
		}
		if p.ticks < 2 || p.paths < 1 || p.title == "" {
			t.Errorf("phase %d: %+v", i+1, p)
		}
	}
	var shares float64
	for _, s := range demoShares {
		shares += float64(s)
	}
	for i, s := range demoShares {
		if want := 100 * float64(s) / shares; math.Abs(phases[0].want[i]-want) > 1e-9 {
			t.Errorf("all busy: vm%d is to get %v %%, its shares are %v %%", i+1, phases[0].want[i], want)
		}
	}
	if got := 100 * float64(demoLight) / demoCapacity; got != phases[2].want[2] {
		t.Errorf("vm3 asks for %v %%, expected are %v %%", got, phases[2].want[2])
	}
}

func TestDemoSummary(t *testing.T) {
	phases := demoPhases()
	held := demoResult{number: 1, phase: &phases[0]}
	for range 2 {
		held.add(&demoSecond{length: 2 * time.Second, vms: [demoVMs]demoCell{{ios: 401}, {ios: 402}, {ios: 197}}})
	}
	got := demoSummary([]demoResult{held})
	for _, want := range []string{
		"40.0 / 40.0 / 20.0  40.1 / 40.2 / 19.7     500  within 0.3\n",
		"all shares were held within 5 points\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	lines := strings.Split(got, "\n")
	for column, under := range map[string]string{"expected": "40.0 / 40.0 / 20.0", "measured": "40.1 / 40.2 / 19.7", "I/O/s": "500"} {
		if a, b := strings.Index(lines[0], column)+len(column), strings.Index(lines[1], under)+len(under); a != b {
			t.Errorf("%q ends at %d, its values at %d", column, a, b)
		}
	}
	off := demoResult{number: 2, phase: &phases[1], ticks: 1, length: time.Second, ios: [demoVMs]uint64{0, 500, 500}}
	got = demoSummary([]demoResult{held, off})
	for _, want := range []string{"OFF by 16.7 (vm2)\n", "NOT HELD: in 1 of 2 phases a share is off by more than 5 points"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "all shares were held") {
		t.Errorf("held and not held in\n%s", got)
	}
	if got := demoSummary(nil); !strings.Contains(got, "cut short after 0 of 7 phases\n") || strings.Contains(got, "held") {
		t.Errorf("no phase:\n%s", got)
	}
	nothing := demoResult{number: 1, phase: &phases[0]}
	if got := demoSummary([]demoResult{nothing}); !strings.Contains(got, "OFF by 40.0 (vm1)") {
		t.Errorf("a phase without I/O:\n%s", got)
	}
}
