// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// demoScreen shows the demo. On a terminal a table stands below everything else and is
// redrawn in place; elsewhere each tick is a line. Safe for concurrent use.
type demoScreen struct {
	out   io.Writer
	width func() int // columns of the terminal; nil: it is none

	mu     sync.Mutex
	table  []string // what stands below, as last drawn
	number int      // of the phase
	title  string
	live   bool // between enter and leave
}

// demoColumns is how wide a terminal must be for the table.
const demoColumns = 80

// newDemoScreen looks at what out is.
func newDemoScreen(out io.Writer, plain bool) *demoScreen {
	s := &demoScreen{out: out}
	f, ok := out.(*os.File)
	if !ok || plain || os.Getenv("TERM") == "dumb" {
		return s
	}
	width := func() int {
		w, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
		if err != nil {
			return 0
		}
		return int(w.Col)
	}
	if width() >= demoColumns {
		s.width = width
	}
	return s
}

// printf prints a line, or several, that stay.
func (s *demoScreen) printf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.printLocked(fmt.Sprintf(format, args...))
}

// say prints a line that belongs to a moment.
func (s *demoScreen) say(at time.Duration, text string) {
	s.printf("%7.3fs  %s", at.Seconds(), text)
}

// printLocked puts text above the table.
func (s *demoScreen) printLocked(text string) {
	var b strings.Builder
	s.eraseLocked(&b)
	b.WriteString(strings.TrimSuffix(text, "\n") + "\n")
	s.drawLocked(&b)
	fmt.Fprint(s.out, b.String())
}

// eraseLocked goes back to where the table begins, and clears from there.
func (s *demoScreen) eraseLocked(b *strings.Builder) {
	if len(s.table) > 0 {
		fmt.Fprintf(b, "\x1b[%dF\x1b[J", len(s.table))
	}
}

func (s *demoScreen) drawLocked(b *strings.Builder) {
	for _, line := range s.table {
		b.WriteString(line + "\n")
	}
}

// enter begins the story.
func (s *demoScreen) enter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live = true
	s.printLocked("\n")
	if s.width == nil {
		s.printLocked(demoHeader())
	}
}

// leave ends it; the table stays as it is.
func (s *demoScreen) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live, s.table = false, nil
}

// phase tells that a phase begins.
func (s *demoScreen) phase(at time.Duration, number int, title string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number, s.title = number, title
	s.printLocked(fmt.Sprintf("%7.3fs  *** %d: %s", at.Seconds(), number, title))
}

// tick shows what was seen.
func (s *demoScreen) tick(t *demoSecond) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.live {
		return
	}
	if s.width == nil {
		s.printLocked(demoLine(t))
		return
	}
	var b strings.Builder
	s.eraseLocked(&b)
	s.table = demoTable(s.number, s.title, t)
	for i, line := range s.table {
		s.table[i] = cutTo(line, s.width())
	}
	s.drawLocked(&b)
	fmt.Fprint(s.out, b.String())
}

// cutTo cuts a line so that the terminal does not wrap it.
func cutTo(line string, width int) string {
	if width <= 0 || utf8.RuneCountInString(line) <= width {
		return line
	}
	return string([]rune(line)[:width])
}

// demoHeader is above the lines of demoLine.
func demoHeader() string {
	line := fmt.Sprintf("%8s", "time")
	for i := range demoVMs {
		line += fmt.Sprintf("  %14s", fmt.Sprintf("vm%d got/due %%", i+1))
	}
	return line + fmt.Sprintf("  %5s  %8s  %5s  %7s  %s", "I/O/s", "capacity", "paths", "slowest", "what each waits for")
}

// demoLine is a tick as a line: what each VM got and, behind the slash, what it was
// entitled to; "!" marks one that is over that.
func demoLine(t *demoSecond) string {
	line := fmt.Sprintf("%7.1fs", t.elapsed.Seconds())
	for _, c := range t.vms {
		line += fmt.Sprintf("  %14s", fmt.Sprintf("%s%.1f/%.1f", c.mark(), c.got, c.entitled))
	}
	return line + fmt.Sprintf("  %5.0f  %7.0f%%  %5d  %7s  %s", t.perSecond(t.total), t.part, t.paths, millis(t.slowest), t.waits())
}

// demoTable is a tick as a table.
func demoTable(number int, title string, t *demoSecond) []string {
	lines := []string{
		"",
		fmt.Sprintf("%6.1fs  %d: %s", t.elapsed.Seconds(), number, title),
		fmt.Sprintf("  %-4s %6s %4s %6s %9s %6s  %s  %s", "VM", "SHARES", "PRIO", "GOT%", "ENTITLED%", "I/O/s", "0%"+strings.Repeat(" ", demoBar-5)+"100%", "WAITS FOR"),
	}
	for _, c := range t.vms {
		lines = append(lines, fmt.Sprintf("  %-4s %6d %4d %5.1f%% %8.1f%% %6.0f  %s  %s",
			c.name, c.shares, c.priority, c.got, c.entitled, t.perSecond(c.ios), bar(c.got, c.entitled), c.mark()+c.detail))
	}
	return append(lines, fmt.Sprintf("  LUN  capacity %.0f%%, %.0f I/O/s over %d path(s), slowest I/O %s", t.part, t.perSecond(t.total), t.paths, millis(t.slowest)))
}

// demoBar is how many places of a bar are 100 %.
const demoBar = 25

// bar shows what was got as a bar, and behind what is due a mark.
func bar(got, due float64) string {
	n := places(got)
	cells := []rune(strings.Repeat("█", n) + strings.Repeat("·", demoBar-n) + " ")
	cells[places(due)] = '|'
	return string(cells)
}

func places(percent float64) int { return max(0, min(demoBar, int(percent/100*demoBar+0.5))) }

// mark is what one that is over its entitlement is shown with.
func (c *demoCell) mark() string {
	if c.over {
		return "!"
	}
	return ""
}

func (t *demoSecond) perSecond(n uint64) float64 {
	if t.length <= 0 {
		return 0
	}
	return float64(n) / t.length.Seconds()
}

// waits gives the VMs' reasons, "-" for one of which nothing waits.
func (t *demoSecond) waits() string {
	var list []string
	for _, c := range t.vms {
		if c.why == "" {
			c.why = "-"
		}
		list = append(list, c.why)
	}
	return strings.Join(list, ", ")
}

func millis(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) }
