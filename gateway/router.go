// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"pathgate/backends"
	"pathgate/share"
)

// Router stands between the virtual disks and one device, and decides for every
// request of every VM: send it now, or keep it queued (the patent, Figure 7,
// 810). It joins what the path manager tells (requests that it holds, capacity
// lost with a path) with what the scheduler decides.
//
// Requests go down by submit on the submitter's goroutine, or later by a pull on
// that of a completion, and come back by completed on the completing one. The
// router has no goroutine of its own but for the timer, when it was not given one.
type Router struct {
	dev   backends.Device
	sched scheduler
	lim   atomic.Pointer[limits]
	stop  func()

	device  ShareDevice
	pacer   *share.Pacer
	since   time.Time     // of the totals
	explain *Explanations // nil: nothing is recorded

	capNow, capNominal atomicFloat

	// changes is held over a change of the plan; taken before mu.
	changes sync.Mutex
	mu      sync.Mutex
	plan    LUNPlan
	flows   map[string]*Flow
	byID    []*Flow // by share.FlowID
}

// limits is what a disk has to know of a device to cut requests; 0: no limit.
type limits struct{ transfer, unmap, zeroes uint64 }

// RouterOptions are what a Router needs beside its device.
type RouterOptions struct {
	// Device is the device's name, for people and explanations, and its further
	// ones.
	Device ShareDevice
	// Explain is told why requests wait in the device; nil: nobody is.
	Explain *Explanations
	// Plan is who is to get what. Nil: all the same, by the defaults.
	Plan *LUNPlan
	// Pacer is the timer, which runs for as long as the Router is used. Its pulls
	// come with a *backends.Batch. Nil: the Router has one, until it is closed.
	Pacer *share.Pacer
}

// NewRouter makes the router of dev and becomes its observer, if it is a LUN. The
// plan has to be valid. Close when done.
func NewRouter(dev backends.Device, opt RouterOptions) *Router {
	rt := &Router{
		dev: dev, device: opt.Device, explain: opt.Explain, pacer: opt.Pacer,
		since: time.Now(), flows: map[string]*Flow{},
	}
	if opt.Plan != nil {
		rt.plan = *opt.Plan
	} else {
		rt.plan = LUNPlan{Enabled: true, Settings: share.DefaultSettings()}
		if dev.Info().Caps.Has(backends.Rotational) {
			rt.plan.Settings.LatencyTarget = share.LatencyTargetDisk
		}
	}
	endPacer := rt.startScheduler()
	rt.capNow.Store(1)
	rt.capNominal.Store(1)
	rt.learn(backends.CapsChanged)
	unwatch := dev.Watch(rt.learn)
	rt.stop = func() {
		unwatch()
		endPacer()
	}
	if lun, ok := dev.(backends.LUN); ok {
		lun.Observe(rt)
	}
	return rt
}

// startScheduler makes the scheduler of the plan. The function that it gives ends
// the timer, if that is the router's own.
func (rt *Router) startScheduler() (end func()) {
	if !rt.plan.Enabled {
		rt.sched = &passThrough{rt: rt}
		return func() {}
	}
	end = func() {}
	if rt.pacer == nil {
		rt.pacer = newPacer()
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		wg.Go(func() { _ = rt.pacer.Run(ctx) }) // it ends with ctx, and has no other error
		end = func() {
			cancel()
			wg.Wait()
		}
	}
	s, err := newSharing(rt, rt.pacer, &rt.plan)
	if err == nil {
		err = s.groups(rt.plan.Groups, rt.plan.Version)
	}
	if err != nil {
		panic(fmt.Sprintf("gateway: plan of %s: %v", rt.device.Name, err))
	}
	rt.sched = s
	return end
}

// learn takes over the device's limits.
func (rt *Router) learn(backends.Change) {
	info := rt.dev.Info()
	rt.lim.Store(&limits{uint64(info.MaxTransfer), info.MaxUnmap, info.MaxZeroes})
}

func (rt *Router) limits() limits { return *rt.lim.Load() }

// Device is the device that the router sends to.
func (rt *Router) Device() backends.Device { return rt.dev }

// Capacity gives the usable part of the nominal bandwidth, 0 to 1.
func (rt *Router) Capacity() float64 {
	nominal := rt.capNominal.Load()
	if nominal == 0 {
		return 0
	}
	return rt.capNow.Load() / nominal
}

// Close ends scheduling and the router's watch on the device. What still waits is
// aborted. It does not close the device.
func (rt *Router) Close() {
	var b backends.Batch
	for _, p := range rt.sched.close() {
		b.Complete(&p.Request, backends.Failed(backends.Aborted))
	}
	b.Run()
	rt.stop()
}

// submit takes parts of a disk's requests.
func (rt *Router) submit(b *backends.Batch, parts []*Part) {
	d := parts[0].op.disk // of one disk; a part is not ours any more once it is handed over
	for _, p := range parts {
		p.Flow.inflight.Add(1)
	}
	rt.sched.submit(b, parts)
	for _, p := range parts {
		if use := p.aborting.Load(); use != 0 {
			b.Defer(&lateAbort{d: d, rt: rt, p: p, use: use})
		}
	}
}

// scratchPool holds the request lists that issue hands to devices.
var scratchPool = sync.Pool{New: func() any { return new([]*backends.Request) }}

// issue sends reqs, which are in the list taken from scratchPool, to the device.
func (rt *Router) issue(b *backends.Batch, list *[]*backends.Request, reqs []*backends.Request) {
	rt.dev.Submit(b, reqs)
	clear(reqs)
	*list = reqs
	scratchPool.Put(list)
}

// completed accounts for a part that has ended.
func (rt *Router) completed(b *backends.Batch, p *Part, res backends.Result) {
	f := p.Flow
	f.inflight.Add(-1)
	p.unpark()
	p.redrive(false)
	switch {
	case !res.OK():
		f.errors.Add(1)
	case p.Op == backends.Read:
		f.reads.Add(1)
		f.readBytes.Add(p.Length)
	case p.Op == backends.Write:
		f.writes.Add(1)
		f.writeBytes.Add(p.Length)
	default:
		f.others.Add(1)
	}
	rt.sched.completed(b, p)
}

// abort ends p: at once when the scheduler still has it. The disk's lock is held.
// Who submits p at this moment looks at aborting when the scheduler, or the device,
// has it, and asks again.
func (rt *Router) abort(b *backends.Batch, p *Part) {
	p.aborting.Store(p.use)
	switch rt.sched.withdraw(b, p) {
	case share.AbortTaken:
		b.Complete(&p.Request, backends.Failed(backends.Aborted))
	case share.AbortIssued:
		rt.dev.Abort(b, &p.Request)
	case share.AbortIssuing:
		b.Defer(&lateAbort{d: p.op.disk, rt: rt, p: p, use: p.use})
	}
}

// lateAbort aborts a part that was on its way to the scheduler or the device when
// it was asked to.
type lateAbort struct {
	d   *Disk
	rt  *Router
	p   *Part
	use uint64
}

// RunBatch waits until the device has the part, and tells it, unless the part has
// ended meanwhile.
func (a *lateAbort) RunBatch(b *backends.Batch) {
	a.rt.sched.settle()
	a.d.mu.Lock()
	defer a.d.mu.Unlock()
	if a.p.use == a.use && !a.p.done {
		a.rt.abort(b, a.p)
	}
}
