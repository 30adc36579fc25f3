// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"pathgate/backends"
	"pathgate/internal/buffer"
)

// handler takes what a nexus of our own initiator tells.
type handler struct {
	up    chan backends.Login
	loss  chan backends.Loss
	async chan backends.AsyncEvent
}

func newHandler() *handler {
	return &handler{up: make(chan backends.Login, 100), loss: make(chan backends.Loss, 100), async: make(chan backends.AsyncEvent, 100)}
}

func (h *handler) Up(_ *backends.Batch, n backends.Nexus, l backends.Login) {
	n.Session(0).SetGeometry(l.Generation, backends.Geometry{LogicalBlock: 512, Size: diskSize, FUA: true, Unmap: true, WriteSame: true})
	h.up <- l
}
func (h *handler) Down(_ *backends.Batch, _ backends.Nexus, l backends.Loss)        { h.loss <- l }
func (h *handler) Async(_ *backends.Batch, _ backends.Nexus, a backends.AsyncEvent) { h.async <- a }
func (h *handler) UnitAttention(*backends.Batch, backends.Session, backends.Sense)  {}

// wait gives what comes from ch, or ends the test.
func wait[T any](tb testing.TB, what string, ch <-chan T) (v T) {
	tb.Helper()
	select {
	case v = <-ch:
	case <-time.After(30 * time.Second):
		tb.Fatalf("never: %s", what)
	}
	return v
}

// do carries requests out together, and again as long as the target is busy (a unit
// attention).
func do(tb testing.TB, s backends.Session, reqs ...*backends.Request) {
	tb.Helper()
	for len(reqs) > 0 {
		var mu sync.Mutex
		var again []*backends.Request
		var all sync.WaitGroup
		all.Add(len(reqs))
		for _, r := range reqs {
			r.Completer = backends.CompleterFunc(func(_ *backends.Batch, r *backends.Request, res backends.Result) {
				mu.Lock()
				defer mu.Unlock()
				switch res.Class {
				case backends.OK:
				case backends.Busy:
					again = append(again, r)
				default:
					tb.Errorf("%v of %d bytes at %d: %v", r.Op, r.Length, r.Offset, res.Err())
				}
				all.Done()
			})
		}
		var b backends.Batch
		s.Submit(&b, reqs)
		b.Run()
		all.Wait()
		reqs = slices.Clone(again)
	}
}

// Our own initiator, with CHAP both ways and digests, writes and reads back through
// many commands at once; the window keeps what is outstanding in its bounds.
func TestOwnInitiator(t *testing.T) {
	src := guarded(t)
	b := serve(t, Config{QueueDepth: 16, MaxBurstLength: 64 << 10, FirstBurstLength: 8192, MaxRecvDataSegmentLength: 4096}, src)
	h := newHandler()
	n := connector(t, testUser, testSecret).Connect(backends.TargetPortal{Target: testTarget, Portal: b.addr}, h)
	defer n.Close(t.Context())
	login := wait(t, "a login", h.up)
	if !slices.Contains(login.Keys, "HeaderDigest=CRC32C") || login.GroupTag != 1 {
		t.Errorf("login %+v", login)
	}
	s := n.Session(0)
	rng := rand.New(rand.NewPCG(1, 2))
	disk := make([]byte, 1<<20)
	for range 8 {
		var writes, reads []*backends.Request
		for off := 0; off < len(disk); {
			l := min(512*(1+rng.IntN(256)), len(disk)-off)
			copy(disk[off:off+l], noise(rng.Uint64(), l))
			w := &backends.Request{Op: backends.Write, Offset: uint64(off), Length: uint64(l)}
			w.Data.AppendBytes(disk[off : off+l])
			writes = append(writes, w)
			off += l
		}
		rng.Shuffle(len(writes), func(i, j int) { writes[i], writes[j] = writes[j], writes[i] })
		do(t, s, writes...)
		for _, w := range writes {
			w.Data.Release()
		}
		do(t, s, &backends.Request{Op: backends.Flush})
		for off := 0; off < len(disk); off += 256 << 10 {
			reads = append(reads, &backends.Request{Op: backends.Read, Offset: uint64(off), Length: 256 << 10})
		}
		do(t, s, reads...)
		var got buffer.Vec
		for _, r := range reads {
			got.Move(&r.Data)
		}
		if !bytes.Equal(got.Bytes(), disk) {
			t.Fatal("what was read is not what was written")
		}
		got.Release()
	}
	list := b.Sessions()
	if len(list) != 1 || list[0].Window != 16 || list[0].Target != testTarget || list[0].Completed == 0 {
		t.Errorf("sessions %+v", list)
	}
	if err := n.Close(t.Context()); err != nil {
		t.Error(err)
	}
	b.idle(t)
}

// A stop has our own initiator log out in order, and it loses nothing.
func TestStopWithOwnInitiator(t *testing.T) {
	b := offer(t, Config{})
	h := newHandler()
	n := connector(t, "", "").Connect(backends.TargetPortal{Target: testTarget, Portal: b.addr}, h)
	defer n.Close(t.Context())
	wait(t, "a login", h.up)
	b.stop()
	if a := wait(t, "the request to log out", h.async); a.Kind != backends.AsyncLogout || a.Within != DefaultDrainTimeout {
		t.Errorf("%+v", a)
	}
	if err := n.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := wait(t, "the end of the server", b.ended); err != nil {
		t.Error(err)
	}
	b.ended <- nil // for the cleanup
}
