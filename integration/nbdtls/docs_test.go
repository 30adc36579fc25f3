// SPDX-License-Identifier: Apache-2.0

//go:build integration

package nbdtls

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pathgate/integration/gate"
)

// What docs/nbd.md shows: certificates by OpenSSL, the clients that use them.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile("../../docs/nbd.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	dir := t.TempDir()
	_, rest, _ := strings.Cut(text, "```sh\n")
	script, _, ok := strings.Cut(rest, "```")
	if !ok || !strings.Contains(script, "openssl req") {
		t.Fatalf("no script: %s", script)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-euc", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	_, rest, _ = strings.Cut(text, "```yaml\n")
	config, _, _ := strings.Cut(rest, "```")
	addr := freePort(t)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	g := gate.Make(t, gate.Config{})
	config = strings.NewReplacer("/etc/pathgate", dir, "/run/pathgate", g.Path(""), "/var/lib/pathgate", g.Path(""), "0.0.0.0:10809", addr, "- systemd:nbd", "# ").Replace(config)
	(&bed{Gate: g}).configure(t, "state: "+g.Path("state")+"\ncontrol: unix:"+g.Path("control.sock")+"\n"+config)
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "disk.img"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(text) {
		command, ok := strings.CutPrefix(line, "    ")
		if !ok || !strings.Contains(line, "TLS-DIR") {
			continue
		}
		n++
		command = strings.NewReplacer("TLS-DIR", dir, "10809", port).Replace(command)
		cmd := exec.CommandContext(t.Context(), "sh", "-euc", command)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s%v\n%s", command, err, out)
		}
	}
	if n != 3 {
		t.Errorf("%d commands of clients", n)
	}
}
