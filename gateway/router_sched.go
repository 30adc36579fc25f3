// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"math"
	"sync"
	"sync/atomic"

	"pathgate/backends"
	"pathgate/share"
)

// scheduler decides when a part is issued. All methods are safe for concurrent
// use. None blocks.
type scheduler interface {
	// join makes f one of its flows.
	join(f *Flow, e share.Entitlement) error
	// submit takes parts of one or more flows, in order; it issues those that go
	// now, and others later: from a pull, or from a timer.
	submit(b *backends.Batch, parts []*Part)
	// completed tells that an issued part has ended.
	completed(b *backends.Batch, p *Part)
	// withdraw takes a part back that was not issued. settle: it is being issued,
	// and settle waits until it is.
	withdraw(b *backends.Batch, p *Part) share.Aborted
	settle()
	// event tells that the device holds an issued part (Park, PathDown) or has
	// sent it on (Unpark, Redrive). Called with the device's lock held.
	event(b *backends.Batch, p *Part, ev backends.QueueEvent)
	// capacity tells the usable bandwidth, likewise.
	capacity(b *backends.Batch, now, nominal float64)
	// refusing tells which requests the device ends at once, likewise.
	refusing(b *backends.Batch, upTo backends.PathWait)
	// close gives back what was not issued.
	close() []*Part
}

// sharing is the scheduler that gives each VM its part: package share.
type sharing struct {
	disk *share.Disk
	rt   *Router
	// pulls is the batch that has a pull among its work: one is enough for all of
	// a batch's completions.
	pulls atomic.Pointer[backends.Batch]
}

// newSharing makes the scheduler of a plan, which is valid.
func newSharing(rt *Router, p *share.Pacer, plan *LUNPlan) (*sharing, error) {
	s := &sharing{rt: rt}
	var err error
	s.disk, err = share.NewDisk(plan.Settings, p, s.issue)
	return s, err
}

// newPacer makes a timer whose pulls are made with a batch of its own.
func newPacer() *share.Pacer {
	b := new(backends.Batch)
	return share.NewPacer(b, b.Run)
}

func (s *sharing) join(f *Flow, e share.Entitlement) (err error) {
	f.share, err = s.disk.AddFlow(e)
	return err
}

// commandPool holds the command lists that submit hands to the scheduler.
var commandPool = sync.Pool{New: func() any { return new([]*share.Cmd) }}

func (s *sharing) submit(b *backends.Batch, parts []*Part) {
	list := commandPool.Get().(*[]*share.Cmd)
	cmds := (*list)[:0]
	for i, p := range parts {
		f := p.Flow
		p.describe()
		cmds = append(cmds, &p.cmd)
		if i+1 == len(parts) || parts[i+1].Flow != f {
			if s.pulls.Load() == b {
				s.disk.SubmitAhead(b, f.share, cmds)
			} else {
				s.disk.Submit(b, f.share, cmds)
			}
			clear(cmds)
			cmds = cmds[:0]
		}
	}
	*list = cmds
	commandPool.Put(list)
}

// describe fills in what the scheduler has to know of p: only what has a payload
// costs more than 1 (the patent, par. 0089).
func (p *Part) describe() {
	c := &p.cmd
	c.Tag, c.Owner, c.LBA = p.Offset, p, p.Offset/sectorBytes
	c.Class, c.Bytes, c.Patience = share.ClassOther, 0, int64(p.PathWait)
	payload := p.Length
	switch p.Op {
	case backends.Read:
		c.Class = share.ClassRead
	case backends.Verify:
		if len(p.Data) == 0 {
			return
		}
		c.Class = share.ClassRead
	case backends.Write:
		c.Class = share.ClassWrite
	case backends.CompareAndWrite:
		c.Class = share.ClassWrite
		payload *= 2
	default:
		return
	}
	c.Bytes = uint32(min(payload, math.MaxUint32))
}

// sectorBytes is the unit of share.Cmd.LBA.
const sectorBytes = 512

// issue sends commands to the device.
func (s *sharing) issue(ctx any, cmds []*share.Cmd) {
	list := scratchPool.Get().(*[]*backends.Request)
	reqs := (*list)[:0]
	for _, c := range cmds {
		reqs = append(reqs, &c.Owner.(*Part).Request)
	}
	s.rt.issue(ctx.(*backends.Batch), list, reqs)
}

func (s *sharing) completed(b *backends.Batch, p *Part) {
	if p.taken {
		p.taken = false
		return
	}
	if s.disk.Complete(&p.cmd) {
		s.deferPull(b)
	}
}

func (s *sharing) withdraw(b *backends.Batch, p *Part) share.Aborted {
	res := s.disk.Abort(&p.cmd)
	if res == share.AbortTaken {
		p.taken = true
		s.deferPull(b) // the next of its flow may be able to go
	}
	return res
}

func (s *sharing) settle() { s.disk.Settle() }

func (s *sharing) event(b *backends.Batch, p *Part, ev backends.QueueEvent) {
	pull := false
	switch ev.Kind {
	case backends.Park:
		pull = s.disk.Park(&p.cmd, heldReason(ev.Reason))
		if ev.Reason == backends.ParkFull {
			pull = s.disk.TaskSetFull()
		}
	case backends.Unpark:
		s.disk.Unpark(&p.cmd)
	case backends.PathDown:
		pull = s.disk.PathDown(&p.cmd)
	case backends.Redrive:
		s.disk.Redrive(&p.cmd)
	}
	if pull {
		s.deferPull(b)
	}
}

// heldReason is what the scheduler tells about a part that the device holds.
func heldReason(r backends.ParkReason) share.Reason {
	switch r {
	case backends.ParkNoPath:
		return share.NoPath
	case backends.ParkFence, backends.ParkReset:
		return share.Fence
	case backends.ParkOrder, backends.ParkBusy, backends.ParkFull, backends.ParkTransition, backends.ParkSuspended:
	}
	return share.Busy
}

func (s *sharing) capacity(b *backends.Batch, now, nominal float64) {
	if s.disk.Paths(kappa(now, nominal)) {
		s.deferPull(b)
	}
}

func (s *sharing) refusing(b *backends.Batch, upTo backends.PathWait) {
	if s.disk.Refusing(int64(upTo)) {
		s.deferPull(b)
	}
}

// kappa gives now out of nominal in millionths: 0 only when nothing is usable.
func kappa(now, nominal float64) uint32 {
	if !(now > 0 && nominal > 0) {
		return 0
	}
	return uint32(min(max(math.Round(now/nominal*1e6), 1), 1e6))
}

// deferPull has b make a pull, once for all that ask for one before it is made.
func (s *sharing) deferPull(b *backends.Batch) {
	if s.pulls.Load() != b {
		s.pulls.Store(b)
		b.Defer(s)
	}
}

// RunBatch makes the pull.
func (s *sharing) RunBatch(b *backends.Batch) {
	s.pulls.CompareAndSwap(b, nil)
	s.disk.Pull(b)
}

func (s *sharing) close() []*Part {
	var list []*Part
	for _, c := range s.disk.Close() {
		p := c.Owner.(*Part)
		p.taken = true
		list = append(list, p)
	}
	return list
}

// passThrough is the scheduler that queues nothing, for a LUN whose scheduler is
// off. It keeps the window's account, and has no window.
type passThrough struct {
	rt       *Router
	inWindow atomic.Int64 // issued, and neither parked nor on a lost path
}

func (s *passThrough) join(*Flow, share.Entitlement) error { return nil }

func (s *passThrough) submit(b *backends.Batch, parts []*Part) {
	s.inWindow.Add(int64(len(parts)))
	list := scratchPool.Get().(*[]*backends.Request)
	reqs := (*list)[:0]
	for _, p := range parts {
		p.windowed = true
		reqs = append(reqs, &p.Request)
	}
	s.rt.issue(b, list, reqs)
}

func (s *passThrough) completed(_ *backends.Batch, p *Part) {
	if p.windowed {
		p.windowed = false
		s.inWindow.Add(-1)
	}
}

func (s *passThrough) withdraw(*backends.Batch, *Part) share.Aborted { return share.AbortIssued }

func (s *passThrough) settle() {}

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

func (s *passThrough) refusing(*backends.Batch, backends.PathWait) {}

func (s *passThrough) close() []*Part { return nil }
