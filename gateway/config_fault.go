// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Fault is one thing wrong in a configuration.
type Fault struct {
	// File is the name given to Parse or Load.
	File string
	// Line and Column start at 1, columns in characters; both 0 when the fault is
	// not at a place in the file.
	Line, Column int
	// Key is the path of keys, such as "vms[0].disks[1].size"; empty for the file.
	Key string
	// Value is the offending value as written, shortened; empty when there is none.
	Value string
	// Message says what is wrong, Rule what is right; Rule may be empty.
	Message, Rule string
}

// Error is "file:line:column: key: message (rule)", without control characters.
func (f Fault) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:", printable(f.File, 0))
	if f.Line > 0 {
		fmt.Fprintf(&b, "%d:%d:", f.Line, f.Column)
	}
	if f.Key != "" {
		fmt.Fprintf(&b, " %s:", printable(f.Key, 0))
	}
	if f.Value != "" {
		fmt.Fprintf(&b, " %q", printable(f.Value, 60))
	}
	fmt.Fprintf(&b, " %s", printable(f.Message, 0))
	if f.Rule != "" {
		fmt.Fprintf(&b, " (%s)", printable(f.Rule, 0))
	}
	return b.String()
}

// ConfigError is what Load and Parse return for a configuration that is refused.
type ConfigError struct {
	// File is the configuration's name.
	File string
	// Faults is never empty; sorted by position, then key.
	Faults []Fault

	src []byte
}

// Error gives one line per fault.
func (e *ConfigError) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the faults, for errors.As.
func (e *ConfigError) Unwrap() []error {
	errs := make([]error, len(e.Faults))
	for i, f := range e.Faults {
		errs[i] = f
	}
	return errs
}

// Excerpt writes each fault with the line it is about and a mark under the place.
func (e *ConfigError) Excerpt(w io.Writer) error {
	lines := strings.Split(string(e.src), "\n")
	for _, f := range e.Faults {
		if _, err := fmt.Fprintln(w, f.Error()); err != nil {
			return err
		}
		if f.Line < 1 || f.Line > len(lines) {
			continue
		}
		text, mark := excerpt(lines[f.Line-1], f.Column)
		if _, err := fmt.Fprintf(w, "%6d | %s\n       | %s^\n", f.Line, text, mark); err != nil {
			return err
		}
	}
	return nil
}

// excerpt cuts a long line around column, and gives what indents the mark.
func excerpt(line string, column int) (text, mark string) {
	const width, before = 100, 60
	r := []rune(printable(strings.TrimRight(line, "\r\n"), 0))
	at := min(max(column-1, 0), len(r))
	from := 0
	if len(r) > width && at > before {
		from = at - before
	}
	to := min(len(r), from+width)
	return string(r[from:to]), strings.Repeat(" ", at-from)
}

// printable replaces every character that a terminal could act on, and shortens to
// limit characters when limit is not 0. The number of characters stays the same.
func printable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return '\uFFFD'
		}
		return r
	}, s)
	if r := []rune(s); limit > 0 && len(r) > limit {
		return string(r[:limit]) + "..."
	}
	return s
}

func sortFaults(faults []Fault) {
	slices.SortStableFunc(faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Key, b.Key))
	})
}
