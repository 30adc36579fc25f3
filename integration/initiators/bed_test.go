// SPDX-License-Identifier: Apache-2.0

//go:build integration

package initiators

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/internal/port"
	"pathgate/integration/nbdclient"
)

const (
	mib    = 1 << 20
	prefix = "iqn.2026-11.internal.pathgate:"
	secret = "alice-and-the-gateway"
)

func TestMain(m *testing.M) { os.Exit(gate.Main(m)) }

// portals are n addresses that are free now.
func portals(t *testing.T, n int) (list []string) {
	t.Helper()
	for range n {
		a, err := port.Free(netip.MustParseAddr("127.0.0.1"))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, a.String())
	}
	return list
}

// start starts a gateway that listens at n portals, which it gives; PORTAL1, PORTAL2 ...
// in what c says of vm1 are these. Another process may take one of them first: then
// others are tried.
func start(t *testing.T, c gate.Config, n int) (*gate.Gate, []string) {
	t.Helper()
	var err error
	for range 5 {
		list := portals(t, n)
		c.ISCSI = fmt.Sprintf(`{listen: ["%s"]}`, strings.Join(list, `", "`))
		named := c
		for i, p := range list {
			named.VM = strings.ReplaceAll(named.VM, fmt.Sprintf("PORTAL%d", i+1), p)
		}
		g := gate.Make(t, named)
		if err = g.Start(); err == nil {
			return g, list
		}
		if !strings.Contains(err.Error(), "address already in use") {
			break
		}
	}
	t.Fatal(err)
	return nil, nil
}

// run runs a command and gives what it prints; ok tells whether it has to succeed.
func run(t *testing.T, ok bool, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if (err == nil) != ok {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func demand(t *testing.T, out string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(out, w) {
			t.Errorf("%q is missing in:\n%s", w, out)
		}
	}
}

// secretFile holds secret.
func secretFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// qemu has QEMU's driver use a disk, and gives a client of what it makes of it.
func qemu(t *testing.T, url string) *nbdclient.Client {
	t.Helper()
	dir, err := os.MkdirTemp("", "qemu-") // t.TempDir's name is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "nbd.sock")
	var out bytes.Buffer
	cmd := exec.Command("qemu-nbd", "-f", "raw", "--cache=none", "-t", "-k", socket, url)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-ended
	})
	var c *nbdclient.Client
	err = errors.New("not tried")
	if !gate.Poll(time.Minute, func() bool {
		select {
		case werr := <-ended:
			ended <- werr
			return true
		default:
		}
		c, err = nbdclient.Connect(t.Context(), nbdclient.Config{Addr: "unix:" + socket})
		return err == nil
	}) || err != nil {
		t.Fatalf("qemu-nbd %s: %v\n%s", url, err, out.String())
	}
	t.Cleanup(func() { c.Close() })
	return c
}
