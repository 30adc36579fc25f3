// SPDX-License-Identifier: Apache-2.0

package conformance

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables in testdata, and what the documentation shows of them")

// verdict is how a test of the suite ended: PASS, FAIL, SKIP, BUG (of the suite's
// own), CRASH or HANG.
type verdict struct{ name, result, why string }

// verdicts are the results of all tests, in the order of the suite.
type verdicts []verdict

// table is the file of expected results of a kind of disk.
func table(kind string) string { return "testdata/" + kind + ".txt" }

// readTable reads a table of results; there is none yet: an empty one.
func readTable(t *testing.T, file string) (list verdicts) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		line, why, _ := strings.Cut(strings.TrimSpace(line), "  # ")
		result, name, _ := strings.Cut(line, " ")
		list = append(list, verdict{name, result, why})
	}
	return list
}

// String is the form of the file.
func (l verdicts) String() string {
	var b strings.Builder
	for _, v := range l {
		b.WriteString(v.result + " " + v.name)
		if v.why != "" {
			b.WriteString("  # " + v.why)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// get gives the result of a test.
func (l verdicts) get(name string) verdict {
	for _, v := range l {
		if v.name == name {
			return v
		}
	}
	return verdict{name: name, result: "not known"}
}

// set replaces the result of a test.
func (l *verdicts) set(v verdict) {
	for i := range *l {
		if (*l)[i].name == v.name {
			(*l)[i] = v
			return
		}
	}
	*l = append(*l, v)
}

// count counts the results in a family; empty: in all.
func (l verdicts) count(family string) map[string]int {
	n := map[string]int{}
	for _, v := range l {
		if family == "" || v.family() == family {
			n[v.result]++
		}
	}
	return n
}

// family is the suite's name for tests that belong together.
func (v verdict) family() string { return strings.Split(v.name, ".")[1] }
