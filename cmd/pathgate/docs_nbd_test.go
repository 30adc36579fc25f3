// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"pathgate/gateway"
	"pathgate/gateway/nbd"
)

// TestNBDDocs: the configuration and the commands of docs/nbd.md are possible.
// integration/nbdtls runs what makes certificates.
func TestNBDDocs(t *testing.T) {
	text := readFile(t, "docs/nbd.md")
	_, rest, _ := strings.Cut(text, "```yaml\n")
	config, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("there is no configuration")
	}
	c, err := gateway.Parse("docs/nbd.md", []byte(config))
	if err != nil {
		t.Fatal(err)
	}
	l := c.NBD.Listen
	if len(l) != 3 || l[1].TLS != nbd.TLSRequired || l[1].ClientCA == "" || len(c.VMs[1].NBD.Certificates) != 2 {
		t.Errorf("got %+v", c.NBD)
	}
	if name := "FileDescriptorName=" + l[2].Address + "\n"; !strings.Contains(text, name) {
		t.Errorf("no unit has %q", name)
	}
	for _, w := range c.Warnings() {
		t.Errorf("warning: %v", w)
	}
	n := 0
	for line := range strings.Lines(text) {
		if args := strings.Fields(comment.ReplaceAllString(line, "")); len(args) > 1 && args[0] == "pathgate" {
			n++
			if err := parses(args[1:]); err != nil {
				t.Errorf("%q: %v", line, err)
			}
		}
	}
	if n != 7 {
		t.Errorf("%d commands", n)
	}
}
