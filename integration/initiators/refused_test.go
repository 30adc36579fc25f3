// SPDX-License-Identifier: Apache-2.0

//go:build integration

package initiators

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
)

// refusals are the rows of docs/iscsi.md on logins that fail: what the initiator says,
// and what the log does.
func refusals(t *testing.T) (rows [][2]string) {
	t.Helper()
	b, err := os.ReadFile("../../docs/iscsi.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, ok := strings.Cut(string(b), "| the initiator says |")
	if !ok {
		t.Fatal("docs/iscsi.md has no table of logins that fail")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, " | "); len(cells) == 3 && strings.HasPrefix(line, "| ") {
			rows = append(rows, [2]string{strings.TrimPrefix(cells[0], "| "), cells[1]})
		}
	}
	return rows
}

// TestRefused makes each mistake of the table with QEMU's driver and libiscsi's tools, and
// compares what they say, and what the log does, with the table.
func TestRefused(t *testing.T) {
	rows := refusals(t)
	newline := filepath.Join(t.TempDir(), "newline")
	if err := os.WriteFile(newline, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const host = "iqn.2026-11.test:host"
	// newline is taken as the secret without it.
	vm := `{initiators: ["` + host + `"], chap: {user: alice, secret-file: "` + newline + `"}}`
	free := `{name: vm2, disks: [{name: root, file: ` + t.TempDir() + `/root, size: 1MiB}]}`
	disks := []string{`{name: root, file: "` + t.TempDir() + `/root", size: 1MiB}`}
	g, portals := start(t, gate.Config{VM: vm, Disks: disks, VMs: []string{free}}, 1)
	g.WaitDisks(t, startLimit, available(2))
	strict, strictPortals := startDigests(t)
	inq := func(name, login, target string) []string {
		return []string{"iscsi-inq", "-i", name, "iscsi://" + login + portals[0] + "/" + prefix + target}
	}
	open := func(portal, target, digest string, more ...string) []string {
		return append([]string{"qemu-img", "info"}, append(more,
			`json:{"driver":"iscsi","transport":"tcp","initiator-name":"`+host+`","lun":0,"portal":"`+portal+`","target":"`+prefix+target+`","header-digest":"`+digest+`"`+
				map[bool]string{true: `,"user":"alice","password-secret":"s"`}[len(more) > 0]+`}`)...)
	}
	mistakes := []struct {
		at   *gate.Gate
		args []string
	}{
		{g, inq(host, "", "nosuch/0")},
		{g, inq("iqn.2026-11.test:other", "", "vm1/0")},
		{g, inq(host, "", "vm1/0")},
		{g, open(portals[0], "vm1", "none", "--object", "secret,id=s,file="+newline)},
		{strict, open(strictPortals[0], "vm1", "none")},
		{strict, open(strictPortals[0], "vm1", "crc32c")},
		{g, inq(host, "", "vm2/9")},
	}
	if len(rows) != len(mistakes) {
		t.Fatalf("the table has %d rows, and there are %d mistakes", len(rows), len(mistakes))
	}
	for i, m := range mistakes {
		before := len(m.at.Log())
		out, err := exec.CommandContext(t.Context(), m.args[0], m.args[1:]...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), rows[i][0]) {
			t.Errorf("row %d: %v says %v: %s", i+1, m.args, err, out)
		}
		want, _, _ := strings.Cut(rows[i][1], ` "`)
		if !gate.Poll(time.Minute, func() bool { return strings.Contains(m.at.Log()[before:], want) }) {
			t.Errorf("row %d: %q is not in the log:\n%s", i+1, want, m.at.Log()[before:])
		}
	}
	// What is right gets in, by a name in upper case too.
	run(t, true, "iscsi-inq", "-i", host, "iscsi://alice%"+secret+"@"+portals[0]+"/"+prefix+"VM1/0")
	demand(t, strict.MustCLI(t, "attach", "vm1", "--qemu"), "# refused by digests: require")
	demand(t, strict.MustCLI(t, "attach", "vm1", "--linux"), "node.conn[0].iscsi.DataDigest = CRC32C")
}

// startDigests starts a gateway that wants digests of everyone.
func startDigests(t *testing.T) (*gate.Gate, []string) {
	t.Helper()
	c := gate.Config{Disks: []string{`{name: root, file: "` + t.TempDir() + `/root", size: 1MiB}`}}
	for range 5 { // another process may take the port first
		list := portals(t, 1)
		c.ISCSI = `{listen: ["` + list[0] + `"], digests: require}`
		g := gate.Make(t, c)
		err := g.Start()
		if err == nil {
			g.WaitDisks(t, startLimit, available(1))
			return g, list
		}
		if !strings.Contains(err.Error(), "address already in use") {
			t.Fatal(err)
		}
	}
	t.Fatal("no free port")
	return nil, nil
}
