// SPDX-License-Identifier: Apache-2.0

//go:build !race

package gateway

import (
	"cmp"
	"sync"
	"testing"

	"pathgate/backends"
	"pathgate/share"
)

type again struct{ backends.Request }

func (a *again) Complete(*backends.Batch, *backends.Request, backends.Result) {}

// TestDiskDoesNotAllocate has a write and reads pass, and wait for each other in a
// window of one.
func TestDiskDoesNotAllocate(t *testing.T) {
	for _, c := range []struct {
		name  string
		depth share.Unit
	}{{"passing", 64}, {"waiting", 1}} {
		t.Run(c.name, func(t *testing.T) {
			m, err := backends.NewMemory(1 << 20)
			if err != nil {
				t.Fatal(err)
			}
			rt := NewRouter(m, RouterOptions{Plan: sharedPlan(1_000_000, c.depth), Pacer: newPacer()})
			defer rt.Close()
			d := NewDisk(DiskSpec{VM: "vm1", Name: "root", Pieces: []PieceSpec{{Ref: "a", Length: 1 << 20}}})
			if err := d.Attach("a", rt); err != nil {
				t.Fatal(err)
			}
			var b backends.Batch
			var w again
			var reads [7]again
			list := []*backends.Request{&w.Request}
			for i := range reads {
				list = append(list, &reads[i].Request)
			}
			work := func() {
				w.Op, w.Offset, w.Length, w.Completer = backends.Write, 4096, 4096, &w
				w.Data.AppendZeros(4096)
				for i := range reads {
					r := &reads[i]
					r.Op, r.Offset, r.Length, r.Completer = backends.Read, 8192, 4096, r
				}
				d.Submit(&b, list)
				b.Run()
				w.Reset()
				for i := range reads {
					reads[i].Reset()
				}
			}
			for range 100 {
				work()
			}
			if n := testing.AllocsPerRun(500, work); n != 0 {
				t.Errorf("%v allocations for a write and seven reads, want 0", n)
			}
			var s share.Snapshot
			rt.ShareStatus(&s)
			if waited := s.Flows[0].ByPhase[share.PhaseShare] > 1000; waited != (c.depth == 1) {
				t.Errorf("requests waited: %v", waited)
			}
		})
	}
}

// BenchmarkDiskRead is a read through disk and router, of a device that does
// nothing: with the scheduler and without, alone and with a window that makes
// most of eight VMs' reads wait.
func BenchmarkDiskRead(b *testing.B) {
	for _, c := range []struct {
		name    string
		enabled bool
		vms     int
		depth   share.Unit
	}{{"off/vms=1", false, 1, 64}, {"on/vms=1", true, 1, 64}, {"off/vms=8", false, 8, 8}, {"on/vms=8/waiting", true, 8, 8}} {
		b.Run(c.name, func(b *testing.B) {
			p := sharedPlan(100_000_000, c.depth)
			p.Enabled = c.enabled
			null := newNull(b)
			rt := NewRouter(null, RouterOptions{Plan: p})
			defer null.end(rt)
			null.loops = make([]nullLoop, c.vms*8)
			var batch backends.Batch
			for i := range null.loops {
				l := &null.loops[i]
				l.null = null
				l.disk = NewDisk(DiskSpec{VM: vmName(i / 8), Name: "root", Pieces: []PieceSpec{{Ref: "a"}}})
				if err := l.disk.Attach("a", rt); err != nil {
					b.Fatal(err)
				}
				l.list = []*backends.Request{&l.Request}
				if c.vms == 1 && i > 0 {
					continue
				}
				l.send(&batch)
			}
			b.ReportAllocs()
			for b.Loop() {
				null.completeOne(&batch)
			}
		})
	}
}

// null is a device that keeps requests until it is told to complete the oldest.
type null struct {
	*backends.Memory
	loops []nullLoop
	over  bool
	big   uint64 // size that it tells; 0: its own

	mu   sync.Mutex // the scheduler's timer may submit as well
	ring [1 << 10]*backends.Request
	in   int
	out  int
}

func newNull(tb testing.TB) *null {
	m, err := backends.NewMemory(1 << 20)
	if err != nil {
		tb.Fatal(err)
	}
	return &null{Memory: m}
}

func (n *null) Info() backends.Info {
	info := n.Memory.Info()
	info.Size = cmp.Or(n.big, info.Size)
	return info
}

func (n *null) Submit(_ *backends.Batch, reqs []*backends.Request) {
	n.mu.Lock()
	for _, r := range reqs {
		n.ring[n.in%len(n.ring)] = r
		n.in++
	}
	n.mu.Unlock()
}

// completeOne completes the oldest, if there is one.
func (n *null) completeOne(b *backends.Batch) bool {
	n.mu.Lock()
	if n.in == n.out {
		n.mu.Unlock()
		return false
	}
	r := n.ring[n.out%len(n.ring)]
	n.out++
	n.mu.Unlock()
	b.Complete(r, backends.Done())
	b.Run()
	return true
}

// end completes all, and closes the router.
func (n *null) end(rt *Router) {
	n.over = true
	var b backends.Batch
	for n.completeOne(&b) {
	}
	rt.Close()
}

// nullLoop sends its request again whenever it ends.
type nullLoop struct {
	backends.Request
	null *null
	disk *Disk
	list []*backends.Request
}

func (l *nullLoop) send(b *backends.Batch) {
	l.Op, l.Offset, l.Length, l.Completer = backends.Read, 8192, 4096, l
	l.disk.Submit(b, l.list)
}

func (l *nullLoop) Complete(b *backends.Batch, _ *backends.Request, _ backends.Result) {
	l.Reset()
	if !l.null.over {
		l.send(b)
	}
}
