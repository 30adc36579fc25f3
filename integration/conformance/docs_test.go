// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const (
	document = "../../docs/conformance.md"
	begins   = "<!-- begin: from integration/conformance/testdata -->\n"
	ends     = "<!-- end -->\n"
)

// kinds are the disks of ours, in the order of the columns.
func kinds() []string { return []string{"memory", "file", "4096", "lun"} }

// reason tells why a test that does not pass on a disk of ours need not.
func reason(kind string, v verdict) string {
	test := strings.TrimPrefix(v.name, "ALL.")
	switch {
	case v.result == "BUG":
		return "the suite's: " + v.why
	case v.family() == "PreventAllow", test == "StartStopUnit.Simple":
		return "the medium is not removable"
	case test == "Sanitize.CryptoErase":
		return "nothing is encrypted: there is no key to forget"
	case test == "Sanitize.Readonly", test == "Sanitize.Reservations":
		return "passes for overwrite and block erase, and has a part for crypto erase"
	case strings.HasSuffix(test, ".ZeroBlocks") && v.family() != "WriteAtomic16":
		return "0 blocks do not mean all of the rest (WSNZ)"
	case v.family() == "WriteAtomic16" && kind != "memory":
		return "no more than a block is promised"
	}
	return ""
}

// TestResultsInDocumentation: the documentation shows what the tables of results
// have, with a reason for all that does not pass.
func TestResultsInDocumentation(t *testing.T) {
	var tables []verdicts
	for _, kind := range append(kinds(), "tgtd") {
		tables = append(tables, readTable(t, table(kind)))
	}
	want := families(tables) + "\n" + exceptions(t, tables)
	data, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(data), begins)
	have, tail, ok2 := strings.Cut(rest, ends)
	switch {
	case !ok || !ok2:
		t.Fatalf("%s has no place for results", document)
	case have == want:
	case *update:
		if err := os.WriteFile(document, []byte(head+begins+want+ends+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("%s shows other results than were recorded: run with -update", document)
	}
	for i, kind := range kinds() {
		if n := tables[i].count(""); len(tables[i]) != suiteTests || n["PASS"]+n["SKIP"]+n["BUG"] != suiteTests {
			t.Errorf("%s: %v of %d", kind, n, suiteTests)
		}
	}
	if n := tables[0].count("")["PASS"]; n < bar {
		t.Errorf("%d tests pass, want at least %d", n, bar)
	}
}

// TestCommandsInDocumentation: every test that the documentation has run is there,
// with the build tags that it says.
func TestCommandsInDocumentation(t *testing.T) {
	data, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile(`-tags (\S+) -run '\^(\w+)\$' \./integration/conformance`).FindAllStringSubmatch(string(data), -1)
	if len(shown) != strings.Count(string(data), "    go test ") || len(shown) == 0 {
		t.Errorf("%d commands are not understood", strings.Count(string(data), "    go test ")-len(shown))
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range shown {
		found := false
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tags := "//go:build " + strings.ReplaceAll(m[1], ",", " && ") + "\n"
			found = found || strings.Contains(string(source), tags) && strings.Contains(string(source), "func "+m[2]+"(t *testing.T)")
		}
		if !found {
			t.Errorf("no test %s with tags %s", m[2], m[1])
		}
	}
}

const (
	suiteTests = 230
	bar        = 209 // what a disk without a removable medium can reach without SANITIZE
)

// families counts the results of each family.
func families(tables []verdicts) string {
	var b strings.Builder
	b.WriteString("| Family | memory | file | 4096 | lun | tgtd |\n|---|---|---|---|---|---|\n")
	row := func(label, family string) {
		b.WriteString("| " + label)
		for _, list := range tables {
			b.WriteString(" | " + counts(list.count(family)))
		}
		b.WriteString(" |\n")
	}
	var last string
	for _, v := range tables[0] {
		if f := v.family(); f != last {
			row(f, f)
			last = f
		}
	}
	row("**all**", "")
	return b.String()
}

// counts is one cell: "9, 2 skipped".
func counts(n map[string]int) string {
	s := fmt.Sprint(n["PASS"])
	for _, other := range []struct{ result, word string }{
		{"FAIL", "failed"}, {"CRASH", "crashed"}, {"HANG", "hung"}, {"BUG", "bug"}, {"SKIP", "skipped"},
	} {
		if n[other.result] > 0 {
			s += fmt.Sprintf(", %d %s", n[other.result], other.word)
		}
	}
	return s
}

// exceptions lists what does not pass on a disk of ours.
func exceptions(t *testing.T, tables []verdicts) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| Test | Disks | Result | Why |\n|---|---|---|---|\n")
	for _, test := range tables[0] {
		disks := map[string][]string{}
		var order []string
		for i, kind := range kinds() {
			v := tables[i].get(test.name)
			if v.result == "PASS" {
				continue
			}
			why := reason(kind, v)
			if why == "" {
				t.Errorf("%s: %s %s has no reason", kind, v.result, v.name)
			}
			end := strings.ToLower(v.result) + " | " + why
			if disks[end] == nil {
				order = append(order, end)
			}
			disks[end] = append(disks[end], kind)
		}
		for _, end := range order {
			list := strings.Join(disks[end], ", ")
			if len(disks[end]) == len(kinds()) {
				list = "all"
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", strings.TrimPrefix(test.name, "ALL."), list, end)
		}
	}
	return b.String()
}
