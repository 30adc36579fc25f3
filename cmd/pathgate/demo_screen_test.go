// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// someSecond is a tick of one path, with vm3 over its entitlement.
func someSecond(at time.Duration) *demoSecond {
	return &demoSecond{
		elapsed: at, length: 2 * time.Second, total: 1000, paths: 1, part: 50, slowest: 123456 * time.Microsecond,
		vms: [demoVMs]demoCell{
			{name: "vm1", ios: 380, got: 38, entitled: 40, shares: 2000, priority: 5, why: "share", detail: "share behind vm2"},
			{name: "vm2", ios: 400, got: 40, entitled: 40, shares: 2000, priority: 5},
			{name: "vm3", ios: 220, got: 22, entitled: 20, over: true, shares: 1000, priority: 5, why: "over-entitlement", detail: "over-entitlement 30.0%>20.0%"},
		},
	}
}

func TestDemoLine(t *testing.T) {
	want := "   12.0s       38.0/40.0       40.0/40.0      !22.0/20.0    500       50%      1    123ms  share, -, over-entitlement"
	if got := demoLine(someSecond(12 * time.Second)); got != want {
		t.Errorf("line\n%q, want\n%q", got, want)
	}
	// Header and lines have the same columns: the last begins at the same place.
	header := demoHeader()
	if h, l := strings.Index(header, "what each"), strings.Index(want, "share,"); h != l {
		t.Errorf("the last column begins at %d in the header, at %d in the line", h, l)
	}
	if got := demoLine(&demoSecond{}); !strings.Contains(got, " 0  ") {
		t.Errorf("a second of no length: %q", got)
	}
}

func TestDemoTable(t *testing.T) {
	got := demoTable(4, "path vmhba1 is cut", someSecond(12*time.Second))
	want := []string{
		"",
		"  12.0s  4: path vmhba1 is cut",
		"  VM   SHARES PRIO   GOT% ENTITLED%  I/O/s  0%                    100%  WAITS FOR",
		"  vm1    2000    5  38.0%     40.0%    190  ██████████|··············   share behind vm2",
		"  vm2    2000    5  40.0%     40.0%    200  ██████████|··············   ",
		"  vm3    1000    5  22.0%     20.0%    110  █████|···················   !over-entitlement 30.0%>20.0%",
		"  LUN  capacity 50%, 500 I/O/s over 1 path(s), slowest I/O 123ms",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, tc := range []struct {
		got, due float64
		want     string
	}{
		{0, 0, "|" + strings.Repeat("·", 24) + " "},
		{0, 100, strings.Repeat("·", 25) + "|"},
		{100, 100, strings.Repeat("█", 25) + "|"},
		{250, 60, strings.Repeat("█", 15) + "|" + strings.Repeat("█", 9) + " "},
	} {
		if got := bar(tc.got, tc.due); got != tc.want {
			t.Errorf("%v %% of %v %%: %q, want %q", tc.got, tc.due, got, tc.want)
		}
	}
}

// terminal carries out what the demo writes to one, and knows no other sequences.
type terminal struct {
	t     *testing.T
	lines []string
	row   int
}

var upAndClear = regexp.MustCompile(`^\x1b\[(\d+)F\x1b\[J`)

func (m *terminal) Write(p []byte) (int, error) {
	rest := string(p)
	for rest != "" {
		if c := upAndClear.FindStringSubmatch(rest); c != nil {
			n, _ := strconv.Atoi(c[1])
			if m.row -= n; m.row < 0 {
				m.t.Fatalf("the cursor goes %d lines above the top", -m.row)
			}
			m.lines, rest = m.lines[:m.row], rest[len(c[0]):]
			continue
		}
		line, after, ok := strings.Cut(rest, "\n")
		if !ok || strings.Contains(line, "\x1b") {
			m.t.Fatalf("%q is no whole line", rest)
		}
		m.lines, rest = append(m.lines, line), after
		m.row++
	}
	return len(p), nil
}

// TestDemoScreenRedraws: lines stay in their order above, and there is one table, the
// newest, below them; after leave it stays and what follows comes below.
func TestDemoScreenRedraws(t *testing.T) {
	m := &terminal{t: t}
	s := &demoScreen{out: m, width: func() int { return 40 }}
	s.printf("target\n")
	s.enter()
	s.phase(0, 1, "first")
	s.tick(someSecond(time.Second))
	s.tick(someSecond(2 * time.Second))
	s.say(2500*time.Millisecond, "event")
	s.phase(2600*time.Millisecond, 2, "second")
	s.tick(someSecond(3 * time.Second))
	s.leave()
	s.tick(someSecond(4 * time.Second))
	s.printf("summary")
	want := []string{"target", "", "  0.000s  *** 1: first", "  2.500s  event", "  2.600s  *** 2: second"}
	for _, line := range demoTable(2, "second", someSecond(3*time.Second)) {
		if utf8.RuneCountInString(line) > 40 {
			line = string([]rune(line)[:40])
		}
		want = append(want, line)
	}
	if diff := cmp.Diff(append(want, "summary"), m.lines); diff != "" {
		t.Error(diff)
	}
}

// TestDemoScreenPlain: where there is no terminal nothing but lines is written.
func TestDemoScreenPlain(t *testing.T) {
	var b bytes.Buffer
	s := newDemoScreen(&b, false)
	s.enter()
	s.phase(0, 1, "first")
	s.tick(someSecond(time.Second))
	s.say(time.Second, "event")
	s.tick(someSecond(2 * time.Second))
	s.leave()
	want := fmt.Sprintf("\n%s\n  0.000s  *** 1: first\n%s\n  1.000s  event\n%s\n",
		demoHeader(), demoLine(someSecond(time.Second)), demoLine(someSecond(2*time.Second)))
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Error(diff)
	}
}
