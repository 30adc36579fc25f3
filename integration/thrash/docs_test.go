// SPDX-License-Identifier: Apache-2.0

package thrash

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every command of docs/testing.md runs a test that is there.
func TestDocumentedCommands(t *testing.T) {
	const root = "../.."
	doc, err := os.ReadFile(filepath.Join(root, "docs/testing.md"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(doc)) {
		command, ok := strings.CutPrefix(line, "    ")
		if !ok {
			continue
		}
		command = strings.TrimSpace(command)
		if args, ok := strings.CutPrefix(command, "make "); ok {
			out, err := exec.Command("make", append([]string{"-n", "-C", root}, strings.Fields(args)...)...).CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v: %s", command, err, out)
				continue
			}
			command = string(out)
		}
		name := regexp.MustCompile(`-run '\^(\w+)\$'`).FindStringSubmatch(command)
		dir := regexp.MustCompile(` \./(\S+)`).FindAllStringSubmatch(command, -1)
		if name == nil || dir == nil {
			t.Errorf("%q runs no test", command)
			continue
		}
		if !has(t, filepath.Join(root, dir[len(dir)-1][1]), "func "+name[1]+"(") {
			t.Errorf("%q: there is no %s in %s", command, name[1], dir[len(dir)-1][1])
		}
		n++
	}
	if n < 6 {
		t.Errorf("only %d commands", n)
	}
}

// has tells whether a test file of dir has text.
func has(t *testing.T, dir, text string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(b), text) {
			return true
		}
	}
	return false
}
