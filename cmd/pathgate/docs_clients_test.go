// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"pathgate/gateway"
)

// TestClientsDocs: the configuration of docs/clients.md means what the page says.
func TestClientsDocs(t *testing.T) {
	text := readFile(t, "docs/clients.md")
	c := firstConfig(t, text)
	want := []gateway.ClientsMode{gateway.ClientsExclusive, gateway.ClientsShared, gateway.ClientsExclusive, gateway.ClientsExclusive}
	for i, d := range c.VMs[0].Disks {
		if d.Clients != want[i] || (d.MultiConn == gateway.MultiConnNever) != (d.Name == "scratch") {
			t.Errorf("disk %s: %s, several connections %s", d.Name, d.Clients, d.MultiConn)
		}
	}
	for _, mode := range []gateway.ClientsMode{gateway.ClientsExclusive, gateway.ClientsTakeover, gateway.ClientsShared} {
		if !strings.Contains(text, "| `"+string(mode)+"` |") {
			t.Errorf("%s is not told", mode)
		}
	}
}
