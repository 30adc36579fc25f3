// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"os"
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
