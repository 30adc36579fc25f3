// SPDX-License-Identifier: Apache-2.0

//go:build integration

package initiators

import (
	"encoding/json"
	"strings"
	"testing"

	"pathgate/integration/gate"
)

// TestDiscoveryShowsWhatMayBeSeen: each initiator is told its own targets, at every portal.
func TestDiscoveryShowsWhatMayBeSeen(t *testing.T) {
	g, portals := start(t, gate.Config{
		VM:    `{initiators: ["iqn.2007-10.com.github:sahlberg:libiscsi:iscsi-ls"]}`,
		Disks: []string{`{name: root, file: "` + t.TempDir() + `/root", size: 1MiB}`},
		VMs: []string{
			`{name: vm2, iscsi: {initiators: ["iqn.2026-11.test:other"]}, disks: [{name: root, file: "` + t.TempDir() + `/root", size: 1MiB}]}`,
			`{name: vm3, iscsi: {initiators: [192.0.2.0/24]}, disks: [{name: root, file: "` + t.TempDir() + `/root", size: 1MiB}]}`,
		},
	}, 2)
	g.WaitDisks(t, startLimit, available(3))
	for _, tt := range []struct{ initiator, sees string }{
		{"", "vm1"}, {"iqn.2026-11.test:other", "vm2"}, {"iqn.2026-11.test:nobody", ""},
	} {
		args := []string{"iscsi://" + portals[0]}
		if tt.initiator != "" {
			args = append([]string{"-i", tt.initiator}, args...)
		}
		out := run(t, true, "iscsi-ls", args...)
		for _, vm := range []string{"vm1", "vm2", "vm3"} {
			for i, p := range portals {
				line := "Target:" + prefix + vm + " Portal:" + p + "," + string(rune('1'+i))
				if strings.Contains(out, line) != (vm == tt.sees) {
					t.Errorf("%q: %s: told or not against the rule:\n%s", tt.initiator, line, out)
				}
			}
		}
	}
}

// TestUserWithoutNeed: who offers a secret that the target does not ask for is let in.
// libiscsi tells its names twice then.
func TestUserWithoutNeed(t *testing.T) {
	g, portals := start(t, gate.Config{Disks: []string{`{name: root, file: "` + t.TempDir() + `/root", size: 1MiB}`}}, 1)
	g.WaitDisks(t, startLimit, available(1))
	demand(t, run(t, true, "iscsi-ls", "-s", "iscsi://alice%"+secret+"@"+portals[0]), "Target:"+prefix+"vm1", "Lun:0")
}

// TestCHAP: a user's secret lets that user in, and the session shows who it was.
func TestCHAP(t *testing.T) {
	g, portals := start(t, gate.Config{
		VM:    `{chap: {user: alice, secret-file: "` + secretFile(t) + `"}}`,
		Disks: []string{`{name: root, file: "` + t.TempDir() + `/root", size: 1MiB}`},
	}, 1)
	g.WaitDisks(t, startLimit, available(1))
	url := func(user, secret, more string) string {
		return "iscsi://" + user + "%" + secret + "@" + portals[0] + "/" + prefix + "vm1/0" + more
	}
	run(t, false, "iscsi-inq", "iscsi://"+portals[0]+"/"+prefix+"vm1/0")
	run(t, false, "iscsi-inq", url("alice", "not what she says", ""))
	run(t, false, "iscsi-inq", url("bob", secret, ""))
	demand(t, run(t, true, "iscsi-ls", "iscsi://alice%"+secret+"@"+portals[0]), "Target:"+prefix+"vm1")
	run(t, false, "iscsi-ls", "iscsi://"+portals[0])

	qemu(t, url("alice", secret, ""))
	var list []struct {
		Frontend, Uses, VM, User, Initiator string
		Keys                                map[string]string
	}
	out := g.MustCLI(t, "session", "list", "-o", "json")
	if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != 1 {
		t.Fatalf("%v: %s", err, out)
	}
	s := list[0]
	if s.Frontend != "iscsi" || s.Uses != prefix+"vm1" || s.VM != "vm1" || s.User != "alice" || s.Initiator == "" || s.Keys["HeaderDigest"] != "None" {
		t.Errorf("session list: %s", out)
	}
	demand(t, g.MustCLI(t, "session", "list"), "alice", prefix+"vm1")
}
