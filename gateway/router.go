// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"sync"
	"sync/atomic"
	"time"

	"pathgate/backends"
)

const (
	// flowCommands and flowBytes are the credits of a flow: what all
	// connections of one VM may have outstanding on one LUN (queue_commands and
	// queue_bytes of the scheduler).
	flowCommands = 1024
	flowBytes    = 64 << 20
)

// Router stands between the virtual disks and one device, and decides for every
// request of every VM: send it now, or keep it queued (the patent, Figure 7,
// 810). It joins what the path manager tells (requests that it holds, capacity
// lost with a path) with what the scheduler decides.
//
// Requests go down by submit on the submitter's goroutine and come back by
// completed on the completing one; the router has no goroutine of its own.
type Router struct {
	dev   backends.Device
	sched scheduler
	lim   atomic.Pointer[limits]
	stop  func()

	name    string        // of the device, for explanations
	explain *Explanations // nil: nothing is recorded

	capNow, capNominal atomicFloat

	mu    sync.Mutex
	flows map[string]*Flow
}

// scheduler is the seam for package share: it decides when a part is issued.
// All methods are safe for concurrent use. None may block.
type scheduler interface {
	// submit takes parts of one or more flows, in order; it calls issue for
	// those that go now, and later, from completed, for others.
	submit(b *backends.Batch, parts []*Part)
	// completed tells that an issued part has ended.
	completed(b *backends.Batch, p *Part, res backends.Result)
	// withdraw takes a part back that was not issued; false when it was.
	withdraw(p *Part) bool
	// event tells that the device holds an issued part (Park, PathDown) or has
	// sent it on (Unpark, Redrive). Called with the device's lock held.
	event(b *backends.Batch, p *Part, ev backends.QueueEvent)
	// capacity tells the usable bandwidth, likewise.
	capacity(b *backends.Batch, now, nominal float64)
}

// limits is what a disk has to know of a device to cut requests; 0: no limit.
type limits struct{ transfer, unmap, zeroes uint64 }

// NewRouter makes the router of dev, which people call name, and becomes its
// observer, if it is a LUN. Why requests wait is recorded in explain, unless nil.
func NewRouter(dev backends.Device, name string, explain *Explanations) *Router {
	rt := &Router{dev: dev, name: name, explain: explain, flows: map[string]*Flow{}}
	rt.sched = &passThrough{issue: rt.issue}
	rt.capNow.Store(1)
	rt.capNominal.Store(1)
	rt.learn(backends.CapsChanged)
	rt.stop = dev.Watch(rt.learn)
	if lun, ok := dev.(backends.LUN); ok {
		lun.Observe(rt)
	}
	return rt
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

// Flow gives the flow of a VM on this device, made when first asked for.
func (rt *Router) Flow(vm string) *Flow {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	f := rt.flows[vm]
	if f == nil {
		f = &Flow{VM: vm, pool: backends.NewPool(flowCommands, flowBytes)}
		rt.flows[vm] = f
	}
	return f
}

// Flows gives all flows, in no order.
func (rt *Router) Flows() []*Flow {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	list := make([]*Flow, 0, len(rt.flows))
	for _, f := range rt.flows {
		list = append(list, f)
	}
	return list
}

// Close ends the router's watch on the device. It does not close the device.
func (rt *Router) Close() { rt.stop() }

// submit takes parts of a disk's requests.
func (rt *Router) submit(b *backends.Batch, parts []*Part) {
	for _, p := range parts {
		p.Flow.inflight.Add(1)
	}
	rt.sched.submit(b, parts)
}

// scratchPool holds the request lists that issue hands to devices.
var scratchPool = sync.Pool{New: func() any { return new([]*backends.Request) }}

// issue sends parts to the device.
func (rt *Router) issue(b *backends.Batch, parts []*Part) {
	s := scratchPool.Get().(*[]*backends.Request)
	reqs := (*s)[:0]
	for _, p := range parts {
		reqs = append(reqs, &p.Request)
	}
	rt.dev.Submit(b, reqs)
	clear(reqs)
	*s = reqs
	scratchPool.Put(s)
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
	rt.sched.completed(b, p, res)
}

// abort ends p: at once when the scheduler still has it.
func (rt *Router) abort(b *backends.Batch, p *Part) {
	if rt.sched.withdraw(p) {
		b.Complete(&p.Request, backends.Failed(backends.Aborted))
		return
	}
	rt.dev.Abort(b, &p.Request)
}

// QueueEvent hears what the device does with requests that it was given.
func (rt *Router) QueueEvent(b *backends.Batch, ev backends.QueueEvent) {
	p, ok := ev.Request.Completer.(*Part)
	if !ok {
		return
	}
	switch ev.Kind {
	case backends.Park:
		p.unpark()
		p.parked = ev.Reason
		p.Flow.parked[ev.Reason].Add(1)
		rt.explainPark(p, ev)
	case backends.Unpark:
		p.unpark()
	case backends.PathDown:
		p.redrive(true)
	case backends.Redrive:
		p.redrive(false)
	}
	rt.sched.event(b, p, ev)
}

// explainPark records why p waits.
func (rt *Router) explainPark(p *Part, ev backends.QueueEvent) {
	if rt.explain == nil {
		return
	}
	e := Explanation{
		Time: time.Now(), VM: p.Flow.VM, Device: rt.name, Reason: parkReason(ev.Reason),
		Offset: p.Offset, Length: p.Length,
	}
	if p.Origin != nil {
		e.Disk = p.Origin.Disk
	}
	rt.explain.Explain(e)
}

// parkReason gives the explanation for what a device holds a request for.
func parkReason(r backends.ParkReason) Reason {
	switch r {
	case backends.ParkNoPath:
		return WhyNoPath
	case backends.ParkFence:
		return WhyFence
	case backends.ParkOrder:
		return WhyOrder
	case backends.ParkBusy:
		return WhyBusy
	case backends.ParkFull:
		return WhyFull
	case backends.ParkTransition:
		return WhyTransition
	case backends.ParkReset:
		return WhyReset
	}
	return 0
}

// unpark takes p out of the count of held requests.
func (p *Part) unpark() {
	if p.parked != 0 {
		p.Flow.parked[p.parked].Add(-1)
		p.parked = 0
	}
}

// redrive counts p among those that wait to be sent again, or no longer.
func (p *Part) redrive(waits bool) {
	if p.redriving == waits {
		return
	}
	p.redriving = waits
	if waits {
		p.Flow.redriving.Add(1)
	} else {
		p.Flow.redriving.Add(-1)
	}
}

// CapacityChanged hears how much of the device's bandwidth is usable.
func (rt *Router) CapacityChanged(b *backends.Batch, now, nominal float64) {
	rt.capNow.Store(now)
	rt.capNominal.Store(nominal)
	rt.sched.capacity(b, now, nominal)
}

// passThrough is the scheduler that queues nothing. It obeys the events by
// keeping the window's account, as every scheduler does, and has no window.
type passThrough struct {
	issue    func(b *backends.Batch, parts []*Part)
	inWindow atomic.Int64 // issued, and neither parked nor on a lost path
}

func (s *passThrough) submit(b *backends.Batch, parts []*Part) {
	s.inWindow.Add(int64(len(parts)))
	for _, p := range parts {
		p.windowed = true
	}
	s.issue(b, parts)
}

func (s *passThrough) completed(_ *backends.Batch, p *Part, _ backends.Result) {
	if p.windowed {
		p.windowed = false
		s.inWindow.Add(-1)
	}
}

func (s *passThrough) withdraw(*Part) bool { return false }

func (s *passThrough) event(_ *backends.Batch, p *Part, ev backends.QueueEvent) {
	in := ev.Kind == backends.Unpark || ev.Kind == backends.Redrive
	if in == p.windowed {
		return
	}
	p.windowed = in
	if in {
		s.inWindow.Add(1)
	} else {
		s.inWindow.Add(-1)
	}
}

func (s *passThrough) capacity(*backends.Batch, float64, float64) {}
