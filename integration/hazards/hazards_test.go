// SPDX-License-Identifier: Apache-2.0

package hazards

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const root = "../.."

// rows are those that the table has to have: of the promises, bad input and integrity
// hazards what concerns the path manager and both front-ends, of fencing, errors and checkers all.
func rows() (ids []string) {
	numbered := func(prefix string, numbers ...int) {
		for _, n := range numbers {
			ids = append(ids, prefix+strconv.Itoa(n))
		}
	}
	upTo := func(first, last int) (list []int) {
		for n := first; n <= last; n++ {
			list = append(list, n)
		}
		return list
	}
	numbered("P", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18)
	numbered("B", upTo(1, 56)...)
	numbered("B", upTo(66, 71)...)
	numbered("H", 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15)
	numbered("4.", upTo(1, 13)...)
	numbered("5.", upTo(1, 30)...)
	numbered("6.", upTo(1, 6)...)
	return ids
}

// shown is one test that a row names.
type shown struct {
	row, dir, test string
	cases          []string
}

var (
	line    = regexp.MustCompile(`(?m)^\| ([PBH]\d+|\d\.\d+) \| ([^|]+) \| ([^|]+) \|$`)
	element = regexp.MustCompile(`^(?:([\w/]+) )?(Test\w+)(?: \(("[^)]+")\))?(?:, |; |$)`)
	quoted  = regexp.MustCompile(`"([^"]+)"`)
)

// parse gives the rows of the table and the tests that they name.
func parse(text string) (ids []string, tests []shown, err error) {
	for _, m := range line.FindAllStringSubmatch(text, -1) {
		ids = append(ids, m[1])
		rest, dir := m[3], ""
		for rest != "" && !strings.HasPrefix(rest, "the table of ") {
			e := element.FindStringSubmatch(rest)
			if e == nil || e[1] == "" && dir == "" {
				return nil, nil, fmt.Errorf("row %s: %q is not understood", m[1], rest)
			}
			rest = rest[len(e[0]):]
			if e[1] != "" {
				dir = e[1]
			}
			s := shown{row: m[1], dir: dir, test: e[2]}
			for _, q := range quoted.FindAllStringSubmatch(e[3], -1) {
				s.cases = append(s.cases, q[1])
			}
			tests = append(tests, s)
		}
	}
	return ids, tests, nil
}

// source is what the test files of a package have.
type source struct {
	tests map[string]bool
	words map[string]bool // all strings in quotes
}

// read gives the tests of a package, of all build tags.
func read(dir string) (*source, error) {
	files, err := filepath.Glob(filepath.Join(root, dir, "*_test.go"))
	if err != nil {
		return nil, err
	}
	s := &source{map[string]bool{}, map[string]bool{}}
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				s.tests[n.Name.Name] = s.tests[n.Name.Name] || n.Recv == nil
			case *ast.BasicLit:
				if text, err := strconv.Unquote(n.Value); err == nil {
					s.words[text] = true
				}
			}
			return true
		})
	}
	return s, nil
}

// TestTable: each row is there once, and what it names is there.
func TestTable(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs/hazards.md"))
	if err != nil {
		t.Fatal(err)
	}
	ids, tests, err := parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if want := rows(); !slices.Equal(ids, want) {
		t.Errorf("rows %v, want %v", ids, want)
	}
	sources := map[string]*source{}
	for _, s := range tests {
		if sources[s.dir] == nil {
			if sources[s.dir], err = read(s.dir); err != nil {
				t.Fatal(err)
			}
		}
		if !sources[s.dir].tests[s.test] {
			t.Errorf("%s: there is no %s in %s", s.row, s.test, s.dir)
		}
		for _, c := range s.cases {
			if !sources[s.dir].words[c] {
				t.Errorf("%s: %s has no case %q", s.row, s.test, c)
			}
		}
	}
}

func TestParse(t *testing.T) {
	ids, tests, err := parse("| P6 | x | a/b TestA, TestB (\"one, two\", \"three\"); c TestC |\n| 5.30 | y | the table of z |\n")
	want := `[{P6 a/b TestA []} {P6 a/b TestB [one, two three]} {P6 c TestC []}]`
	if got := fmt.Sprint(tests); err != nil || got != want || fmt.Sprint(ids) != "[P6 5.30]" {
		t.Errorf("got %v %s, %v; want %s", ids, got, err, want)
	}
	for _, bad := range []string{"| P6 | x | TestA |\n", "| P6 | x | a/b no test |\n"} {
		if _, _, err := parse(bad); err == nil {
			t.Errorf("%q is understood", bad)
		}
	}
}
