// SPDX-License-Identifier: Apache-2.0

//go:build integration

package fence

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/nbdclient"
	"pathgate/integration/proxy"
	"pathgate/integration/tgtd"
)

const (
	mib = 1 << 20
	iqn = "iqn.2026-11.test:fence"
	// blockSize is what tgtd takes as immediate data: the command is all in one PDU.
	blockSize = 4096
	// far is an offset that no ghost of a test overlaps.
	far = 8 * mib
)

func TestMain(m *testing.M) { os.Exit(gate.Main(m)) }

// bed is a gateway with one adapter and one LUN over two portals, each behind a
// proxy: of one tgtd, or of two that have the file and all their names in common.
type bed struct {
	tgts    []*tgtd.Server
	proxies []*proxy.Proxy
	g       *gate.Gate
	file    string
}

func newBed(t *testing.T, processes int, program string, unfenced bool) *bed {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "fence-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b := &bed{file: filepath.Join(dir, "lun")}
	lun := tgtd.LUN{File: b.file, SizeBytes: 64 * mib, SCSIID: "pathgate-fence-1", SCSISN: "fence1"}
	var target gate.Target
	for i := range processes {
		o := tgtd.Options{
			Portals: []string{"127.0.0.1:0", "127.0.0.1:0"}[:2/processes],
			Targets: []tgtd.Target{{Name: iqn, LUNs: []tgtd.LUN{lun}}},
		}
		if i == 0 {
			o.Program = program
		}
		s := tgtd.New(t, o)
		b.tgts = append(b.tgts, s)
		for _, portal := range s.Portals() {
			p := proxy.MustNew(t, proxy.Options{Target: portal, Protocol: proxy.ISCSI, Seed: 1})
			b.proxies = append(b.proxies, p)
			target.Portals = append(target.Portals, p.Addr())
		}
	}
	b.g = gate.New(t, gate.Config{Adapters: []string{"127.0.0.1"}, Targets: []gate.Target{target}, Unfenced: unfenced})
	b.g.WaitUp(t, 2, 30*time.Second)
	b.g.WaitDisks(t, 10*time.Second, func(ds []gate.Disk) bool { return len(ds) > 0 && ds[0].Available })
	return b
}

func block(fill byte) []byte { return bytes.Repeat([]byte{fill}, blockSize) }

// async is a write under way.
type async struct {
	done chan struct{}
	err  error
}

// start begins to write p at the start of the disk.
func start(c *nbdclient.Client, p []byte) *async {
	a := &async{done: make(chan struct{})}
	go func() {
		_, a.err = c.WriteAt(p, 0)
		close(a.done)
	}()
	return a
}

func (a *async) ended(within time.Duration) bool {
	select {
	case <-a.done:
		return true
	case <-time.After(within):
		return false
	}
}

// must waits for its end and wants success.
func (a *async) must(t *testing.T, what string, within time.Duration) {
	t.Helper()
	if !a.ended(within) {
		t.Fatalf("%s has not ended after %v", what, within)
	}
	if a.err != nil {
		t.Fatalf("%s: %v", what, a.err)
	}
}

// disk is what the backing file begins with.
func (b *bed) disk(t *testing.T, n int) []byte {
	t.Helper()
	f, err := os.Open(b.file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := make([]byte, n)
	if _, err := f.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	return p
}

// stays fails if the range at 0 is anything but the second block that the
// tests write, now or within a while.
func (b *bed) stays(t *testing.T, c *nbdclient.Client, d time.Duration) {
	t.Helper()
	const fill = 2
	got := make([]byte, blockSize)
	if gate.Poll(d, func() bool { return !bytes.Equal(b.disk(t, len(got)), block(fill)) }) {
		g := b.disk(t, len(got))
		t.Errorf("the medium changed after the acknowledgement: starts with %d, ends with %d, want %d", g[0], g[len(g)-1], fill)
	}
	if _, err := c.ReadAt(got, 0); err != nil || !bytes.Equal(got, block(fill)) {
		t.Errorf("read: %v, starts with %d, want %d", err, got[0], fill)
	}
}

// stale waits until the older block is on the medium again.
func (b *bed) stale(t *testing.T, d time.Duration) bool {
	t.Helper()
	return gate.Poll(d, func() bool { return b.disk(t, 1)[0] == 1 })
}

// judge looks at the medium after what was held back is let go: with fencing the
// newer write stays, and without it the older one comes back.
func (b *bed) judge(t *testing.T, c *nbdclient.Client, mark int, unfenced bool, d time.Duration) {
	t.Helper()
	fences := b.g.Events.Since(mark, gate.Kind("fence-done"))
	if unfenced {
		if len(fences) > 0 {
			t.Errorf("the control has fenced: %v", fences)
		}
		if !b.stale(t, d+10*time.Second) {
			t.Error("without a fence the older write did not come back: this test shows nothing")
		}
		return
	}
	// It is told beside the acknowledgement, and may come a little later.
	if !gate.Poll(10*time.Second, func() bool { return len(b.g.Events.Since(mark, gate.Kind("fence-done"))) > 0 }) {
		t.Error("W2 was acknowledged without a fence")
	}
	b.stays(t, c, d)
	b.g.WaitUp(t, 2, 30*time.Second)
}

// both runs a scenario with fencing, and as a control without, beside other tests.
func both(t *testing.T, scenario func(t *testing.T, unfenced bool)) {
	t.Parallel()
	t.Run("fenced", func(t *testing.T) { t.Parallel(); scenario(t, false) })
	t.Run("control", func(t *testing.T) { t.Parallel(); scenario(t, true) })
}

// isWrite matches commands with immediate data.
func isWrite(p proxy.PDU) bool { return p.Opcode == proxy.SCSICommand && p.DataLen > 0 }

// caught sends W1s until one of them was sent through proxy 0 with what fault has
// set there, and returns that one. Those that go the other way end at once.
func (b *bed) caught(t *testing.T, c *nbdclient.Client, is func() bool) *async {
	t.Helper()
	for range 8 {
		w := start(c, block(1))
		if gate.Poll(300*time.Millisecond, func() bool { return w.ended(0) || is() }) && !w.ended(0) {
			return w
		}
		w.must(t, "a write over the good path", 10*time.Second)
	}
	t.Fatal("no write went over the path with the fault")
	return nil
}

// TestControl: the same writes with nothing held or stopped: none waits for a
// fence, and the newer one stays.
func TestControl(t *testing.T) {
	b := newBed(t, 1, "", false)
	c := b.g.Connect(t, "vm1/root")
	mark := b.g.Events.Mark()
	start(c, block(1)).must(t, "W1", 15*time.Second)
	start(c, block(2)).must(t, "W2", 15*time.Second)
	b.stays(t, c, time.Second)
	if got := b.g.Events.Since(mark, gate.Kind("ghost-held", "fence-start", "fence-done", "path-down")); len(got) > 0 {
		t.Errorf("nothing was broken, and this was told: %v", got)
	}
}

// Bars of a fence over another portal, and how often a noisy machine may try.
const (
	fenceBar = 3 * time.Second
	gapBar   = 500 * time.Millisecond
	attempts = 3
)

// TestH01HeldInNetwork: one tgtd. The second half of W1 stays in the proxy of path
// A; A is then found dead, W1 goes over B, W2 overwrites it once A is fenced over
// B's portal, and the proxy lets go what it has.
func TestH01HeldInNetwork(t *testing.T) {
	b := newBed(t, 1, "", false)
	c, other := b.g.Connect(t, "vm1/root"), b.g.Connect(t, "vm1/root")
	var took, gap time.Duration
	for try := range attempts {
		took, gap = b.heldInNetwork(t, c, other, false)
		t.Logf("measured: W2 waited %v for the fence, the longest gap of other writes was %v", took.Round(time.Millisecond), gap.Round(time.Millisecond))
		if took <= fenceBar && gap <= gapBar || t.Failed() {
			return
		}
		t.Logf("attempt %d is over the bars of %v and %v", try+1, fenceBar, gapBar)
	}
	t.Errorf("W2 waited %v, and other writes %v", took, gap)
}

// TestH01HeldInNetworkControl: without a fence W1 comes back.
func TestH01HeldInNetworkControl(t *testing.T) {
	t.Parallel()
	b := newBed(t, 1, "", true)
	b.heldInNetwork(t, b.g.Connect(t, "vm1/root"), b.g.Connect(t, "vm1/root"), true)
}

// heldInNetwork is one round of it; gap is the longest of a writer beside, from the
// failover to the end of the fence.
func (b *bed) heldInNetwork(t *testing.T, c, other *nbdclient.Client, unfenced bool) (took, gap time.Duration) {
	before := b.proxies[0].Counters().Fault(proxy.Hold).Bytes
	b.proxies[0].MustSet(proxy.Fault{Kind: proxy.Hold, Dir: proxy.ToTarget, At: &proxy.Trigger{When: isWrite, HalfData: true}})
	held := func() bool { return b.proxies[0].Counters().Fault(proxy.Hold).Bytes > before }
	mark := b.g.Events.Mark()
	w1 := b.caught(t, c, held)
	w1.must(t, "W1", 15*time.Second)
	stop, done := make(chan struct{}), make(chan time.Duration)
	go func() {
		var longest time.Duration
		for i := int64(0); ; i++ {
			select {
			case <-stop:
				done <- longest
				return
			default:
			}
			begin := time.Now()
			if _, err := other.WriteAt(block(9), far+i%256*blockSize); err != nil {
				t.Errorf("a write beside the ghost: %v", err)
			}
			longest = max(longest, time.Since(begin))
		}
	}()
	begin := time.Now()
	start(c, block(2)).must(t, "W2", 15*time.Second)
	took = time.Since(begin)
	close(stop)
	gap = <-done
	if unfenced && b.disk(t, 1)[0] != 2 {
		t.Error("W2 is not on the medium")
	}
	released := time.Now()
	b.proxies[0].Clear()
	b.judge(t, c, mark, unfenced, 2*time.Second)
	t.Logf("judged %v after the release", time.Since(released).Round(time.Millisecond))
	return took, gap
}

// TestH01StoppedProcess: two tgtd processes that nothing tells apart from outside
// (H3). The one with W1 in its socket is stopped: W2 waits until it goes on and is
// fenced, everything else does not.
func TestH01StoppedProcess(t *testing.T) {
	both(t, func(t *testing.T, unfenced bool) {
		b := newBed(t, 2, "", unfenced)
		for _, p := range b.g.Paths(t) {
			if p.Fencing != "waiting" {
				t.Errorf("level of %s, whose process nothing else leads to: %s", p.Name, p.Fencing)
			}
		}
		c, other := b.g.Connect(t, "vm1/root"), b.g.Connect(t, "vm1/root")
		if err := b.tgts[0].Stop(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.tgts[0].Cont() }) // it may run
		before := b.proxies[0].Counters().ToTarget
		w1 := b.caught(t, c, func() bool { // all of it is in the socket of the stopped process
			now := b.proxies[0].Counters().ToTarget
			return now.DataBytes >= before.DataBytes+blockSize && now.Forwarded == now.Bytes
		})
		mark := b.g.Events.Mark()
		w1.must(t, "W1", 15*time.Second) // over the other process
		w2 := start(c, block(2))
		for i := range 20 { // non-overlapping I/O goes on
			begin := time.Now()
			if _, err := other.WriteAt(block(9), far+int64(i)*blockSize); err != nil {
				t.Fatalf("a write beside the ghost: %v", err)
			}
			if d := time.Since(begin); d > 5*time.Second {
				t.Errorf("a write beside the ghost took %v", d)
			}
		}
		if unfenced {
			w2.must(t, "W2", 5*time.Second)
		} else {
			if w2.ended(4 * time.Second) { // by causality: nothing can fence it
				t.Errorf("W2 ended (%v) while W1 could still land: %v", w2.err, b.g.Events.Since(mark, gate.Kind("fence-done", "fence-failed")))
			}
			if !bytes.Equal(b.disk(t, blockSize), block(1)) {
				t.Error("W1 is not on the medium")
			}
		}
		if err := b.tgts[0].Cont(); err != nil {
			t.Fatal(err)
		}
		w2.must(t, "W2", 20*time.Second)
		b.judge(t, c, mark, unfenced, 2*time.Second)
	})
}

// slowSource delays pwrite of blocks that start with 1 by 3 s while the file of
// FENCE_SLOW exists.
const slowSource = `#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/types.h>
#include <unistd.h>
static ssize_t run(const char *name, int fd, const void *b, size_t n, off_t off) {
	ssize_t (*real)(int, const void *, size_t, off_t) = dlsym(RTLD_NEXT, name);
	const char *slow = getenv("FENCE_SLOW");
	if (slow && n > 0 && *(const char *)b == 1 && access(slow, F_OK) == 0)
		sleep(3);
	return real(fd, b, n, off);
}
ssize_t pwrite(int fd, const void *b, size_t n, off_t off) { return run("pwrite", fd, b, n, off); }
ssize_t pwrite64(int fd, const void *b, size_t n, off_t off) { return run("pwrite64", fd, b, n, off); }
`

// slowProgram makes a tgtd whose writes are slow while the file flag exists.
func slowProgram(t *testing.T) (program, flag string) {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Fatal("no C compiler: run scripts/setup-tests")
	}
	dir := t.TempDir()
	lib, src := filepath.Join(dir, "slow.so"), filepath.Join(dir, "slow.c")
	program, flag = filepath.Join(dir, "slow-tgtd"), filepath.Join(dir, "slow")
	script := fmt.Sprintf("#!/bin/sh\nFENCE_SLOW=%s LD_PRELOAD=%s exec tgtd \"$@\"\n", flag, lib)
	for name, text := range map[string]string{src: slowSource, program: script} {
		if err := os.WriteFile(name, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), cc, "-shared", "-fPIC", "-o", lib, src, "-ldl").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return program, flag
}
