// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pathgate/backends"
	"pathgate/share"
)

// shared is one device with the disks of several VMs, in a bubble: so its rate is
// exact.
type shared struct {
	t    *testing.T
	svc  *backends.ServiceFault
	hold *backends.HoldFault
	rt   *Router
	vms  []*client
	over atomic.Bool
}

// client is a VM that reads or writes its disk, at random places.
type client struct {
	x    *shared
	disk *Disk
	op   backends.Op
	next atomic.Uint64
	done atomic.Int64 // commands
	out  atomic.Int64
}

// sharedPlan is a plan with a fixed window, for VMs "a", "b", "c".
func sharedPlan(capacity int64, depth share.Unit, list ...share.Entitlement) *LUNPlan {
	p := &LUNPlan{Enabled: true, Version: 1, Settings: share.DefaultSettings(), Flows: map[string]FlowPlan{}}
	p.Settings.Capacity, p.Settings.Depth = capacity, depth
	for i, e := range list {
		p.Flows[vmName(i)] = FlowPlan{Entitlement: e}
	}
	return p
}

func vmName(i int) string { return string(rune('a' + i)) }

func shares(w uint32) share.Entitlement {
	e := share.DefaultEntitlement()
	e.Weight = w
	return e
}

func important(priority uint8) share.Entitlement {
	e := share.DefaultEntitlement()
	e.Priority = priority
	return e
}

// inShared runs test with a device that does Settings.Capacity units per second.
func inShared(t *testing.T, p *LUNPlan, test func(x *shared)) {
	synctest.Test(t, func(t *testing.T) {
		m, err := backends.NewMemory(64 << 20)
		if err != nil {
			t.Fatal(err)
		}
		x := &shared{t: t, svc: backends.NewServiceFault(m)}
		x.svc.Set(p.Settings.Capacity, 200*time.Microsecond)
		x.hold = backends.NewHoldFault(x.svc)
		x.rt = NewRouter(x.hold, RouterOptions{Device: ShareDevice{Name: "lun"}, Explain: NewExplanations(64), Plan: p})
		for i := range len(p.Flows) {
			d := NewDisk(DiskSpec{VM: vmName(i), Name: "root", Pieces: []PieceSpec{{Ref: "lun"}}})
			if err := d.Attach("lun", x.rt); err != nil {
				t.Fatal(err)
			}
			x.vms = append(x.vms, &client{x: x, disk: d, op: backends.Read})
		}
		test(x)
		x.over.Store(true)
		x.hold.Release()
		for _, c := range x.vms {
			if err := c.disk.Close(); err != nil {
				t.Error(err)
			}
		}
		x.checkEmpty()
		x.rt.Close()
		if err := x.hold.Close(); err != nil {
			t.Error(err)
		}
	})
}

// checkEmpty checks that nothing is left in the scheduler.
func (x *shared) checkEmpty() {
	x.t.Helper()
	var s share.Snapshot
	x.rt.ShareStatus(&s)
	if s.InFlight != 0 || s.Commands != 0 || s.Faults != 0 {
		x.t.Errorf("at the end %d CU and %d commands in flight, %d faults", s.InFlight, s.Commands, s.Faults)
	}
	for _, f := range s.Flows {
		if f.Queued != 0 || f.InFlight != 0 || f.Parked != 0 {
			x.t.Errorf("flow %s at the end: %d queued, %d in flight, %d parked", x.rt.FlowVM(f.Flow), f.Queued, f.InFlight, f.Parked)
		}
	}
}

// load is one outstanding request of a client; when it ends it is sent again, or
// not, if once is set.
type load struct {
	backends.Request
	c    *client
	once bool
}

func (l *load) Complete(b *backends.Batch, _ *backends.Request, res backends.Result) {
	c := l.c
	if !res.OK() && !c.x.over.Load() {
		c.x.t.Errorf("%s: %v", c.disk.VM(), res.Err())
	}
	c.done.Add(1)
	l.Reset()
	if l.once || c.x.over.Load() {
		c.out.Add(-1)
		return
	}
	l.send(b)
}

func (l *load) send(b *backends.Batch) {
	c := l.c
	l.Op, l.Length, l.Completer = c.op, 4096, l
	l.Offset = c.next.Add(1) * 7919 % (16 << 10) * 4096
	if c.op == backends.Write {
		l.Data.AppendZeros(4096)
	}
	c.disk.Submit(b, []*backends.Request{&l.Request})
}

// loop keeps n requests outstanding.
func (c *client) loop(n int) {
	var b backends.Batch
	for range n {
		c.out.Add(1)
		(&load{c: c}).send(&b)
	}
	b.Run()
}

// ask sends one request each period, for as long.
func (c *client) ask(period, length time.Duration) {
	var b backends.Batch
	for range length / period {
		c.out.Add(1)
		(&load{c: c, once: true}).send(&b)
		b.Run()
		time.Sleep(period)
	}
}

// rates measures over a second, and checks them against want, in commands per second.
func (x *shared) rates(tolerance float64, want ...float64) {
	x.t.Helper()
	from := make([]int64, len(x.vms))
	for i, c := range x.vms {
		from[i] = c.done.Load()
	}
	time.Sleep(time.Second)
	got := make([]float64, len(x.vms))
	bad := false
	for i, c := range x.vms {
		got[i] = float64(c.done.Load() - from[i])
		bad = bad || got[i] < want[i]*(1-tolerance) || got[i] > want[i]*(1+tolerance)
	}
	if bad {
		x.t.Errorf("rates %.0f, want %.0f", got, want)
	}
}

// TestSharesOfADevice is par. 0087 through disks and router: 40/40/20 of a device,
// and 67/33 when one stops asking.
func TestSharesOfADevice(t *testing.T) {
	p := sharedPlan(10000, 20, shares(2000), shares(2000), shares(1000))
	inShared(t, p, func(x *shared) {
		x.vms[1].loop(32)
		x.vms[2].loop(32)
		time.Sleep(time.Second)
		x.rates(0.01, 0, 6667, 3333)
		x.vms[0].loop(32)
		time.Sleep(100 * time.Millisecond)
		x.rates(0.01, 4000, 4000, 2000)

		// Another plan, at run time.
		next := sharedPlan(10000, 20, shares(1000), shares(1000), shares(3000))
		next.Version = 2
		if err := x.rt.Configure(*next); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		x.rates(0.01, 2000, 2000, 6000)
		var s share.Snapshot
		x.rt.ShareStatus(&s)
		if s.Version != 2 || len(s.Flows) != 3 || s.Flows[2].Configured.Weight != 3000 {
			t.Errorf("version %d, flows %+v", s.Version, s.Flows)
		}
		var shared, ahead int
		for _, e := range x.rt.Explained(nil) {
			if e.Verdict == share.Queued && e.Reason == share.Share {
				shared++
				if x.rt.FlowVM(e.Ahead) != "" {
					ahead++
				}
			}
		}
		if shared == 0 || ahead != shared {
			t.Errorf("%d records of who waits for another, %d say for whom", shared, ahead)
		}
	})
}

// TestHeldRequestsDoNotEatTheWindow has all writes of one VM held by the device:
// the others have the whole device among them, in their proportion, though far
// more is held than the window has room for.
func TestHeldRequestsDoNotEatTheWindow(t *testing.T) {
	p := sharedPlan(10000, 20, shares(4000), shares(2000), shares(1000))
	inShared(t, p, func(x *shared) {
		x.vms[0].op = backends.Write
		x.hold.Hold(&backends.FaultRule{Ops: backends.Ops(backends.Write)})
		for _, c := range x.vms {
			c.loop(64)
		}
		time.Sleep(time.Second)
		if n := x.hold.Counts().Waiting; n != 64 {
			t.Errorf("%d held, want all 64", n)
		}
		x.rates(0.01, 0, 6667, 3333)
		var s share.Snapshot
		x.rt.ShareStatus(&s)
		if s.InFlight > 20 || s.InFlight < 19 {
			t.Errorf("%d CU in the window of 20", s.InFlight)
		}
		if f := s.Flows[0]; f.Parked != 64 || f.Why.Reason != share.Busy {
			t.Errorf("the flow that is held: %d parked, reason %v", f.Parked, f.Why.Reason)
		}
		if h := x.rt.Flow("a").Stats().Held; h["busy"] != 64 {
			t.Errorf("held: %v", h)
		}
		x.hold.Release()
		time.Sleep(200 * time.Millisecond)
		x.rates(0.01, 5714, 2857, 1429)
	})
}

// TestLostPathMeasuresAnew is par. 0110-0112: with one of two paths lost, use is
// measured against half of the bandwidth, and a VM of high priority keeps what it
// asks for at the expense of a low one.
func TestLostPathMeasuresAnew(t *testing.T) {
	p := sharedPlan(20000, 40, important(10), important(2))
	inShared(t, p, func(x *shared) {
		x.vms[1].loop(128)
		go x.vms[0].ask(125*time.Microsecond, 5*time.Second) // 8000/s
		time.Sleep(time.Second)
		x.rates(0.01, 8000, 12000)
		x.svc.Set(10000, 200*time.Microsecond)
		x.svc.Tell(1, 2)
		if c := x.rt.Capacity(); c != 0.5 {
			t.Errorf("capacity %v", c)
		}
		var s share.Snapshot
		x.rt.ShareStatus(&s)
		if s.Kappa != 500_000 || s.Depth != 20 || s.Capacity != 10_000_000 || !s.PrioritiesInForce {
			t.Errorf("at once: kappa %d, window %d, capacity %d, priorities in force: %v", s.Kappa, s.Depth, s.Capacity, s.PrioritiesInForce)
		}
		time.Sleep(300 * time.Millisecond)
		x.rates(0.02, 8000, 2000)
		x.svc.Set(20000, 200*time.Microsecond)
		x.svc.Tell(2, 2)
		time.Sleep(300 * time.Millisecond)
		x.rates(0.02, 8000, 12000)
		time.Sleep(2 * time.Second)
	})
}

// TestNoPathHoldsAllBack: nothing is sent while no path is usable, and all of it
// goes afterwards.
func TestNoPathHoldsAllBack(t *testing.T) {
	inShared(t, sharedPlan(10000, 20, shares(1000), shares(1000)), func(x *shared) {
		x.vms[0].loop(32)
		time.Sleep(100 * time.Millisecond)
		x.svc.Tell(0, 2)
		x.vms[1].loop(32)
		time.Sleep(100 * time.Millisecond)
		if n := x.svc.Counts().Waiting; n != 0 {
			t.Errorf("%d requests in the device, though no path is usable", n)
		}
		x.rates(0, 0, 0)
		x.svc.Tell(2, 2)
		time.Sleep(100 * time.Millisecond)
		x.rates(0.01, 5000, 5000)
	})
}

// TestFullTargetBoundsCommands: after TASK SET FULL no more is sent than was in
// flight then.
func TestFullTargetBoundsCommands(t *testing.T) {
	dev := newLimited(t, 1<<20, 0, 0)
	rt := NewRouter(dev, RouterOptions{Plan: sharedPlan(1000, 64, shares(1000)), Pacer: newPacer()})
	defer rt.Close()
	d := NewDisk(DiskSpec{VM: "a", Name: "root", Pieces: []PieceSpec{{Ref: "lun"}}})
	if err := d.Attach("lun", rt); err != nil {
		t.Fatal(err)
	}
	dev.hold = true
	for i := range uint64(10) {
		start(d, backends.Read, i*512, 512, nil)
	}
	refused := dev.held[9]
	var b backends.Batch
	rt.QueueEvent(&b, backends.QueueEvent{Kind: backends.Park, Reason: backends.ParkFull, Request: refused})
	b.Run()
	for i := range uint64(10) {
		start(d, backends.Read, i*512, 512, nil)
	}
	if n := len(dev.held); n != 10 {
		t.Errorf("%d in the device: it took 9 and one that waits there", n)
	}
	var s share.Snapshot
	rt.ShareStatus(&s)
	if s.CommandLimit != 9 || s.Commands != 9 || s.Flows[0].Queued != 10 {
		t.Errorf("%d commands in flight, bound %d, %d queued; want 9, 9 and 10", s.Commands, s.CommandLimit, s.Flows[0].Queued)
	}
	rt.QueueEvent(&b, backends.QueueEvent{Kind: backends.Unpark, Request: refused})
	b.Run()
	dev.release()
	if err := d.Close(); err != nil { // waits for all
		t.Error(err)
	}
}

// TestWaitingRequestsAreAborted: what waits in the scheduler is aborted without
// the device, what it has by the device.
func TestWaitingRequestsAreAborted(t *testing.T) {
	dev := newLimited(t, 1<<20, 0, 0)
	rt := NewRouter(dev, RouterOptions{Plan: sharedPlan(1000, 2, shares(1000)), Pacer: newPacer()})
	d := NewDisk(DiskSpec{VM: "a", Name: "root", Pieces: []PieceSpec{{Ref: "lun"}}})
	if err := d.Attach("lun", rt); err != nil {
		t.Fatal(err)
	}
	dev.hold = true
	var list []*pending
	for i := range uint64(6) {
		list = append(list, start(d, backends.Read, i*512, 512, nil))
	}
	if len(dev.held) != 2 {
		t.Fatalf("%d in the device, want the window of 2", len(dev.held))
	}
	var b backends.Batch
	d.Abort(&b, &list[3].Request)
	b.Run()
	if p := list[3]; p.ends != 1 || p.res.Class != backends.Aborted || len(dev.held) != 2 {
		t.Errorf("abort of one that waits: %d ends, %v; %d in the device", p.ends, p.res.Class, len(dev.held))
	}
	d.Abort(&b, &list[0].Request)
	b.Run()
	if p := list[0]; p.ends != 1 || p.res.Class != backends.Aborted || len(dev.held) != 2 || dev.held[1] != &list[2].Lower.(*op).only.Request {
		t.Errorf("abort of one in the device: %d ends, %v; %d in the device", p.ends, p.res.Class, len(dev.held))
	}
	rt.Close() // two wait, two are in the device
	for i, want := range []int{1, 0, 0, 1, 1, 1} {
		if list[i].ends != want {
			t.Errorf("request %d ended %d times after the router was closed, want %d", i, list[i].ends, want)
		}
	}
	dev.release()
	for i, p := range list {
		if p.ends != 1 {
			t.Errorf("request %d ended %d times", i, p.ends)
		}
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestAbortWhileBeingIssued: a request that is on its way to the device when it
// is aborted, is aborted there.
func TestAbortWhileBeingIssued(t *testing.T) {
	dev := &stopping{limited: newLimited(t, 1<<20, 0, 0)}
	rt := NewRouter(dev, RouterOptions{Plan: sharedPlan(1000, 1, shares(1000)), Pacer: newPacer()})
	defer rt.Close()
	d := NewDisk(DiskSpec{VM: "a", Name: "root", Pieces: []PieceSpec{{Ref: "lun"}}})
	if err := d.Attach("lun", rt); err != nil {
		t.Fatal(err)
	}
	dev.hold = true
	first := start(d, backends.Read, 0, 512, nil)
	second := start(d, backends.Read, 512, 512, nil)
	var other backends.Batch
	dev.before = func() { d.Abort(&other, &second.Request) }
	var b backends.Batch
	d.Abort(&b, &first.Request) // ends in the device, and makes room for the second
	b.Run()
	if first.ends != 1 || second.ends != 0 || len(dev.held) != 1 {
		t.Fatalf("%d and %d ends, %d in the device", first.ends, second.ends, len(dev.held))
	}
	other.Run()
	if second.ends != 1 || second.res.Class != backends.Aborted {
		t.Errorf("%d ends, %v", second.ends, second.res.Class)
	}
}

// stopping is a device whose next Submit is preceded by a call.
type stopping struct {
	*limited
	before func()
}

func (s *stopping) Submit(b *backends.Batch, reqs []*backends.Request) {
	if fn := s.before; fn != nil {
		s.before = nil
		fn()
	}
	s.limited.Submit(b, reqs)
}

// TestSchedulerOff: without a scheduler everything passes.
func TestSchedulerOff(t *testing.T) {
	p := sharedPlan(10000, 20, shares(2000), shares(1000))
	p.Enabled = false
	inShared(t, p, func(x *shared) {
		x.vms[0].loop(64)
		x.vms[1].loop(64)
		time.Sleep(100 * time.Millisecond)
		x.rates(0.01, 5000, 5000)
		if err := x.rt.Configure(*sharedPlan(1, 1, shares(1))); err != nil {
			t.Error(err)
		}
		synctest.Wait() // a request that has ended at this moment is followed by the next
		if n := x.svc.Counts().Waiting; n != 128 {
			t.Errorf("%d in the device, want all", n)
		}
	})
}

func TestKappa(t *testing.T) {
	for _, c := range []struct {
		now, nominal float64
		want         uint32
	}{{0, 2, 0}, {2, 2, 1_000_000}, {1, 3, 333_333}, {3, 2, 1_000_000}, {1, 1e9, 1}, {0, 0, 0}, {1, 0, 0}} {
		if got := kappa(c.now, c.nominal); got != c.want {
			t.Errorf("%v of %v: %d, want %d", c.now, c.nominal, got, c.want)
		}
	}
}

// TestWhatRequestsCost: only what has a payload costs more than one unit.
func TestWhatRequestsCost(t *testing.T) {
	for _, c := range []struct {
		op    backends.Op
		data  bool
		class share.Class
		bytes uint32
	}{
		{backends.Read, false, share.ClassRead, 8192},
		{backends.Write, true, share.ClassWrite, 8192},
		{backends.CompareAndWrite, true, share.ClassWrite, 16384},
		{backends.Verify, true, share.ClassRead, 8192},
		{backends.Verify, false, share.ClassOther, 0},
		{backends.WriteZeroes, false, share.ClassOther, 0},
		{backends.Unmap, false, share.ClassOther, 0},
		{backends.Flush, false, share.ClassOther, 0},
	} {
		p := &Part{}
		p.Op, p.Offset, p.Length = c.op, 1<<20, 8192
		if c.data {
			p.Data.AppendZeros(8192)
		}
		p.describe()
		if p.cmd.Class != c.class || p.cmd.Bytes != c.bytes || p.cmd.LBA != 2048 || p.cmd.Owner != any(p) {
			t.Errorf("%v: class %d, %d bytes, LBA %d", c.op, p.cmd.Class, p.cmd.Bytes, p.cmd.LBA)
		}
		p.Reset()
	}
}

// TestChargedOnEachLUN: a request that lies on two LUNs is charged on both, each
// for its part (the patent, par. 0094).
func TestChargedOnEachLUN(t *testing.T) {
	d := NewDisk(DiskSpec{VM: "vm1", Name: "root", Pieces: []PieceSpec{
		{Ref: "a", Length: 512 << 10}, {Ref: "b", Length: 512 << 10},
	}})
	var routers []*Router
	for _, ref := range []string{"a", "b"} {
		m, err := backends.NewMemory(512 << 10)
		if err != nil {
			t.Fatal(err)
		}
		rt := newTestRouter(t, m)
		routers = append(routers, rt)
		if err := d.Attach(ref, rt); err != nil {
			t.Fatal(err)
		}
	}
	do(t, d, backends.Read, 512<<10-8192, 8192+16384, nil)
	for i, want := range []share.Unit{2, 4} {
		var s share.Snapshot
		routers[i].ShareStatus(&s)
		if got := s.Flows[0].Units; got != want {
			t.Errorf("LUN %d: %d CU charged, want %d", i, got, want)
		}
	}
}
