// SPDX-License-Identifier: Apache-2.0

//go:build integration

package e2e

import (
	"bytes"
	"encoding/binary"
	"os"
	"sync"
	"testing"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/nbdclient"
	"pathgate/integration/proxy"
)

const blockSize = 4096

func block(name byte) []byte { return bytes.Repeat([]byte{name}, blockSize) }

// ended is when a write of block(name) at off has ended.
type ended struct {
	at  time.Time
	err error
}

func writeLater(c *nbdclient.Client, name byte, off int64) <-chan ended {
	ch := make(chan ended, 1)
	go func() {
		_, err := c.WriteAt(block(name), off)
		ch <- ended{time.Now(), err}
	}()
	return ch
}

// await returns how a write ended. It fails the test when it does not.
func await(t testing.TB, what string, ch <-chan ended, timeout time.Duration) ended {
	t.Helper()
	select {
	case e := <-ch:
		if e.err != nil {
			t.Fatalf("%s: %v", what, e.err)
		}
		return e
	case <-time.After(timeout):
		t.Fatalf("%s has not ended after %v", what, timeout)
		panic("unreachable")
	}
}

// shows fails the test unless the disk and its file have block(name) at off.
func (b *bed) shows(t testing.TB, c *nbdclient.Client, name byte, off int64, when string) {
	t.Helper()
	got := make([]byte, blockSize)
	if _, err := c.ReadAt(got, off); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, block(name)) {
		t.Errorf("%s: the disk shows %q at %d, want %q", when, got[0], off, name)
	}
	f, err := os.Open(b.file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.ReadAt(got, off); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, block(name)) {
		t.Errorf("%s: the file has %q at %d, want %q", when, got[0], off, name)
	}
}

// writesTo matches SCSI write commands (WRITE(10), WRITE(16)) of the block at off.
func writesTo(off int64) func(proxy.PDU) bool {
	return func(p proxy.PDU) bool {
		cdb := p.CDB()
		switch {
		case p.Opcode != proxy.SCSICommand:
			return false
		case cdb[0] == 0x2a:
			return int64(binary.BigEndian.Uint32(cdb[2:])) == off/512
		case cdb[0] == 0x8a:
			return int64(binary.BigEndian.Uint64(cdb[2:])) == off/512
		}
		return false
	}
}

// TestGhostHeldInNetwork (H1 c): the network keeps the second half of W1, and lets
// it go after W2 has been acknowledged. W1 is acknowledged from another path; W2
// waits for the fence; what is let go changes nothing.
func TestGhostHeldInNetwork(t *testing.T) {
	b := newBed(t, bedOptions{})
	c := b.connect(t, 1)[0]
	var w1s, w2s []time.Duration
	for round := range 3 {
		off := int64(round) * mib
		trigger := proxy.Fault{Kind: proxy.Hold, Dir: proxy.ToTarget, At: &proxy.Trigger{When: writesTo(off), HalfData: true}}
		before := make([]proxy.Effect, 2)
		for i, p := range b.proxies {
			before[i] = p.Counters().Fault(proxy.Hold)
			p.MustSet(trigger)
		}
		mark, begin := b.g.Events.Mark(), time.Now()
		w1 := writeLater(c, '1', off)
		hit := -1
		if !gate.Poll(5*time.Second, func() bool {
			for i, p := range b.proxies {
				if p.Counters().Fault(proxy.Hold).Times > before[i].Times {
					hit = i
				}
			}
			return hit >= 0
		}) {
			t.Fatal("no proxy has seen W1")
		}
		b.proxies[1-hit].Clear() // W1's second attempt passes
		end1 := await(t, "W1", w1, 10*time.Second)
		end2 := await(t, "W2", writeLater(c, '2', off), 20*time.Second)
		fence := b.g.Events.Wait(t, mark, time.Second, gate.Kind("fence-done"))
		if held := b.g.Events.Since(mark, gate.Kind("ghost-held")); len(held) == 0 {
			t.Error("no ghost was told")
		}
		if !end2.at.After(fence.Time) {
			t.Errorf("W2 was acknowledged %v before the fence was done", fence.Time.Sub(end2.at))
		}
		b.shows(t, c, '2', off, "before the release")
		b.proxies[hit].Clear()
		if err := b.proxies[hit].Wait(func(c proxy.Counters) bool { return c.Fault(proxy.Hold).Released > before[hit].Released }, 5*time.Second); err != nil {
			t.Errorf("nothing was let go: %v", err)
		}
		b.settle(t)
		b.shows(t, c, '2', off, "after the release")
		w1s, w2s = append(w1s, end1.at.Sub(begin)), append(w2s, end2.at.Sub(end1.at))
	}
	t.Logf("measured: half of W1 held: W1 acknowledged after %s, W2 waited %s for the fence", list(w1s), list(w2s))
}

// TestGhostHeldControl: the same without a hold: nothing waits, nothing is fenced.
func TestGhostHeldControl(t *testing.T) {
	b := newBed(t, bedOptions{})
	c := b.connect(t, 1)[0]
	mark, begin := b.g.Events.Mark(), time.Now()
	await(t, "W1", writeLater(c, '1', 0), 5*time.Second)
	await(t, "W2", writeLater(c, '2', 0), 5*time.Second)
	if took := time.Since(begin); took > time.Second {
		t.Errorf("two writes took %v", took)
	}
	b.shows(t, c, '2', 0, "at the end")
	b.quiet(t, mark)
}

// TestGhostInStoppedTarget (H1 a): one of two processes is stopped with writes in
// its sockets. They are acknowledged from the other one; what overlaps them waits
// until the stopped one goes on and is fenced, and stays.
func TestGhostInStoppedTarget(t *testing.T) {
	b := newBed(t, bedOptions{two: true})
	c := b.connect(t, 1)[0]
	mark := b.g.Events.Mark()
	if err := b.tgts[0].Stop(); err != nil {
		t.Fatal(err)
	}
	const n = 16
	begin := time.Now()
	var first [n]<-chan ended
	for i := range first {
		first[i] = writeLater(c, '1', int64(i)*mib)
	}
	var ghosts, clean []int64
	for i, ch := range first {
		if end := await(t, "W1", ch, 10*time.Second); end.at.Sub(begin) > time.Second {
			ghosts = append(ghosts, int64(i)*mib)
		} else {
			clean = append(clean, int64(i)*mib)
		}
	}
	if len(ghosts) == 0 || len(clean) == 0 {
		t.Fatalf("%d writes went to the stopped target and %d to the other, want some of both", len(ghosts), len(clean))
	}
	b.g.Events.Wait(t, mark, time.Second, gate.Kind("ghost-held"))
	for _, off := range clean {
		await(t, "W2 that overlaps no ghost", writeLater(c, '2', off), 2*time.Second)
	}
	var second []<-chan ended
	for _, off := range ghosts {
		b.shows(t, c, '1', off, "a read is not held") // from the other target
		second = append(second, writeLater(c, '2', off))
	}
	<-time.After(time.Second) // in which none may end
	for i, ch := range second {
		if len(ch) > 0 {
			t.Errorf("W2 at %d has ended, and its ghost is still in the stopped target", ghosts[i])
		}
	}
	going := time.Now()
	if err := b.tgts[0].Cont(); err != nil {
		t.Fatal(err)
	}
	var last time.Time
	for _, ch := range second {
		last = await(t, "W2", ch, 20*time.Second).at
	}
	if fence := b.g.Events.Wait(t, mark, time.Second, gate.Kind("fence-done")); !last.After(fence.Time) {
		t.Error("W2 was acknowledged before the fence was done")
	}
	b.settle(t)
	<-time.After(time.Until(going.Add(2 * time.Second))) // for whatever may still come
	for _, off := range append(ghosts, clean...) {
		b.shows(t, c, '2', off, "after the target went on")
	}
	t.Logf("measured: %d ghosts in a stopped target: overlapping writes went on %v after it did", len(ghosts), last.Sub(going).Round(time.Millisecond))
}

// TestGhostOfKilledGateway: a killed gateway has writes in the sockets of a stopped
// target. The next run writes only when they can run no more.
func TestGhostOfKilledGateway(t *testing.T) {
	b := newBed(t, bedOptions{})
	c := b.connect(t, 1)[0]
	if err := b.tgts[0].Stop(); err != nil {
		t.Fatal(err)
	}
	const n = 8
	var first [n]<-chan ended
	var sent int64
	for _, p := range b.proxies {
		sent -= p.Counters().ToTarget.Forwarded
	}
	for i := range first {
		first[i] = writeLater(c, '1', int64(i)*mib)
	}
	// All of it is with the proxies, and in the target's sockets, which nobody reads.
	if !gate.Poll(2*time.Second, func() bool {
		got := sent
		for _, p := range b.proxies {
			got += p.Counters().ToTarget.Forwarded
		}
		return got >= n*blockSize
	}) {
		t.Fatal("the writes do not get to the target")
	}
	b.g.Kill()
	for _, ch := range first {
		if e := <-ch; e.err == nil {
			t.Error("a write was acknowledged by a target that is stopped")
		}
	}
	mark := b.g.Events.Mark()
	if err := b.g.Start(); err != nil {
		t.Fatal(err)
	}
	var second [n]<-chan ended
	var opened sync.WaitGroup
	opened.Go(func() {
		c := b.g.Connect(t, "vm1/root") // waits for the disk
		for i := range second {
			second[i] = writeLater(c, '2', int64(i)*mib)
		}
	})
	going := time.Now()
	if err := b.tgts[0].Cont(); err != nil {
		t.Fatal(err)
	}
	opened.Wait()
	var last time.Time
	for _, ch := range second {
		last = await(t, "W2", ch, 20*time.Second).at
	}
	b.settle(t)
	fences := b.g.Events.Since(mark, gate.Kind("fence-done"))
	if len(fences) == 0 {
		t.Errorf("no fence after an unclean stop: %v", b.g.Events.Since(mark, func(gate.Event) bool { return true }))
	}
	for _, f := range fences {
		if !last.After(f.Time) {
			t.Errorf("writes were acknowledged before %v", f)
		}
	}
	<-time.After(time.Until(going.Add(2 * time.Second))) // for whatever may still come
	c = b.connect(t, 1)[0]
	for i := range second {
		b.shows(t, c, '2', int64(i)*mib, "after the target went on")
	}
	t.Logf("measured: gateway killed with %d writes in a stopped target: %d fences, first writes %v after it went on",
		n, len(fences), last.Sub(going).Round(time.Millisecond))
}
