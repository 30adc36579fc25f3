// SPDX-License-Identifier: Apache-2.0

//go:build integration

package resize

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/nbdclient"
	"pathgate/integration/qmp"
)

func TestMain(m *testing.M) { os.Exit(gate.Main(m)) }

const mib = 1 << 20

// limit is how long what is bound to happen may take on a machine that is busy.
const limit = 2 * time.Minute

// emulator is a QEMU without a machine: its block layer is all that is used.
type emulator struct {
	t *testing.T
	*qmp.Monitor
}

func startQEMU(t *testing.T) *emulator {
	t.Helper()
	dir, err := os.MkdirTemp("", "qmp-") // the name of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	cmd := exec.Command("qemu-system-x86_64", "-M", "none", "-display", "none", "-nodefaults",
		"-qmp", "unix:"+socket+",server=on,wait=off")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		os.RemoveAll(dir)
	})
	e := &emulator{t: t}
	if !gate.Poll(limit, func() bool { e.Monitor, err = qmp.Dial(socket); return err == nil }) {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func (e *emulator) add(node map[string]any) {
	e.t.Helper()
	if err := e.Do("blockdev-add", node, nil); err != nil {
		e.t.Fatal(err)
	}
}

// size is what QEMU takes a node to have.
func (e *emulator) size(node string) int64 {
	e.t.Helper()
	var nodes []struct {
		Name  string `json:"node-name"`
		Image struct {
			Size int64 `json:"virtual-size"`
		}
	}
	if err := e.Do("query-named-block-nodes", map[string]any{"flat": true}, &nodes); err != nil {
		e.t.Fatal(err)
	}
	for _, n := range nodes {
		if n.Name == node {
			return n.Image.Size
		}
	}
	e.t.Fatalf("there is no %s", node)
	return 0
}

// resize is what virsh blockresize does.
func (e *emulator) resize(node string, size int64) error {
	return e.Do("block_resize", map[string]any{"node-name": node, "size": size}, nil)
}

// io has the node carry out a command of qemu-io, which waits for a connection.
func (e *emulator) io(node, command string) {
	e.t.Helper()
	line := fmt.Sprintf("qemu-io %s %q", node, command)
	if err := e.Do("human-monitor-command", map[string]any{"command-line": line}, nil); err != nil {
		e.t.Fatal(err)
	}
}

// TestQEMUFollows: a disk that has grown is grown for a running QEMU, over iSCSI at once
// and over NBD when its connection was made again, and is as large after the gateway
// was killed.
func TestQEMUFollows(t *testing.T) {
	pid := os.Getpid()
	portal := fmt.Sprintf("127.90.%d.%d:3260", pid>>8&0xff, pid&0xff) // nobody else's
	g := gate.Make(t, gate.Config{ISCSI: fmt.Sprintf("{listen: [%q]}", portal)})
	disk := g.Path("root.img")
	g.Configure(t, gate.Config{
		ISCSI: fmt.Sprintf("{listen: [%q]}", portal),
		Disks: []string{fmt.Sprintf("{name: root, file: %s, size: 16MiB, max-size: 1GiB, client-resize: grow}", disk)},
	})
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	q := startQEMU(t)
	q.add(map[string]any{
		"driver": "nbd", "node-name": "nbd", "export": "vm1/root", "reconnect-delay": 300,
		"server": map[string]any{"type": "unix", "path": g.Path("nbd.sock")},
	})
	q.add(map[string]any{
		"driver": "iscsi", "node-name": "iscsi", "transport": "tcp", "portal": portal, "lun": 0,
		"target": "iqn.2026-11.internal.pathgate:vm1", "initiator-name": "iqn.2026-11.test:qemu",
	})
	if out := g.MustCLI(t, "disk", "resize", "vm1/root", "32MiB"); !strings.Contains(out, "32MiB, 16MiB before") {
		t.Errorf("%q", out)
	}
	if err := q.resize("iscsi", 32*mib); err != nil || q.size("iscsi") != 32*mib {
		t.Errorf("over iSCSI: %d, %v", q.size("iscsi"), err)
	}
	// QEMU knows the size of an NBD server from when it connected. It does not send RESIZE.
	if err := q.resize("nbd", 32*mib); err == nil || q.size("nbd") != 16*mib {
		t.Errorf("over NBD, before it has connected again: %d, %v", q.size("nbd"), err)
	}
	mark := g.Events.Mark()
	if out := g.MustCLI(t, "disk", "resize", "--reconnect", "vm1/root", "32MiB"); !strings.Contains(out, "NBD connections closed: 1") {
		t.Errorf("%q", out)
	}
	g.Events.Wait(t, mark, limit, gate.Kind("client-disconnected"))
	q.io("nbd", "write -P 7 4M 64k")
	if err := q.resize("nbd", 32*mib); err != nil || q.size("nbd") != 32*mib {
		t.Errorf("over NBD: %d, %v", q.size("nbd"), err)
	}
	q.io("nbd", "write -P 8 31M 1M")
	q.io("nbd", "flush")
	readsAs(t, g, 4*mib, 7)
	readsAs(t, g, 31*mib, 8)
	g.Kill()
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	readsAs(t, g, 31*mib, 8)
}

// readsAs demands that the disk has its new size and what was written at off.
func readsAs(t *testing.T, g *gate.Gate, off int64, want byte) {
	t.Helper()
	c := g.Connect(t, "vm1/root")
	defer c.Close()
	got := make([]byte, 4096)
	if _, err := c.ReadAt(got, off); err != nil || c.Size() != 32*mib || got[0] != want || got[4095] != want {
		t.Errorf("%d bytes, %d at %d: %v", c.Size(), got[0], off, err)
	}
}

// TestLibnbdWithResize: tools that know nothing of RESIZE work on a disk that offers it,
// and see the size that a client of ours has given it.
func TestLibnbdWithResize(t *testing.T) {
	g := gate.Make(t, gate.Config{})
	g.Configure(t, gate.Config{Disks: []string{
		fmt.Sprintf("{name: root, file: %s, size: 1MiB, max-size: 4MiB, client-resize: grow}", g.Path("root.img")),
	}})
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	c := g.Connect(t, "vm1/root")
	if _, err := c.Do(t.Context(), nbdclient.CmdResize, 0, 2*mib, 0, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Do(t.Context(), nbdclient.CmdResize, 0, 8*mib, 0, nil); !errors.Is(err, nbdclient.EPERM) {
		t.Errorf("more than max-size: %v", err)
	}
	for _, args := range [][]string{
		{"nbdinfo", "--size", g.URI("vm1/root")},
		{"nbdinfo", "--json", g.URI("vm1/root")},
		{"qemu-img", "info", "--output=json", g.URI("vm1/root")},
	} {
		out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), fmt.Sprint(2*mib)) {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}
