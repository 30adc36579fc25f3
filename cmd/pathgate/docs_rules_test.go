// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Each of the thirteen fencing rules has a row in docs/fencing.md with the files that it
// is built in, tests, and a control; all of them are in the tree.
func TestFencingRulesAreShown(t *testing.T) {
	_, text, _ := strings.Cut(readFile(t, "docs/fencing.md"), "\n## The rules\n")
	text, _, _ = strings.Cut(text, "\n## ")
	tests, files := testNames(t), regexp.MustCompile("`([a-z][a-z/]*\\.go)`")
	name := regexp.MustCompile("`(Test[A-Za-z0-9]+)`")
	rule := 0
	for line := range strings.Lines(text) {
		for _, m := range name.FindAllStringSubmatch(line, -1) {
			if !tests[m[1]] {
				t.Errorf("there is no test %s", m[1])
			}
		}
		cells := strings.Split(line, "|")
		if len(cells) != 6 || !regexp.MustCompile(`^ \d+\. `).MatchString(cells[1]) {
			continue
		}
		rule++
		if want := " " + strconv.Itoa(rule) + ". "; !strings.HasPrefix(cells[1], want) {
			t.Errorf("row %d is%s", rule, cells[1])
		}
		for i, r := range []*regexp.Regexp{files, name, name} {
			if !r.MatchString(cells[2+i]) {
				t.Errorf("rule %d has nothing in column %d", rule, 2+i)
			}
		}
		for _, m := range files.FindAllStringSubmatch(cells[2], -1) {
			if _, err := os.Stat(filepath.Join("../..", m[1])); err != nil {
				t.Errorf("rule %d: %v", rule, err)
			}
		}
	}
	if rule != 13 {
		t.Errorf("%d rules, want 13", rule)
	}
}

// testNames gives the names of all tests of the tree.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	decl := regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9]+)\(t \*testing\.T\)`)
	err := filepath.WalkDir("../..", func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && strings.HasPrefix(e.Name(), ".") && e.Name() != "..":
			return fs.SkipDir
		case e.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		b, err := os.ReadFile(path)
		for _, m := range decl.FindAllSubmatch(b, -1) {
			names[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
