// SPDX-License-Identifier: Apache-2.0

//go:build integration

package operate

import (
	"os"
	"strings"
	"testing"

	"pathgate/integration/gate"
)

// TestDocsCommands runs every command that docs/paths.md shows, in its order.
func TestDocsCommands(t *testing.T) {
	text, err := os.ReadFile("../../docs/paths.md")
	if err != nil {
		t.Fatal(err)
	}
	b := newBed(t, gate.Config{})
	shell, n := false, 0
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "```") {
			shell = line == "```sh"
			continue
		}
		args, ok := strings.CutPrefix(line, "pathgate ")
		if !shell || !ok {
			continue
		}
		n++
		b.g.MustCLI(t, strings.Fields(args)...)
	}
	if n < 10 {
		t.Errorf("%d commands were found", n)
	}
	b.settle()
}
