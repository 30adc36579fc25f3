// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
	"pathgate/backends/devicetest"
	"pathgate/share"
)

// limitPlan is a plan that has the disk keep its own limit.
func limitPlan(ops int64) DiskPlan {
	p := DiskPlan{Disk: "vm1/root", Version: 1, Settings: share.DefaultSettings()}
	p.Settings.UnitBytes, p.Settings.Depth, p.Settings.FloorInterval = 1<<20, maxQueueCommands, 0
	p.Settings.PriorityMode = share.PriorityOff
	p.Limiter = &share.Limits{Total: share.Ceiling{Rate: share.Rate{Ops: ops}}}
	return p
}

// repeating is a client with n requests outstanding, each of length bytes.
type repeating struct {
	d    *Disk
	op   backends.Op
	stop atomic.Bool
	done atomic.Int64
}

type repeated struct {
	backends.Request
	c *repeating
}

func (r *repeated) Complete(b *backends.Batch, _ *backends.Request, res backends.Result) {
	if res.OK() {
		r.c.done.Add(1)
	}
	if !r.c.stop.Load() {
		r.c.send(b, r)
	}
}

func (c *repeating) send(b *backends.Batch, r *repeated) {
	off, n := r.Offset, r.Length
	r.Reset()
	r.Op, r.Offset, r.Length, r.Completer = c.op, off, n, r
	c.d.Submit(b, []*backends.Request{&r.Request})
}

func (c *repeating) start(n int, length uint64) {
	var b backends.Batch
	for i := range n {
		r := &repeated{c: c}
		r.Offset, r.Length = uint64(i)*length, length
		c.send(&b, r)
	}
	b.Run()
}

// inLimited runs test with a disk over two devices that keeps its own limit, and
// whose requests are cut into several parts.
func inLimited(t *testing.T, ops int64, test func(d *Disk, p *share.Pacer, x *Explanations)) {
	synctest.Test(t, func(t *testing.T) {
		pacer := newPacer()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- pacer.Run(ctx) }()
		d := NewDisk(DiskSpec{VM: "vm1", Name: "root", Pieces: []PieceSpec{
			{Ref: "a", Length: 512 << 10}, {Ref: "b", Length: 512 << 10},
		}})
		var routers []*Router
		for _, ref := range []string{"a", "b"} {
			rt := NewRouter(newSmall(t, 512<<10, 16<<10, 16<<10), RouterOptions{Device: ShareDevice{Name: ref}, Pacer: pacer})
			routers = append(routers, rt)
			if err := d.Attach(ref, rt); err != nil {
				t.Fatal(err)
			}
		}
		x := NewExplanations(16)
		if err := d.Limit(limitPlan(ops), pacer, x); err != nil {
			t.Fatal(err)
		}
		test(d, pacer, x)
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		for _, rt := range routers {
			rt.Close()
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestDiskLimitCountsRequests: the limit counts the client's requests, however
// many parts and devices each has.
func TestDiskLimitCountsRequests(t *testing.T) {
	inLimited(t, 200, func(d *Disk, _ *share.Pacer, x *Explanations) {
		c := &repeating{d: d, op: backends.Read}
		c.start(8, 64<<10)
		time.Sleep(time.Second)
		synctest.Wait()
		before := c.done.Load()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := c.done.Load() - before; n < 1990 || n > 2010 {
			t.Errorf("%d requests in 10 s, want 2000", n)
		}
		c.stop.Store(true)
		list := x.Query(ExplainQuery{Disk: "vm1/root"})
		if len(list) == 0 || list[0].Reason != WhyLimit || list[0].Detail <= 0 {
			t.Errorf("explained by %+v, want the limit", list)
		}
	})
}

// TestDiskLimitChanges: a limit that is raised acts at once, and one that is taken
// away lets go what waits.
func TestDiskLimitChanges(t *testing.T) {
	inLimited(t, 1, func(d *Disk, p *share.Pacer, x *Explanations) {
		c := &repeating{d: d, op: backends.WriteZeroes}
		c.start(4, 4096)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := c.done.Load(); n < 9 || n > 12 {
			t.Errorf("%d requests in 10 s at 1/s", n)
		}
		plan := limitPlan(100)
		plan.Version = 2
		if err := d.Limit(plan, p, x); err != nil {
			t.Fatal(err)
		}
		before := c.done.Load()
		time.Sleep(time.Second)
		synctest.Wait()
		if n := c.done.Load() - before; n < 95 || n > 110 {
			t.Errorf("%d requests in the first second at 100/s", n)
		}
		c.stop.Store(true)
		if err := d.Limit(DiskPlan{Disk: "vm1/root", Version: 3}, p, x); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if n := d.Outstanding(); n != 0 {
			t.Errorf("%d requests wait for a limit that is gone", n)
		}
	})
}

// TestDiskLimitAborts: what waits for the limit is aborted at once, by an Abort, a
// Reset, and the end of the disk; the limit goes on with the others.
func TestDiskLimitAborts(t *testing.T) {
	inLimited(t, 1, func(d *Disk, _ *share.Pacer, _ *Explanations) {
		var list []*pending
		for i := range 6 {
			list = append(list, start(d, backends.Read, uint64(i)*4096, 4096, nil))
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		waiting := 0
		for _, p := range list {
			if p.ends == 0 {
				waiting++
			}
		}
		if waiting < 4 {
			t.Fatalf("%d of 6 requests wait for a limit of 1/s", waiting)
		}
		var b backends.Batch
		d.Abort(&b, &list[4].Request)
		b.Run()
		if p := list[4]; p.ends != 1 || p.res.Class != backends.Aborted {
			t.Errorf("aborted: %d ends, %v", p.ends, p.res)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if p := list[5]; p.ends != 1 || !p.res.OK() {
			t.Errorf("the request behind it: %d ends, %v", p.ends, p.res)
		}
		a, c := start(d, backends.Read, 0, 512, nil), start(d, backends.Read, 0, 512, nil)
		resets := 0
		d.Reset(&b, func(*backends.Batch, backends.Result) { resets++ })
		b.Run()
		if resets != 1 || a.ends != 1 || c.ends != 1 || d.Outstanding() != 0 {
			t.Errorf("reset: %d reports, %d and %d ends, %d outstanding", resets, a.ends, c.ends, d.Outstanding())
		}
		last := []*pending{start(d, backends.Read, 0, 512, nil), start(d, backends.Read, 0, 512, nil)}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		for _, p := range last {
			if p.ends != 1 {
				t.Errorf("at the end of the disk: %d ends", p.ends)
			}
		}
	})
}

// TestLimitedDiskContract runs the contract on a disk with a limit of its own that
// is wide enough not to matter.
func TestLimitedDiskContract(t *testing.T) {
	devicetest.Run(t, func(t *testing.T) (backends.Device, devicetest.Hooks) {
		pacer := newPacer()
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- pacer.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			<-done
		})
		m, err := backends.NewMemory(8 << 20)
		if err != nil {
			t.Fatal(err)
		}
		hold := backends.NewHoldFault(m)
		t.Cleanup(func() { _ = hold.Close() })
		d := NewDisk(DiskSpec{VM: "vm1", Name: "root", Pieces: []PieceSpec{{Ref: "a"}}})
		if err := d.Attach("a", newTimedRouter(t, hold)); err != nil {
			t.Fatal(err)
		}
		if err := d.Limit(limitPlan(1_000_000), pacer, nil); err != nil {
			t.Fatal(err)
		}
		return &closing{d, hold}, devicetest.Hooks{Cut: func() { hold.Hold(nil) }, Heal: hold.Release}
	})
}
