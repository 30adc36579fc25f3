// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestReadmeDemo: the run that README.md shows has the lines that the demo prints: its
// header, its phases in their order, seconds, and a summary whose numbers agree with
// what it says of them.
func TestReadmeDemo(t *testing.T) {
	_, section, ok := strings.Cut(readFile(t, "README.md"), "\n## The demo\n")
	if !ok {
		t.Fatal("no section on the demo")
	}
	_, shown, ok := strings.Cut(section, "```\n")
	if !ok {
		t.Fatal("no run is shown")
	}
	shown, _, _ = strings.Cut(shown, "```\n")
	lines := strings.Split(shown, "\n")
	if lines[0] != demoHeader() {
		t.Errorf("the header is\n%s\nand the demo's\n%s", lines[0], demoHeader())
	}
	phases := demoPhases()
	for i, p := range phases {
		began := regexp.MustCompile(fmt.Sprintf(`(?m)^ *[\d.]+s  \*\*\* %d: %s\n +[\d.]+s( +!?[\d.]+/[\d.]+){3} +\d+ +\d+%% +\d +\d+ms  \S`, i+1, regexp.QuoteMeta(p.title)))
		if !began.MatchString(shown) && !strings.Contains(p.title, "vmhba1") && !strings.Contains(p.title, "target") { // events come between
			t.Errorf("phase %d, %q, and a second of it are not shown", i+1, p.title)
		}
		if !strings.Contains(shown, fmt.Sprintf("*** %d: %s\n", i+1, p.title)) {
			t.Errorf("phase %d, %q, is not shown", i+1, p.title)
		}
		row := regexp.MustCompile(fmt.Sprintf(`(?m)^%d %s +%s +([\d.]+) / ([\d.]+) / ([\d.]+) +\d+  within ([\d.]+)$`,
			i+1, regexp.QuoteMeta(p.title), regexp.QuoteMeta(triple(p.want)))).FindStringSubmatch(shown)
		if row == nil {
			t.Errorf("the summary has no row of phase %d with %s", i+1, triple(p.want))
			continue
		}
		off := 0.0
		for vm, want := range p.want {
			off = max(off, math.Abs(parseFloat(t, row[1+vm])-want))
		}
		if said := parseFloat(t, row[4]); math.Abs(off-said) > 0.11 || said > demoTolerance {
			t.Errorf("phase %d: said to be within %v, and is off by %.2f", i+1, said, off)
		}
	}
	if !strings.Contains(shown, " 0 errors, 0 wrong blocks") {
		t.Error("no verdict is shown")
	}
}

func parseFloat(t *testing.T, s string) float64 {
	t.Helper()
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return f
}
