// SPDX-License-Identifier: Apache-2.0

package sidebyside

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

const document = "../../docs/side-by-side.md"

// TestDocument: docs/side-by-side.md has the tables that Table makes, the settings that
// are measured, and commands that there are.
func TestDocument(t *testing.T) {
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	for line := range strings.Lines(Table(nil)) {
		head, _, row := strings.Cut(strings.TrimSpace(line), " - |") // up to the first empty cell
		if head == "" || strings.HasPrefix(head, "|---") {
			continue
		}
		if row {
			head += " "
		}
		if n := strings.Count(doc, head); n == 0 || row && n < 2 {
			t.Errorf("%q is there %d times", head, n)
		}
	}
	for _, p := range Profiles() {
		if !strings.Contains(doc, "**"+p.Name+"**, "+p.Text) {
			t.Errorf("profile %s is not told as %q", p.Name, p.Text)
		}
		for _, kv := range p.ISCSI {
			if want := fmt.Sprintf("    %s = %s\n", kv[0], kv[1]); !strings.Contains(doc, want) {
				t.Errorf("%s: no %q", p.Name, want)
			}
		}
		for line := range strings.Lines(p.Multipath) {
			if !strings.Contains(doc, "    "+strings.ReplaceAll(line, "\t", "    ")) {
				t.Errorf("%s: no %q", p.Name, line)
			}
		}
	}
	for line := range strings.Lines(doc) {
		args, ok := strings.CutPrefix(line, "    make ")
		if !ok {
			continue
		}
		out, err := exec.Command("make", append([]string{"-n", "-C", "../.."}, strings.Fields(args)...)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "-run '^TestTable$' -v -timeout 0 ./integration/sidebyside") {
			t.Errorf("make %s: %v: %s", args, err, out)
		}
	}
}
