// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"math/bits"
	"sync/atomic"

	"pathgate/backends"
	"pathgate/internal/buffer"
	"pathgate/internal/scsi"
)

const (
	// eraseWindow is how many requests of an erasure are with the device at a time:
	// it goes on beside the work of others, not before it.
	eraseWindow = 2
	// eraseSlice bounds a request that carries no data, overwriteSlice one that
	// does.
	eraseSlice     = 8 << 20
	overwriteSlice = 1 << 20
)

// erasure is a SANITIZE or FORMAT UNIT that is under way or has failed. It belongs
// to the unit, not to its command: once begun, it goes on whatever becomes of the
// command, its nexus and the task set (SBC-3, Sanitize operations). While it is
// there, the unit takes INQUIRY, REPORT LUNS and REQUEST SENSE only, and after
// a failure another erasure.
type erasure struct {
	u      *Unit
	plan   erasurePlan
	busy   scsi.SenseCode   // what other commands end with
	failed scsi.SenseCode   // the same after a failure
	origin *backends.Origin // nil: of an earlier run of the gateway
	first  func() step
	data   buffer.Vec // of a pass
	// total is the bytes of all passes, done those that are done.
	total uint64
	done  atomic.Uint64
	over  atomic.Bool // it has failed

	// Guarded by u.mu:
	task      *task // waits for the end, or for the store; nil: none
	immediate bool  // the task ends when the store has e
	job       *job
	before    *erasure // the one that had failed before, or nil
	leaving   bool     // EXIT FAILURE MODE waits for the store
}

// sense is what a command ends with that is not taken now.
func (e *erasure) sense() scsi.Sense {
	if e.over.Load() {
		return e.failed.Sense()
	}
	s := e.busy.Sense()
	s.Specific, s.Progress = scsi.SpecificProgress, 0
	if e.total > 0 {
		hi, lo := bits.Mul64(min(e.done.Load(), e.total), 1<<16-1)
		part, _ := bits.Div64(hi, lo, e.total)
		s.Progress = uint16(part)
	}
	return s
}

// erase begins e, which t asks for: the other tasks of the unit end first, and the
// store has it. Immediate: t ends then, and not at the end of e.
func (t *task) erase(b *backends.Batch, e *erasure, immediate bool) {
	u := t.l.u
	e.origin, e.immediate = &t.l.origin, immediate
	u.mu.Lock()
	old := u.erasing.Load()
	switch {
	case old != nil && (!old.over.Load() || old.leaving): // two commands were let in together
		u.mu.Unlock()
		t.deny(b, old.sense())
		return
	case old != nil && !old.plan.Exit && e.plan.Exit && old.failed == e.failed:
		u.mu.Unlock()
		t.deny(b, badField(1, 5)) // a restricted one is not made up for by an unrestricted one
		return
	}
	e.before = old
	u.erasing.Store(e)
	u.levelsLocked()
	bar := newBarrier(func(b *backends.Batch, _ backends.Result) { e.start(b) })
	bar.left.Add(1) // for the store
	var out aborts
	for x := u.tasks.first; x != nil; x = x.next {
		if x != t && !x.e.quiet {
			u.abortAsLocked(x, abortErased, bar, &out)
		}
	}
	u.awaitVisitsLocked(bar, nil)
	e.task = t
	aborted := t.aborted != notAborted
	if aborted {
		e.task = nil
	}
	u.mu.Unlock()
	if aborted {
		t.finish(b, backends.Failed(backends.Aborted))
	}
	e.keep(b, bar)
	out.run(b)
	bar.down(b)
}

// start begins the work.
func (e *erasure) start(b *backends.Batch) {
	u := e.u
	if u.erasing.Load() != e { // it could not be kept
		return
	}
	j := &job{dev: u.cfg.Device, origin: e.origin, grant: u.cfg.Device.Grant(e.origin), finish: e.end, step: e.first()}
	u.mu.Lock()
	e.job = j
	j.aborted = u.closed
	u.mu.Unlock()
	j.drive(b)
}

// took counts what is done.
func (e *erasure) took(p *piece, res backends.Result) backends.Result {
	if res.OK() {
		e.done.Add(p.req.Length)
	}
	return res
}

// ended makes the end of e real, and tells the task that waits for it.
func (e *erasure) ended(b *backends.Batch, res backends.Result) {
	u := e.u
	u.mu.Lock()
	t := e.task
	e.task = nil
	if res.OK() {
		u.erasing.Store(nil)
	} else {
		e.over.Store(true)
	}
	u.levelsLocked()
	u.mu.Unlock()
	switch {
	case t == nil:
	case res.OK():
		t.finish(b, res)
	default:
		t.deny(b, e.failed.Sense())
	}
}

// leaveLocked tells whether t waits for the end of an erasure, and has it wait no
// more.
func (u *Unit) leaveLocked(t *task) bool {
	e := u.erasing.Load()
	if e == nil || e.task != t {
		return false
	}
	e.task = nil
	return true
}

// stopErasing begins nothing more of an erasure; the unit is closed.
func (u *Unit) stopErasing() {
	u.mu.Lock()
	u.closed = true
	var j *job
	if e := u.erasing.Load(); e != nil {
		j = e.job
	}
	u.mu.Unlock()
	if j != nil {
		var b backends.Batch
		j.abort(&b)
		b.Run()
	}
}

// flushStep brings what was erased to the medium, and goes on.
func flushStep(then func() (step, bool)) func() (step, bool) {
	return func() (step, bool) { return step{op: backends.Flush, then: then}, true }
}

// clear makes e turn all of the medium into zeros, and then unmap it where the
// device can: zeros alone may stay mapped, and UNMAP alone is only a hint.
func (e *erasure) clear(g *geometry) {
	size := g.blocks * g.blockSize
	pass := func(op backends.Op, limit uint64, then func() (step, bool)) step {
		e.total += size
		return step{op: op, bytes: size, limit: sliceLimit(limit, eraseSlice), window: eraseWindow, took: e.took, then: then}
	}
	then := flushStep(nil)
	if g.caps.Has(backends.CanUnmap) {
		unmap := pass(backends.Unmap, g.maxUnmap, then)
		then = func() (step, bool) { return unmap, true }
	}
	zeros := pass(backends.WriteZeroes, g.maxZeroes, then)
	e.first = func() step { return zeros }
}

// overwrite makes e write a pattern over all of the medium, as often as is asked
// for. It is written as data: a device may make zeros that are no writes.
func (e *erasure) overwrite(g *geometry, o scsi.Overwrite) {
	size := g.blocks * g.blockSize
	e.total = size * uint64(o.Count)
	x := &overwriting{e: e, g: g, invert: o.Invert, left: o.Count, limit: sliceLimit(g.maxTransfer, overwriteSlice)}
	x.pattern = append(x.pattern, o.Pattern...)
	e.first = func() step {
		s, _ := x.pass()
		return s
	}
}

// overwriting is where an overwrite is.
type overwriting struct {
	e       *erasure
	g       *geometry
	pattern []byte
	invert  bool
	left    uint8 // passes
	limit   uint64
}

// pass is the step of the next pass. Every other one is inverted, so that the last
// one is not.
func (x *overwriting) pass() (step, bool) {
	e, size := x.e, x.g.blocks*x.g.blockSize
	e.data.Release()
	if x.left == 0 {
		return step{}, false
	}
	x.left--
	var flip byte
	if x.invert && x.left%2 == 1 {
		flip = 0xff
	}
	n := int(min(x.limit, size))
	seg := buffer.Get(n)
	for i := range seg.Bytes()[:n] {
		seg.Bytes()[i] = x.pattern[i%int(x.g.blockSize)%len(x.pattern)] ^ flip
	}
	e.data.Append(seg.Slice(0, n))
	return step{
		op: backends.Write, bytes: size, limit: x.limit, window: eraseWindow,
		fill: func(p *piece) { p.req.Data.AppendRange(e.data, 0, int(p.req.Length)) },
		took: e.took, then: flushStep(x.pass),
	}, true
}

func sliceLimit(limit, most uint64) uint64 {
	if limit == 0 {
		return most
	}
	return min(limit, most)
}
