// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"pathgate/backends"
	"pathgate/share"
)

// diskLimiter keeps a disk's limit where no flow can: the disk has parts on several
// places, or its VM other disks beside it. It is a scheduler of one flow and a
// window that never fills, and sees each request of the client once, before it is
// cut.
//
// Locks: Disk.mu, then the scheduler's, or diskLimiter.mu. What may go is put into a
// list and begun by a batch, since a scheduler may let it go while Disk.mu is held.
type diskLimiter struct {
	disk    *Disk
	sched   *share.Disk
	flow    *share.Flow
	pacer   *share.Pacer
	explain *Explanations // nil: nothing is recorded

	on     bool          // requests pass it; guarded by Disk.mu
	told   atomic.Uint64 // Tag of the request whose wait was recorded last
	tag    uint64        // of the newest request; guarded by Disk.mu
	missed atomic.Int64  // operations that are to be aborted and have not ended
	pulls  atomic.Pointer[backends.Batch]
	mu     sync.Mutex // leaf
	passed []*op      // may go
	taken  []*op      // scratch of begin
	posted bool       // a batch has begin among its work
}

// Limit has the disk go by a plan: an applier of Shares.Disk. explain is told why
// requests wait for the limit, unless nil. The error says why a limit is not in
// force; then none is.
func (d *Disk) Limit(p DiskPlan, pacer *share.Pacer, explain *Explanations) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	l := d.limiter
	e := share.DefaultEntitlement()
	if p.Limiter == nil {
		if l == nil {
			return nil
		}
		l.on = false // what waits goes now
		return l.sched.ConfigureFlow(l.flow, e, p.Version)
	}
	e.Limits = *p.Limiter
	if l != nil {
		if l.sched.Settings() != p.Settings {
			if err := l.sched.Configure(p.Settings, p.Version); err != nil {
				return err
			}
		}
		l.on = true
		return l.sched.ConfigureFlow(l.flow, e, p.Version)
	}
	l = &diskLimiter{disk: d, pacer: pacer, explain: explain, on: true}
	var err error
	if l.sched, err = share.NewDisk(p.Settings, pacer, l.issue); err != nil {
		return err
	}
	if l.flow, err = l.sched.AddFlow(e); err != nil {
		return err
	}
	d.limiter = l
	return nil
}

// gateLocked describes o to the scheduler, which is to let it go.
func (l *diskLimiter) gateLocked(o *op) *share.Cmd {
	c, r := &o.gate, o.parent
	l.tag++
	c.Tag, c.Owner, c.LBA = l.tag, o, r.Offset/sectorBytes
	c.Class, c.Bytes = share.ClassOther, uint32(min(r.Length, math.MaxUint32))
	switch r.Op {
	case backends.Read:
		c.Class = share.ClassRead
	case backends.Write, backends.CompareAndWrite:
		c.Class = share.ClassWrite
	default:
		c.Bytes = 0
	}
	o.gated, o.atGate = true, true
	return c
}

// submit hands operations to the scheduler. No lock is held.
func (l *diskLimiter) submit(b *backends.Batch, cmds []*share.Cmd) {
	l.sched.Submit(b, l.flow, cmds)
	if l.missed.Load() > 0 {
		l.abortAgain(b, cmds)
	}
	if l.explain == nil || l.sched.Queued() == 0 {
		return
	}
	w := l.sched.Why(l.flow)
	if w.Seq == 0 || w.Reason != share.Limit || l.told.Swap(w.Tag) == w.Tag {
		return
	}
	l.explain.Explain(Explanation{
		Time: time.Now(), VM: l.disk.vm, Disk: l.disk.FullName(), Reason: WhyLimit, Detail: int64(w.Until - w.Time),
	})
}

// abortAgain takes back what was aborted before the scheduler had it.
func (l *diskLimiter) abortAgain(b *backends.Batch, cmds []*share.Cmd) {
	d := l.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range cmds {
		if o := c.Owner.(*op); o.atGate && o.aborted && l.withdraw(b, o) {
			d.failLocked(b, o)
		}
	}
}

// issue takes what may go. It may be called with Disk.mu held.
func (l *diskLimiter) issue(ctx any, cmds []*share.Cmd) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range cmds {
		l.passed = append(l.passed, c.Owner.(*op))
	}
	if !l.posted {
		l.posted = true
		ctx.(*backends.Batch).Defer((*beginner)(l))
	}
}

// beginner is a diskLimiter as work of a batch: it begins what has passed.
type beginner diskLimiter

// RunBatch begins it.
func (g *beginner) RunBatch(b *backends.Batch) {
	l := (*diskLimiter)(g)
	d := l.disk
	u := outPool.Get().(*out)
	d.mu.Lock()
	l.mu.Lock()
	l.passed, l.taken = l.taken[:0], l.passed
	l.posted = false
	l.mu.Unlock()
	for _, o := range l.taken {
		o.atGate = false
		if o.aborted {
			d.failLocked(b, o)
		} else {
			d.launchLocked(o, u)
		}
	}
	clear(l.taken)
	d.mu.Unlock()
	u.send(b)
}

// withdraw takes o back if it still waits; else it is begun, and ended there.
func (l *diskLimiter) withdraw(b *backends.Batch, o *op) (taken bool) {
	if !o.missed {
		o.missed = true
		l.missed.Add(1) // before the scheduler is asked: see submit
	}
	if l.sched.Abort(&o.gate) != share.AbortTaken {
		return false
	}
	o.gated, o.atGate = false, false
	l.deferPull(b) // the next may be able to go
	return true
}

// ended tells that o, which had passed, has ended.
func (l *diskLimiter) ended(b *backends.Batch, o *op) {
	o.gated = false
	if l.sched.Complete(&o.gate) {
		l.deferPull(b)
	}
}

func (l *diskLimiter) deferPull(b *backends.Batch) {
	if l.pulls.Load() != b {
		l.pulls.Store(b)
		b.Defer(l)
	}
}

// RunBatch makes the pull.
func (l *diskLimiter) RunBatch(b *backends.Batch) {
	l.pulls.CompareAndSwap(b, nil)
	l.sched.Pull(b)
}

// closeLocked ends what still waits. Nothing is begun any more.
func (l *diskLimiter) closeLocked(b *backends.Batch) {
	for _, c := range l.sched.Close() {
		o := c.Owner.(*op)
		o.gated, o.atGate = false, false
		l.disk.failLocked(b, o)
	}
}
