// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

// TestISCSIDocs: the configuration of docs/iscsi.md means what the page says.
// integration/initiators runs its commands.
func TestISCSIDocs(t *testing.T) {
	c := firstConfig(t, readFile(t, "docs/iscsi.md"))
	if got := c.ISCSI.TargetName(c.VMs[0].Name); got != "iqn.2026-11.internal.pathgate:vm1" {
		t.Errorf("target %s", got)
	}
}
