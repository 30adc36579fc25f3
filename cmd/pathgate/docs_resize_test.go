// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"pathgate/gateway"
)

// TestResizeDocs: the configuration of docs/resize.md means what the page says, and its
// events are there.
func TestResizeDocs(t *testing.T) {
	text := readFile(t, "docs/resize.md")
	c := firstConfig(t, text)
	if d := c.VMs[0].Disks[0]; d.MaxSize != 40<<30 || d.ClientResize != gateway.ClientResizeGrow {
		t.Errorf("%+v", d)
	}
	for _, k := range []gateway.Kind{gateway.KindDiskResized, gateway.KindDiskResizeFailed} {
		if !strings.Contains(text, k.String()) {
			t.Errorf("%v is not told", k)
		}
	}
}
