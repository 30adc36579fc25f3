// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"pathgate/gateway/nbd"
)

// TestNBDDocs: the configuration of docs/nbd.md means what the page says.
// integration/nbdtls runs what makes certificates.
func TestNBDDocs(t *testing.T) {
	text := readFile(t, "docs/nbd.md")
	c := firstConfig(t, text)
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
}
