// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"pathgate/backends/iscsi"
	"pathgate/gateway/control"
	wire "pathgate/internal/iscsi"
)

const chapConfig = `
state: DIR/state
control: unix:DIR/control
iscsi: {listen: ["127.0.0.1:3260", "127.0.0.1:3261"], digests: require}
nbd: {listen: ["unix:DIR/nbd", "127.0.0.1:10809"]}
vms:
  - name: vm1
    iscsi: {initiators: ["iqn.2026-11.test:a"], chap: {user: alice, secret-file: DIR/alice}}
    disks:
      - {name: root, file: DIR/root, size: 1MiB, lun-id: 7}
      - {name: data, file: DIR/data, read-only: true, open: fail}
`

func chapBed(t *testing.T) *targetBed {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "alice"), []byte("alice and the gateway"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := newTargetBed(t, dir, chapConfig)
	b.attachMissing()
	return b
}

// TestSessions: who is there, and what was negotiated.
func TestSessions(t *testing.T) {
	b := chapBed(t)
	view := (*adminView)(b.Gateway)
	if got := view.Sessions(); len(got) != 0 {
		t.Errorf("got %v", got)
	}
	c := b.initiator(t, "a", &iscsi.CHAP{User: "alice", Secret: wire.NewSecret([]byte("alice and the gateway"))})
	if l := c.login(b, "vm1"); l != nil {
		t.Fatal(l.Err)
	}
	c.settle(7)
	list := view.Sessions()
	if len(list) != 1 {
		t.Fatalf("got %v", list)
	}
	s := list[0]
	if !strings.HasPrefix(s.Name, "iscsi 127.0.0.1:") || s.Since.IsZero() || s.Window < 1 || s.Window > 128 || s.Completed == 0 || s.TSIH == 0 {
		t.Errorf("got %+v", s)
	}
	got := []string{s.Frontend, s.Local, s.Uses, s.VM, s.Initiator, s.User, s.ISID}
	want := []string{"iscsi", b.portal, "iqn.2026-11.internal.pathgate:vm1", "vm1", "iqn.2026-11.test:a", "alice", "800102030405"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	keys := map[string]string{}
	for _, k := range s.Keys {
		keys[k.Key] = k.Value
	}
	for key, want := range map[string]string{
		"SessionType": "Normal", "HeaderDigest": "CRC32C", "DataDigest": "CRC32C", "TargetPortalGroupTag": "1",
		"ImmediateData": "Yes", "ErrorRecoveryLevel": "0", "MaxRecvDataSegmentLength": "262144",
	} {
		if keys[key] != want {
			t.Errorf("%s=%s, want %s", key, keys[key], want)
		}
	}
}

// TestAttachment: where a VM's disks are, over both front-ends.
func TestAttachment(t *testing.T) {
	b := chapBed(t)
	view := (*adminView)(b.Gateway)
	got, err := view.Attachment("vm1")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Disks) != 2 || !strings.Contains(got.Disks[1].Why, "no such file") {
		t.Fatalf("got %+v", got)
	}
	got.Disks[1].Why = ""
	want := control.Attachment{
		VM: "vm1", NBD: []string{b.cfg.NBD.Listen[0].String(), "127.0.0.1:10809"},
		ISCSI: &control.AttachTarget{
			Name: "iqn.2026-11.internal.pathgate:vm1", Portals: []string{"127.0.0.1:3260", "127.0.0.1:3261"},
			User: "alice", Initiators: []string{"iqn.2026-11.test:a"}, Digests: "require",
		},
		Disks: []control.AttachDisk{
			{Name: "root", Export: "vm1/root", LUN: 7},
			{Name: "data", Export: "vm1/data", ReadOnly: true},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := view.Attachment("vm2"); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}
