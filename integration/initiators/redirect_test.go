// SPDX-License-Identifier: Apache-2.0

//go:build integration

package initiators

import (
	"encoding/json"
	"testing"

	"pathgate/integration/gate"
)

// TestRedirect: QEMU follows to the portal that the VM is to use, and finds its disk
// there; who comes to that one is served at once.
func TestRedirect(t *testing.T) {
	g, portals := start(t, gate.Config{
		VM:    `{redirect: "PORTAL2"}`,
		Disks: []string{`{name: root, file: "` + t.TempDir() + `/root", size: 1MiB}`},
	}, 2)
	g.WaitDisks(t, startLimit, available(1))
	for n, p := range portals {
		qemu(t, "iscsi://"+p+"/"+prefix+"vm1/0")
		var list []struct{ Frontend, Local string }
		out := g.MustCLI(t, "session", "list", "-o", "json")
		if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != n+1 {
			t.Fatalf("%v: %s", err, out)
		}
		for _, s := range list {
			if s.Frontend != "iscsi" || s.Local != portals[1] {
				t.Errorf("a session is at %s, want %s: %s", s.Local, portals[1], out)
			}
		}
	}
}
