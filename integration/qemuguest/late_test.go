// SPDX-License-Identifier: Apache-2.0

//go:build integration

package qemuguest

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"pathgate/integration/gate"
	"pathgate/integration/nbdclient"
	"pathgate/integration/proxy"
)

// storage has QEMU's storage daemon open a node as a guest's QEMU does, with an object
// that it needs unless that is "", and gives a client of what it makes of it.
func storage(t *testing.T, object, blockdev, nodeName string) *nbdclient.Client {
	t.Helper()
	socket := filepath.Join(shortDir(t), "nbd")
	var out bytes.Buffer
	args := []string{
		"--blockdev", blockdev, "--nbd-server", "addr.type=unix,addr.path=" + socket,
		"--export", "type=nbd,id=e,node-name=" + nodeName + ",name=disk,writable=on",
	}
	if object != "" {
		args = append([]string{"--object", object}, args...)
	}
	cmd := exec.Command("qemu-storage-daemon", args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // killed, usually
		close(ended)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		<-ended
	})
	var c *nbdclient.Client
	var err error
	over := func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	}
	if !gate.Poll(limit, func() bool {
		c, err = nbdclient.Connect(t.Context(), nbdclient.Config{Addr: "unix:" + socket, Export: "disk", Timeout: limit})
		return err == nil || over()
	}) || err != nil {
		t.Fatalf("no storage daemon: %v", err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestH04QEMU: the network holds writes of QEMU back and their connection breaks. QEMU
// logs in again, sends the writes again, and writes something newer. What the network
// lets go then does not land over it.
func TestH04QEMU(t *testing.T) {
	const size, writes = 2 * mib, 16
	file := filepath.Join(t.TempDir(), "root")
	b := newBed(t, options{front: true, Config: gate.Config{Disks: []string{`{name: root, file: "` + file + `", size: 2MiB}`}}})
	object, blockdev := node(t, b.attach(t, "iscsi"))
	c := storage(t, object, blockdev, "pathgate-lun0")
	write := func(what string) error { return fill(c, what, size, writes) }

	b.front.MustSet(proxy.Fault{Kind: proxy.Hold, Dir: proxy.ToTarget, Conn: 1})
	wrote := make(chan error, 1)
	go func() { wrote <- write("older---") }()
	if err := b.front.Wait(func(c proxy.Counters) bool { return c.Fault(proxy.Hold).Bytes >= size }, limit); err != nil {
		t.Fatalf("not all is held: %v", err)
	}
	b.front.MustSet(proxy.Fault{Kind: proxy.HalfClose, Dir: proxy.ToClient, Conn: 1})
	if err := <-wrote; err != nil { // over the second connection
		t.Fatal(err)
	}
	if err := write("newer+++"); err != nil {
		t.Fatal(err)
	}
	if left := b.g.Events.Since(0, gate.Kind("client-disconnected")); len(left) != 0 {
		t.Fatalf("the first session has ended already: %v", left)
	}

	mark := b.g.Events.Mark()
	b.front.Clear(proxy.Hold)
	b.g.Events.Wait(t, mark, limit, gate.Kind("client-disconnected")) // all of it has come
	if n := b.front.Counters().Fault(proxy.Hold).Released; n < size {
		t.Errorf("%d bytes were let go", n)
	}
	want, got := bytes.Repeat([]byte("newer+++"), size/8), make([]byte, size)
	if _, err := c.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("QEMU reads other data: %v, %d older ones", err, bytes.Count(got, []byte("older---")))
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the disk has other data: %v, %d older ones", err, bytes.Count(got, []byte("older---")))
	}
}

// fill writes what all over a disk, by so many requests at once.
func fill(c *nbdclient.Client, what string, size, writes int64) error {
	var all errgroup
	for i := range writes {
		all.run(func() error {
			_, err := c.WriteAt(bytes.Repeat([]byte(what), int(size/writes)/len(what)), i*size/writes)
			return err
		})
	}
	return all.wait()
}

// errgroup runs functions at once.
type errgroup struct {
	running sync.WaitGroup
	mu      sync.Mutex
	errs    []error // guarded by mu
}

func (g *errgroup) run(f func() error) {
	g.running.Go(func() {
		err := f()
		g.mu.Lock()
		defer g.mu.Unlock()
		g.errs = append(g.errs, err)
	})
}

func (g *errgroup) wait() error {
	g.running.Wait()
	return errors.Join(g.errs...)
}
