// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"pathgate/gateway"
)

// The commands and the configuration that docs/fencing.md and docs/reservations.md show
// are possible. integration/reserve and integration/fence run them.
func TestFenceDocs(t *testing.T) {
	for _, name := range []string{"docs/fencing.md", "docs/reservations.md"} {
		blocks := map[string][]string{}
		kind, block := "", ""
		for line := range strings.Lines(readFile(t, name)) {
			rest, fence := strings.CutPrefix(line, "```")
			switch {
			case fence && kind == "":
				kind, block = strings.TrimSpace(rest), ""
			case fence:
				blocks[kind] = append(blocks[kind], block)
				kind = ""
			case kind != "":
				block += line
			}
		}
		if len(blocks["yaml"]) != 1 || len(blocks["sh"]) != 1 {
			t.Fatalf("%s: %d yaml and %d sh blocks, want 1 of each", name, len(blocks["yaml"]), len(blocks["sh"]))
		}
		if _, err := gateway.Parse(name, []byte(blocks["yaml"][0])); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for line := range strings.Lines(blocks["sh"][0]) {
			args := strings.Fields(comment.ReplaceAllString(line, ""))
			if len(args) < 2 || args[0] != "pathgate" {
				t.Errorf("%s: %q is no command", name, line)
			} else if err := parses(args[1:]); err != nil {
				t.Errorf("%s: %q: %v", name, line, err)
			}
		}
	}
}
