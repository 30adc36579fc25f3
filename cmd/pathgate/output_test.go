// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestHumanBytes(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0", 1: "1B", 1023: "1023B", 1024: "1KiB", 1025: "1KiB", 1536: "1.5KiB", 64 << 20: "64MiB", 1536 << 20: "1.5GiB",
		1<<20 - 1: "1023KiB", 100<<10 + 900: "100KiB", 99<<10 + 1023: "99.9KiB", 5 << 40: "5TiB", math.MaxUint64: "15.9EiB", 1 << 60: "1EiB",
	} {
		if got := humanBytes(n); got != want {
			t.Errorf("humanBytes(%d) = %s, want %s", n, got, want)
		}
	}
}

func TestHumanTimes(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for ago, want := range map[time.Duration]string{
		-time.Hour: "0s", 0: "0s", 119 * time.Second: "119s", 2 * time.Minute: "2m", 119 * time.Minute: "119m",
		2 * time.Hour: "2h", 47 * time.Hour: "47h", 48 * time.Hour: "2d", 1000 * time.Hour: "41d",
	} {
		if got := humanAge(now, now.Add(-ago)); got != want {
			t.Errorf("%v ago: %s, want %s", ago, got, want)
		}
	}
	if got := humanAge(now, time.Time{}); got != "" {
		t.Errorf("no time: %q", got)
	}
	for us, want := range map[int64]string{-1: "", 0: "", 1: "1us", 999: "999us", 1000: "1.0ms", 1234: "1.2ms", 25_000_000: "25.0s"} {
		if got := humanMicros(us); got != want {
			t.Errorf("%d us: %q, want %q", us, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "plain text, größer": "plain text, größer", "\x1b[31m": `\x1b[31m`, "a\nb\tc\r": `a\x0ab\x09c\x0d`, "\x7f": `\x7f`,
		"\u009b": `\u009b`, "\u202e": `\u202e`, "\xff\xfe": `\xff\xfe`, "\ufffd": "\ufffd", "\U000e0001": `\U000e0001`, "\u00a0": `\u00a0`,
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}

// FuzzPrint: whatever a text has in it, nothing that a terminal acts on comes out,
// and JSON keeps its value.
func FuzzPrint(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b[2J\u009b\u202e\xff\U000e0001\n")
	f.Add(`\u001b"\`)
	f.Fuzz(func(t *testing.T, s string) {
		if p := printable(s); !isClean(p) || strings.Contains(p, "\n") || !utf8.ValidString(p) {
			t.Errorf("printable(%q) = %q", s, p)
		}
		var b bytes.Buffer
		if err := printJSON(&b, s, ""); err != nil {
			t.Fatal(err)
		}
		if !isClean(b.String()) || strings.Count(b.String(), "\n") != 1 {
			t.Errorf("JSON of %q: %q", s, b.String())
		}
		var back string
		if err := json.Unmarshal(b.Bytes(), &back); err != nil || back != strings.ToValidUTF8(s, "\ufffd") && utf8.ValidString(s) {
			t.Errorf("JSON of %q came back as %q, %v", s, back, err)
		}
	})
}

// TestHostileOutput: every command, in every format, on texts made to harm.
func TestHostileOutput(t *testing.T) {
	g := &fakeGateway{path: filepath.Join(t.TempDir(), "c.sock")}
	if err := g.start("HOSTILE"); err != nil {
		t.Fatal(err)
	}
	defer g.stop()
	for _, line := range []string{
		"path list", "path list -o wide", "path list -o json", "device list", "device list -o wide", "device list -o json",
		"disk list", "disk list -o json", "vm list", "vm list -o json", "events", "events -o json",
		"share list", "share list -o wide", "share list -o json", "share group list", "share lun list", "share lun list -o wide", "share lun list -o json", "explain", "explain -o wide", "explain -o json",
		"share show vm1", "share show vm1/root", "share lun show vmhba0:0:1", "share set vm1/root --group \x1b[2J", "share reset \x1b[2J", "explain \x1b[2J", "share lun set \x1b[2J --mode x",
		"path disable \x1b[2J", "path enable \u202e\x00", "vm \x1b[2J", "\x1b[2J", "--\x1b[2J", "vm list -o \x1b[2J", "config check \x1b[2J",
	} {
		var out, errs bytes.Buffer
		status := run(context.Background(), append([]string{"--control=unix:" + g.path}, strings.Split(line, " ")...), &out, &errs)
		if !isClean(out.String()) || !isClean(errs.String()) {
			t.Errorf("%q printed %q and %q", line, out.String(), errs.String())
		}
		plain := !strings.Contains(line, "\x1b")
		if wantOut := plain && (strings.Contains(line, "list") || strings.Contains(line, "show") || strings.HasPrefix(line, "e")) || strings.Contains(line, "--group"); wantOut != (status == 0) || wantOut != (out.Len() > 0) {
			t.Errorf("%q: status %d, %d bytes", line, status, out.Len())
		}
		if status != 0 && strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("%q: not one line: %q", line, errs.String())
		}
	}
}

func TestTableWidths(t *testing.T) {
	var b bytes.Buffer
	columns := []column[string]{
		{name: "NAME", value: func(s string) string { return s }},
		{name: "N", value: func(s string) string { return s[:1] }, right: true},
		{name: "HIDDEN", value: func(string) string { return "x" }, wide: true},
		{name: "LAST", value: func(string) string { return "" }},
	}
	if err := printTable(&b, []string{"größer", "a"}, columns, false); err != nil {
		t.Fatal(err)
	}
	const want = "NAME    N  LAST\ngrößer  g  -\na       a  -\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

// TestCommandsAreDocumented: every command tells what it does and has the output
// formats when it reads something.
func TestCommandsAreDocumented(t *testing.T) {
	root := newRootCmd()
	var lists int
	for _, noun := range root.Commands() {
		if noun.Short == "" && !noun.Hidden {
			t.Errorf("%s has no description", noun.CommandPath())
		}
		for _, verb := range noun.Commands() {
			if verb.Short == "" {
				t.Errorf("%s has no description", verb.CommandPath())
			}
			if verb.Name() == "list" {
				lists++
				if verb.Flags().Lookup("output") == nil {
					t.Errorf("%s has no -o", verb.CommandPath())
				}
			}
		}
	}
	if lists < 5 {
		t.Errorf("%d list commands, want 5 or more", lists)
	}
}
