// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"pathgate/gateway"
)

// TestISCSIDocs: the configuration and the commands of docs/iscsi.md are possible.
// integration/initiators runs them.
func TestISCSIDocs(t *testing.T) {
	text := readFile(t, "docs/iscsi.md")
	block := func(kind string) string {
		_, rest, ok := strings.Cut(text, "```"+kind+"\n")
		b, _, end := strings.Cut(rest, "```")
		if !ok || !end {
			t.Fatalf("there is no block of %s", kind)
		}
		return b
	}
	c, err := gateway.Parse("docs/iscsi.md", []byte(block("yaml")))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.ISCSI.TargetName(c.VMs[0].Name); got != "iqn.2026-11.internal.pathgate:vm1" {
		t.Errorf("target %s", got)
	}
	n := 0
	for line := range strings.Lines(block("sh")) {
		args := strings.Fields(comment.ReplaceAllString(line, ""))
		n++
		if len(args) < 2 || args[0] != "pathgate" {
			t.Errorf("%q is no command", line)
		} else if err := parses(args[1:]); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	}
	if n < 6 {
		t.Errorf("%d commands", n)
	}
}
