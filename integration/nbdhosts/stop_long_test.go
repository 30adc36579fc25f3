// SPDX-License-Identifier: Apache-2.0

//go:build integration && long

package nbdhosts

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"pathgate/integration/gate"
	"pathgate/integration/nbdclient"
)

// TestLongStopWithoutErrors: with on-stop: close, QEMU's driver carries writes over stops of
// the gateway in the middle of them.
func TestLongStopWithoutErrors(t *testing.T) {
	b := newBedWith(t, func(_ *bed, c *gate.Config, _ string) { c.NBD = "on-stop: close" })
	socket := filepath.Join(b.dir, "qemu.sock")
	qemu := exec.Command("qemu-nbd", "--persistent", "--cache=none", "--socket", socket, "--image-opts",
		"driver=nbd,server.type=unix,server.path="+b.Path("nbd.sock")+",export=vm1/root,reconnect-delay=300")
	var said bytes.Buffer
	qemu.Stdout, qemu.Stderr = &said, &said
	qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := qemu.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = qemu.Process.Kill() // it may have ended
		if err := qemu.Wait(); err != nil && t.Failed() {
			t.Logf("qemu-nbd: %v: %s", err, &said)
		}
	}()
	var c *nbdclient.Client
	var err error
	if !gate.Poll(patience, func() bool {
		c, err = nbdclient.Connect(t.Context(), nbdclient.Config{Addr: "unix:" + socket})
		return err == nil
	}) {
		t.Fatal(err)
	}
	defer c.Close()

	const size = 64 << 10
	block := func(worker int, n int64) []byte {
		return bytes.Repeat(fmt.Appendf(nil, "%03d%013d", worker, n), size/16)
	}
	var written atomic.Int64
	var last [8]int64
	var stop atomic.Bool
	var workers sync.WaitGroup
	for w := range last {
		workers.Go(func() {
			for n := int64(1); !stop.Load(); n++ {
				if _, err := c.WriteAt(block(w, n), int64(w)*size); err != nil {
					t.Errorf("write %d of %d: %v", n, w, err)
					return
				}
				last[w] = n
				written.Add(1)
			}
		})
	}
	flow := func() {
		want := written.Load() + 50
		if !gate.Poll(patience, func() bool { return t.Failed() || written.Load() >= want }) {
			t.Error("nothing is written")
		}
	}
	for range 3 {
		flow()
		b.restart(t)
	}
	flow()
	stop.Store(true)
	workers.Wait()
	for w, n := range last {
		got := make([]byte, size)
		if _, err := c.ReadAt(got, int64(w)*size); err != nil || !bytes.Equal(got, block(w, n)) {
			t.Errorf("%d reads %.16q, want write %d: %v", w, got, n, err)
		}
	}
	t.Logf("measured: %d writes of 64 KiB over three stops", written.Load())
}
