// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"path/filepath"
	"testing"

	"pathgate/gateway/control"
	"pathgate/gateway/nbd"
)

// TestPriorityComesWithRequests: the origin of a client's requests tells the VM's
// priority as it is now: configured, set while the client is connected, kept, reset.
func TestPriorityComesWithRequests(t *testing.T) {
	dir := t.TempDir()
	text := "state: " + dir + "\ncontrol: unix:" + filepath.Join(dir, "c.sock") + `
nbd: {listen: [unix:` + filepath.Join(dir, "n.sock") + `]}
vms: [{name: vm1, priority: 7, disks: [{name: root, file: ` + filepath.Join(dir, "disk.img") + `, size: 1MiB}]}]
`
	open := func(g *Gateway, c *control.Client) nbd.Handle {
		attachedDisk(t, c)
		h, err := (*exports)(g).Open(t.Context(), "vm1/root", nbd.Peer{Connection: "test"}, nbd.Use)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(h.Close)
		return h
	}
	want := func(h nbd.Handle, n uint8) {
		t.Helper()
		if got := h.Origin.Priority.Now(); got != n {
			t.Errorf("priority %d, want %d", got, n)
		}
	}
	n := int64(2)
	g, c, stop := startGateway(t, text)
	h := open(g, c)
	want(h, 7)
	must[control.VMShare](t)(c.SetVMShare(t.Context(), "vm1", control.VMShareChange{Priority: &n}))
	want(h, 2)
	stop()

	g, c, _ = startGateway(t, text)
	h = open(g, c)
	want(h, 2)
	must[control.VMShare](t)(c.ResetVMShare(t.Context(), "vm1"))
	want(h, 7)
}
