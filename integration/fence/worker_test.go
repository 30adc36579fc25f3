// SPDX-License-Identifier: Apache-2.0

//go:build integration

package fence

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/lio"
	"pathgate/integration/proxy"
)

// stuckSource has one write of a block that starts with 1 stay where it is: the one that
// renames FENCE_STUCK, for as long as the new name is there.
const stuckSource = `#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>
static void stick(const void *b, size_t n) {
	const char *file = getenv("FENCE_STUCK");
	char begun[4096];
	if (!file || n == 0 || *(const char *)b != 1)
		return;
	snprintf(begun, sizeof begun, "%s.begun", file);
	if (rename(file, begun) == 0)
		while (access(begun, F_OK) == 0)
			usleep(2000);
}
#define REAL(name, ...) ((ssize_t (*)(int, const void *, __VA_ARGS__, off_t))dlsym(RTLD_NEXT, name))
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) { stick(b, n); return REAL("pwrite", size_t)(fd, b, n, o); }
ssize_t pwrite64(int fd, const void *b, size_t n, off_t o) { stick(b, n); return REAL("pwrite64", size_t)(fd, b, n, o); }
ssize_t pwritev(int fd, const struct iovec *v, int n, off_t o) { stick(v->iov_base, v->iov_len); return REAL("pwritev", int)(fd, v, n, o); }
ssize_t pwritev64(int fd, const struct iovec *v, int n, off_t o) { stick(v->iov_base, v->iov_len); return REAL("pwritev64", int)(fd, v, n, o); }
`

// worker is what carries out writes. The next one of 1 after arm stays in it until free.
type worker struct {
	dir, flag string
	env       []string
}

func newWorker(t *testing.T) *worker {
	t.Helper()
	dir, err := os.MkdirTemp("", "worker-") // a short path for the socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	src, lib := filepath.Join(dir, "stuck.c"), filepath.Join(dir, "stuck.so")
	if err := os.WriteFile(src, []byte(stuckSource), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "cc", "-shared", "-fPIC", "-o", lib, src, "-ldl").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	flag := filepath.Join(dir, "stuck")
	return &worker{dir: dir, flag: flag, env: []string{"LD_PRELOAD=" + lib, "FENCE_STUCK=" + flag}}
}

// tgtd is the program of a tgtd with that worker.
func (d *worker) tgtd(t *testing.T) string {
	t.Helper()
	program := filepath.Join(d.dir, "tgtd")
	script := "#!/bin/sh\n" + strings.Join(d.env, " ") + " exec tgtd \"$@\"\n"
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return program
}

// drive serves file to a guest, and gives the option for that.
func (d *worker) drive(t *testing.T, file string) string {
	t.Helper()
	sock := filepath.Join(d.dir, "sock")
	cmd := exec.Command("qemu-nbd", "--persistent", "--format=raw", "--socket="+sock, file)
	cmd.Env = append(os.Environ(), d.env...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if !gate.Poll(20*time.Second, func() bool { _, err := os.Stat(sock); return err == nil }) {
		t.Fatal("qemu-nbd does not listen")
	}
	return "file=nbd:unix:" + sock + ",format=raw"
}

func (d *worker) arm(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(d.flag, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.free() })
}

// stuck tells that a write is in the worker and stays.
func (d *worker) stuck() bool { _, err := os.Stat(d.flag + ".begun"); return err == nil }

func (d *worker) free() error { return os.Remove(d.flag + ".begun") }

// TestH01SlowWorker: one tgtd. W1 is in a worker of it when its connection is reset;
// the login is answered at once, and only the reset waits.
func TestH01SlowWorker(t *testing.T) {
	both(t, func(t *testing.T, unfenced bool) {
		d := newWorker(t)
		newBed(t, 1, d.tgtd(t), unfenced).slowWorker(t, d, unfenced)
	})
}

// TestH01SlowWorkerLIO: the kernel's target has W1 in its device when the connection is
// reset. The login that fences waits for it, so W2 does; without a fence W1 comes back.
func TestH01SlowWorkerLIO(t *testing.T) {
	b := &bed{file: filepath.Join(t.TempDir(), "lun")}
	if err := os.WriteFile(b.file, make([]byte, 32*mib), 0o600); err != nil {
		t.Fatal(err)
	}
	d := newWorker(t)
	s := lio.New(t, lio.Options{LUNs: []lio.LUN{{Drive: d.drive(t, b.file)}}, Groups: []lio.PortalGroup{{Portals: 2}}})
	var target gate.Target
	for _, portal := range s.Portals() {
		p := proxy.MustNew(t, proxy.Options{Target: portal, Protocol: proxy.ISCSI, Seed: 1})
		b.proxies = append(b.proxies, p)
		target.Portals = append(target.Portals, p.Addr())
	}
	for _, unfenced := range []bool{false, true} {
		b.g = gate.New(t, gate.Config{
			Adapters: []string{"127.0.0.1"}, Targets: []gate.Target{target}, Unfenced: unfenced,
			Disks: []string{`{name: root, lun: "vmhba0:0:0"}`},
		})
		b.g.WaitUp(t, 2, time.Minute)
		b.slowWorker(t, d, unfenced)
		if _, err := b.g.Terminate(30 * time.Second); err != nil {
			t.Errorf("stop: %v", err)
		}
	}
}

// slowWorker is one round of it.
func (b *bed) slowWorker(t *testing.T, d *worker, unfenced bool) {
	c := b.g.Connect(t, "vm1/root")
	start(c, block(9)).must(t, "the first write", 20*time.Second)
	var sent []int64
	for _, p := range b.proxies {
		sent = append(sent, p.Counters().ToTarget.DataBytes)
	}
	d.arm(t)
	w1 := start(c, block(1))
	if !gate.Poll(20*time.Second, d.stuck) {
		t.Fatal("W1 is not in the worker")
	}
	mark := b.g.Events.Mark()
	for i, p := range b.proxies {
		if p.Counters().ToTarget.DataBytes >= sent[i]+blockSize {
			p.ResetConns()
		}
	}
	w1.must(t, "W1", 20*time.Second) // over the other portal
	w2 := start(c, block(2))
	if unfenced {
		w2.must(t, "W2", 20*time.Second)
	} else if w2.ended(time.Second) { // by causality: all that can fence it waits for W1
		t.Errorf("W2 ended (%v) while W1 was in the worker: %v", w2.err, b.g.Events.Since(mark, gate.Kind("fence-done")))
	}
	if err := d.free(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	w2.must(t, "W2", 24*time.Second)
	if !unfenced {
		t.Logf("measured: W2 was acknowledged %v after the end of W1", time.Since(begin).Round(time.Millisecond))
	}
	b.judge(t, c, mark, unfenced, time.Second)
	if got := b.disk(t, blockSize); !unfenced && !bytes.Equal(got, block(2)) {
		t.Errorf("the medium starts with %d", got[0])
	}
}
