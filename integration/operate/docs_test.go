// SPDX-License-Identifier: Apache-2.0

//go:build integration

package operate

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pathgate/integration/gate"
)

// TestDocsCommands gives every command that a file of docs/ shows to one gateway, in its
// order. Those of docs/alua.md need port groups, and are given in integration/alua. A
// reservation is taken from another gateway in integration/reserve; here there is none.
func TestDocsCommands(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	b := newBed(t, gate.Config{Rules: []string{`{id: "*", all-paths-down: queue, cache: protected, reservation: {mode: exclusive-all-registrants, key: 0x70001}}`}})
	n := 0
	for _, f := range files {
		if filepath.Base(f) == "alua.md" {
			continue
		}
		for _, args := range commands(t, f) {
			n++
			_, err := b.g.CLI(t.Context(), args...)
			if len(args) > 2 && args[1] == "preempt" && err != nil && strings.Contains(err.Error(), ": no such key is registered by others") {
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", filepath.Base(f), err)
			}
		}
		b.settle()
	}
	if n < 30 {
		t.Errorf("%d commands were found", n)
	}
}

// commands are those of pathgate in the code blocks of a file.
func commands(t *testing.T, file string) (list [][]string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	comment := regexp.MustCompile(`\s#.*`)
	block := false
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "```") {
			block = !block
			continue
		}
		code, indented := strings.CutPrefix(line, "    ")
		if args, ok := strings.CutPrefix(code, "pathgate "); ok && (block || indented) {
			list = append(list, strings.Fields(strings.ReplaceAll(comment.ReplaceAllString(args, ""), "'", "")))
		}
	}
	return list
}
