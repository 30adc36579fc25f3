// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"pathgate/gateway/iscsi"
)

const iscsiConfig = `
iscsi:
  listen: ["127.0.0.1", {address: "[::1]:3261", advertise: [Portal.example, "[fd00::9]:4000"]}, "10.0.0.1:860"]
  prefix: iqn.2026-11.test:rack1
  digests: require
  queue-depth: 64
  plaintext-remote: true
vms:
  - name: VM1
    iscsi:
      initiators: ["iqn.2026-11.test:a", 10.0.0.7/8, "fd00::1", eui.0123456789abcdef]
      chap: {user: alice, secret-file: /etc/alice, mutual: {user: gate, secret-file: /etc/gate}}
    disks:
      - {name: a, file: /a, lun-id: 0}
      - {name: b, file: /b}
  - name: vm2
    iscsi: {chap: {user: alice, secret-file: /etc/alice}, redirect: {to: "192.0.2.9", permanent: true}}
    disks: [{name: a, file: /c, lun-id: 16383}]
`

func TestISCSIConfig(t *testing.T) {
	c := mustParse(t, iscsiConfig)
	want := ISCSIConfig{
		Listen: []ISCSIListener{
			{ListenAddr{"tcp", "127.0.0.1:3260"}, nil},
			{ListenAddr{"tcp", "[::1]:3261"}, []Portal{{"portal.example", 3260}, {"fd00::9", 4000}}},
			{ListenAddr{"tcp", "10.0.0.1:860"}, nil},
		},
		Prefix:  "iqn.2026-11.test:rack1",
		Digests: iscsi.DigestRequire, QueueDepth: 64, PlaintextRemote: true,
	}
	if diff := cmp.Diff(want, c.ISCSI); diff != "" {
		t.Error(diff)
	}
	access := VMISCSIConfig{
		Names:    []string{"iqn.2026-11.test:a", "eui.0123456789abcdef"},
		Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::1/128")},
		CHAP:     &InitiatorCHAP{User: "alice", Secret: Secret{"/etc/alice"}, MutualUser: "gate", MutualSecret: Secret{"/etc/gate"}},
	}
	if diff := cmp.Diff(access, c.VMs[0].ISCSI, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(&ISCSIRedirect{To: Portal{"192.0.2.9", 3260}, Permanent: true}, c.VMs[1].ISCSI.Redirect); diff != "" {
		t.Error(diff)
	}
	if got := c.ISCSI.TargetName(c.VMs[0].Name); got != "iqn.2026-11.test:rack1:vm1" {
		t.Errorf("target name %s", got)
	}
	luns := [][]*uint16{{new(uint16(0)), nil}, {new(uint16(16383))}}
	for i, vm := range c.VMs {
		for j, d := range vm.Disks {
			if diff := cmp.Diff(luns[i][j], d.LUNID); diff != "" {
				t.Errorf("%s/%s: %s", vm.Name, d.Name, diff)
			}
		}
	}
}

// TestISCSIMistakes: what is easily done wrong is told with what to do, and where.
func TestISCSIMistakes(t *testing.T) {
	const disk = "disks: [{name: a, file: /a}]"
	for name, tt := range map[string]struct {
		text, want string
	}{
		"no listener": {"iscsi: {digests: require}\nvms: [{name: a, " + disk + "}]", "1:8: iscsi: is not used (iscsi has at least one address in listen)"},
		"no listener for a VM's settings": {
			"vms: [{name: a, iscsi: {initiators: [10.0.0.1]}, " + disk + "}]",
			"vms[0].iscsi: is not used (iscsi has at least one address in listen)",
		},
		"pattern": {
			"iscsi: {listen: [127.0.0.1]}\nvms: [{name: a, iscsi: {initiators: [\"iqn.2026-11.test:*\"]}, " + disk + "}]",
			`vms[0].iscsi.initiators[0]: "iqn.2026-11.test:*" is a pattern (`,
		},
		"upper case": {
			"iscsi: {listen: [127.0.0.1]}\nvms: [{name: a, iscsi: {initiators: [\"iqn.2026-11.test:Host\"]}, " + disk + "}]",
			`vms[0].iscsi.initiators[0]: "iqn.2026-11.test:Host" has upper-case letters`,
		},
		"host name": {
			"iscsi: {listen: [127.0.0.1]}\nvms: [{name: a, iscsi: {initiators: [host.example]}, " + disk + "}]",
			`"host.example" is neither an iSCSI name, an address nor a network (`,
		},
		"lun for lun-id": {"iscsi: {listen: [127.0.0.1]}\nvms: [{name: a, disks: [{name: a, file: /a, lun: 3}]}]", "the number that initiators see is lun-id"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("t.yaml", []byte(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
		})
	}
}

// TestNoFrontEnd: disks that nobody can reach are told of.
func TestNoFrontEnd(t *testing.T) {
	const vms = "vms: [{name: a, disks: [{name: a, file: /a}]}]\n"
	for text, want := range map[string]int{
		vms: 1, "state: /s\n": 0, vms + "nbd: {listen: [127.0.0.1]}": 0, vms + "iscsi: {listen: [127.0.0.1]}": 0,
	} {
		list := mustParse(t, text).Warnings()
		if len(list) != want || want > 0 && !strings.Contains(list[0].Error(), "nobody can use the disks") {
			t.Errorf("%q: %v, want %d warnings", text, list, want)
		}
	}
}

// TestISCSIOpenTargets: who lets everyone in is told.
func TestISCSIOpenTargets(t *testing.T) {
	open := iscsiConfig + "  - {name: vm3, disks: [{name: a, file: /d}]}\n"
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"all are told apart":    {iscsiConfig, nil},
		"one is for everyone":   {open, []string{"19 vms[2].name"}},
		"who reaches this host": {strings.Replace(open, `, "10.0.0.1:860"`, "", 1), nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, f := range mustParse(t, tt.text).Warnings() {
				got = append(got, fmt.Sprintf("%d %s", f.Line, f.Key))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestISCSISecretFiles: the files of both directions are looked at before anything runs.
func TestISCSISecretFiles(t *testing.T) {
	dir := t.TempDir()
	alice, gate := filepath.Join(dir, "alice"), filepath.Join(dir, "gate")
	text := strings.NewReplacer("/etc/alice", alice, "/etc/gate", gate).Replace(iscsiConfig)
	check := func(want ...string) {
		t.Helper()
		_, err := parseConfig("t.yaml", []byte(text), testHost(nil), true)
		if len(want) == 0 {
			if err != nil {
				t.Error(err)
			}
			return
		}
		if diff := cmp.Diff(want, faultKeys(t, err)); diff != "" {
			t.Error(diff)
		}
	}
	const first, mutual, second = "12 vms[0].iscsi.chap.secret-file", "12 vms[0].iscsi.chap.mutual.secret-file", "17 vms[1].iscsi.chap.secret-file"
	check(first, mutual, second)
	write := func(path, secret string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(alice, "of alice, long enough")
	write(gate, "of the gateway")
	check()
	write(alice, "eleven byte\n")
	check(first, second)
	write(alice, "twelve bytes\n")
	check()
	write(gate, "twelve bytes") // the newline at the end does not count
	check(mutual)
	write(gate, "of the gateway")
	if err := os.Chmod(gate, 0o644); err != nil {
		t.Fatal(err)
	}
	check(mutual)
}
