// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"pathgate/gateway"
)

// TestResizeDocs: the configuration and the commands of docs/resize.md are possible, and
// its events are there.
func TestResizeDocs(t *testing.T) {
	text := readFile(t, "docs/resize.md")
	block := func(kind string) string {
		_, rest, ok := strings.Cut(text, "```"+kind+"\n")
		b, _, end := strings.Cut(rest, "```")
		if !ok || !end {
			t.Fatalf("there is no block of %s", kind)
		}
		return b
	}
	c, err := gateway.Parse("docs/resize.md", []byte(block("yaml")))
	if err != nil {
		t.Fatal(err)
	}
	if d := c.VMs[0].Disks[0]; d.MaxSize != 40<<30 || d.ClientResize != gateway.ClientResizeGrow {
		t.Errorf("%+v", d)
	}
	n := 0
	for line := range strings.Lines(block("sh")) {
		n++
		args := strings.Fields(comment.ReplaceAllString(line, ""))
		if len(args) < 2 || args[0] != "pathgate" {
			t.Errorf("%q is no command", line)
		} else if err := parses(args[1:]); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	}
	if n != 5 {
		t.Errorf("%d commands", n)
	}
	for _, k := range []gateway.Kind{gateway.KindDiskResized, gateway.KindDiskResizeFailed} {
		if !strings.Contains(text, k.String()) {
			t.Errorf("%v is not told", k)
		}
	}
}
