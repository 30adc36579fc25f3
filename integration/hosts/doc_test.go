// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// page is where the commands are that the guests run.
const page = "../../docs/iscsi.md"

// documented gives the commands below a heading of the page, with other words in place
// of its examples.
func documented(t *testing.T, heading string, words ...string) string {
	t.Helper()
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(b), "\n### "+heading+"\n")
	text, _, _ = strings.Cut(text, "\n##")
	_, text, block := strings.Cut(text, "\n```sh\n")
	text, _, end := strings.Cut(text, "```\n")
	if !ok || !block || !end {
		t.Fatalf("%s has no commands below %q", page, heading)
	}
	for i := 0; i < len(words); i += 2 {
		if !strings.Contains(text, words[i]) {
			t.Errorf("%s: %s: no %q", page, heading, words[i])
		}
	}
	return strings.NewReplacer(words...).Replace(text)
}

// TestLinuxHosts: everything that is told to do below "Linux hosts" is run by a test.
func TestLinuxHosts(t *testing.T) {
	b, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(b), "\n## Linux hosts\n")
	text, _, _ = strings.Cut(text, "\n## ")
	if !ok {
		t.Fatal("there is no such section")
	}
	var tests strings.Builder
	names, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		tests.Write(b)
	}
	parts := strings.Split(text, "\n### ")[1:]
	for _, p := range parts {
		heading, _, _ := strings.Cut(p, "\n")
		if strings.Count(p, "```sh\n") != 1 || strings.Count(p, "```") != 2 {
			t.Errorf("%q has not one block of commands", heading)
		}
		if !strings.Contains(tests.String(), `documented(t, "`+heading+`"`) {
			t.Errorf("no test runs what is below %q", heading)
		}
	}
	if len(parts) < 5 {
		t.Errorf("%d parts", len(parts))
	}
}
