// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"pathgate/gateway"
)

// TestClientsDocs: the configuration and the commands of docs/clients.md are possible.
func TestClientsDocs(t *testing.T) {
	text := readFile(t, "docs/clients.md")
	block := func(kind string) string {
		_, rest, ok := strings.Cut(text, "```"+kind+"\n")
		b, _, end := strings.Cut(rest, "```")
		if !ok || !end {
			t.Fatalf("there is no block of %s", kind)
		}
		return b
	}
	c, err := gateway.Parse("docs/clients.md", []byte(block("yaml")))
	if err != nil {
		t.Fatal(err)
	}
	want := []gateway.ClientsMode{gateway.ClientsExclusive, gateway.ClientsShared, gateway.ClientsExclusive, gateway.ClientsExclusive}
	for i, d := range c.VMs[0].Disks {
		if d.Clients != want[i] || (d.MultiConn == gateway.MultiConnNever) != (d.Name == "scratch") {
			t.Errorf("disk %s: %s, several connections %s", d.Name, d.Clients, d.MultiConn)
		}
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
	if n != 4 {
		t.Errorf("%d commands", n)
	}
	for _, mode := range []gateway.ClientsMode{gateway.ClientsExclusive, gateway.ClientsTakeover, gateway.ClientsShared} {
		if !strings.Contains(text, "| `"+string(mode)+"` |") {
			t.Errorf("%s is not told", mode)
		}
	}
}
