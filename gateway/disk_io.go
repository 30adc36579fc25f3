// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"slices"
	"sync"

	"pathgate/backends"
	"pathgate/share"
)

const (
	// maxTogether is how many parts of one Unmap, WriteZeroes, Verify or Cache
	// are out at once. Reads and writes go out whole: their size is bounded by
	// what a front-end accepts.
	maxTogether = 16
	// unlimitedPart bounds one part on a device that names no limit, in bytes.
	unlimitedPart = 1 << 30
)

// out collects the parts that one call sends, so that each router gets them in
// one call and without the disk's lock.
type out struct {
	parts []*Part
	gate  []*share.Cmd // for the limiter
}

var outPool = sync.Pool{New: func() any { return new(out) }}

// send submits what was collected, router by router in order.
func (u *out) send(b *backends.Batch) {
	for from := 0; from < len(u.parts); {
		to := from + 1
		for to < len(u.parts) && u.parts[to].router == u.parts[from].router {
			to++
		}
		u.parts[from].router.submit(b, u.parts[from:to])
		from = to
	}
	clear(u.parts)
	clear(u.gate)
	u.parts, u.gate = u.parts[:0], u.gate[:0]
	outPool.Put(u)
}

// Submit takes the client's requests.
func (d *Disk) Submit(b *backends.Batch, reqs []*backends.Request) {
	u := outPool.Get().(*out)
	d.mu.Lock()
	for _, r := range reqs {
		d.startLocked(b, r, u)
	}
	l := d.limiter
	d.mu.Unlock()
	if len(u.gate) > 0 {
		l.submit(b, u.gate)
	}
	u.send(b)
}

func (d *Disk) startLocked(b *backends.Batch, r *backends.Request, u *out) {
	res := backends.Failed(backends.Aborted)
	if !d.closed {
		res = d.info.Check(r)
	}
	if res.OK() && d.unattachedLocked() {
		res = backends.Failed(backends.NoPath)
	}
	if !res.OK() {
		b.Complete(r, res)
		return
	}
	o := d.takeOpLocked(r)
	if d.limiter != nil && d.limiter.on {
		u.gate = append(u.gate, d.limiter.gateLocked(o))
		return
	}
	d.launchLocked(o, u)
}

// launchLocked begins o, unless it has to wait for an earlier one.
func (d *Disk) launchLocked(o *op, u *out) {
	r := o.parent
	if o.order == 0 {
		d.order++
		o.order = d.order
		if r.Op == backends.CompareAndWrite && o.compare == asOne && r.Length > d.compare {
			o.compare = comparing
			d.alone++
		}
	}
	look := o.compare != asOne || d.alone > 0
	if r.Op.Changes() {
		look = d.orderLocked(o) || look || !d.changes.mixed && d.paced+d.waiting > 0
	}
	if look {
		if first := d.blockerLocked(o); first != nil {
			o.waitsFor = first
			first.waiters = append(first.waiters, o)
			d.waiting++
			return
		}
	}
	o.begun = true
	if r.Op == backends.Flush {
		d.flushLocked(o, u)
		return
	}
	o.cursor = r.Offset
	d.cutLocked(o, u)
}

// unattachedLocked tells whether a piece has no device.
func (d *Disk) unattachedLocked() bool {
	for i := range d.pieces {
		if d.pieces[i].router == nil {
			return true
		}
	}
	return len(d.pieces) == 0
}

// flushLocked sends one flush to each device that the disk has.
func (d *Disk) flushLocked(o *op, u *out) {
	for i := range d.pieces {
		p := &d.pieces[i]
		again := false
		for _, q := range o.parts {
			again = again || q.router == p.router
		}
		if !again {
			d.addPartLocked(o, p, 0, 0, u)
		}
	}
}

// cutLocked makes the next parts of o and adds them to u: all there are, or as
// many as may be out at once.
func (d *Disk) cutLocked(o *op, u *out) {
	r := o.parent
	end := r.Offset + r.Length
	whole := r.Op == backends.Read || r.Op == backends.Write || r.Op == backends.CompareAndWrite
	i := 0
	for o.cursor < end && (whole || o.left < maxTogether) {
		for o.cursor >= d.pieces[i].start+d.pieces[i].length {
			i++
		}
		p := &d.pieces[i]
		info := p.router.limits()
		n := min(end-o.cursor, p.start+p.length-o.cursor, partLimit(r, info))
		d.addPartLocked(o, p, o.cursor, n, u)
		o.cursor += n
	}
	if o.cursor < end && !o.paced {
		o.paced = true
		d.paced++
	}
}

// partLimit gives the longest part of r, in bytes, on a device with these
// limits.
func partLimit(r *backends.Request, l limits) uint64 {
	limit := uint64(0)
	switch r.Op {
	case backends.Read, backends.Write, backends.CompareAndWrite:
		limit = l.transfer
	case backends.Verify:
		if len(r.Data) > 0 {
			limit = l.transfer
		}
	case backends.Unmap:
		limit = l.unmap
	case backends.WriteZeroes:
		limit = l.zeroes
	default: // the others move no data
	}
	if limit == 0 {
		limit = unlimitedPart
	}
	return limit
}

// addPartLocked makes the part of o at [off, off+n) of the disk, in p.
func (d *Disk) addPartLocked(o *op, p *piece, off, n uint64, u *out) {
	r := o.parent
	q := o.takePart()
	q.op, q.router, q.Flow, q.done = o, p.router, p.flow, false
	q.use++
	q.aborting.Store(0)
	q.Op, q.FUA, q.NoUnmap, q.FastZero = o.operation(), r.FUA, r.NoUnmap, r.FastZero
	q.Origin, q.Completer, q.PathWait = r.Origin, q, p.wait
	if q.Origin == nil {
		q.Origin = d.origin
	}
	q.at = 0
	if r.Op != backends.Flush {
		q.at = off - r.Offset
		q.Offset, q.Length = p.off+off-p.start, n
		at := int(off - r.Offset)
		switch {
		case o.compare == comparing:
			q.FUA = false // it reads
		case o.compare == storing:
			q.Data.AppendRange(r.Data, int(r.Length)+at, int(n))
		case r.Op == backends.CompareAndWrite:
			q.Data.AppendRange(r.Data, at, int(n))
			q.Data.AppendRange(r.Data, int(r.Length)+at, int(n))
		case len(r.Data) > 0:
			q.Data.AppendRange(r.Data, at, int(n))
		}
	}
	o.parts = append(o.parts, q)
	o.left++
	u.parts = append(u.parts, q)
}

// Complete takes the end of the part.
func (p *Part) Complete(b *backends.Batch, _ *backends.Request, res backends.Result) {
	o := p.op
	d := o.disk
	p.router.completed(b, p, res)
	d.mu.Lock()
	p.done = true
	o.left--
	if res.Class == backends.Miscompare && res.Sense.HasInfo {
		res.Sense.Information += p.at // the client is told where in its own request
	}
	if res.Class == backends.Medium && res.Sense.HasInfo {
		d.locateLocked(p, &res.Sense)
	}
	o.result = join(o.result, res)
	r := o.parent
	if o.paced && r.Op.Changes() {
		o.drop(p)
	}
	if !o.coveredLocked() && o.result.OK() && !o.aborted {
		u := outPool.Get().(*out)
		d.cutLocked(o, u)
		d.mu.Unlock()
		u.send(b)
		return
	}
	if o.compare == comparing && o.left == 0 && o.result.OK() || d.refusedLocked(o) {
		u := d.storeLocked(b, o)
		d.mu.Unlock()
		if u != nil {
			u.send(b)
		}
		return
	}
	if o.left == 0 {
		if !o.coveredLocked() && o.result.OK() {
			o.result = backends.Failed(backends.Aborted)
		}
		d.finishLocked(b, o)
	}
	d.mu.Unlock()
}

// coveredLocked tells whether the whole range has been made into parts.
func (o *op) coveredLocked() bool {
	return o.parent.Op == backends.Flush || o.cursor == o.parent.Offset+o.parent.Length
}

// join gives the result of a whole from those of its parts: the failure that came
// first, of miscompares the one at the lowest place, and the furthest that any
// part got without an answer.
func join(a, b backends.Result) backends.Result {
	lower := a.Class == backends.Miscompare && b.Class == backends.Miscompare && b.Sense.Information < a.Sense.Information
	if a.OK() || lower {
		a, b = b, a
	}
	if b.Sent == backends.SentSome {
		a.Sent = backends.SentSome
	}
	return a
}

// finishLocked completes o's request and lets go what waited for it.
func (d *Disk) finishLocked(b *backends.Batch, o *op) {
	r := o.parent
	d.ops.remove(o)
	if o.counted {
		d.endOrderLocked(o)
	}
	if o.paced {
		d.paced--
	}
	if o.compare != asOne {
		d.alone--
	}
	told := uint64(0)
	for _, p := range o.parts {
		if o.result.OK() && r.Op == backends.Read {
			r.Data.Move(&p.Data)
		}
		// An answer may end early, and what comes behind would be at the wrong place.
		if o.result.OK() && r.Op == backends.BlockStatus && told == p.at {
			for _, e := range p.Extents {
				told += e.Length
			}
			r.Extents = append(r.Extents, p.Extents...)
		}
	}
	b.Complete(r, o.result)
	for _, t := range d.resets {
		t.ended(b, o)
	}
	d.resets = dropDone(d.resets)
	d.releaseLocked(b, o)
	if o.gated {
		d.limiter.ended(b, o)
	}
	if o.missed {
		o.missed = false
		d.limiter.missed.Add(-1)
	}
	d.giveLocked(o)
	if d.ops.n == 0 {
		d.drained.Broadcast()
	}
}

// releaseLocked has those go on that wait for o.
func (d *Disk) releaseLocked(b *backends.Batch, o *op) {
	if len(o.waiters) == 0 {
		return
	}
	for _, w := range o.waiters {
		w.waitsFor = nil
	}
	b.Defer(&relaunch{disk: d, ops: o.waiters})
	o.waiters = nil
}

// relaunch begins operations that had to wait for an earlier one.
type relaunch struct {
	disk *Disk
	ops  []*op
}

// RunBatch begins them, but for those that were aborted meanwhile.
func (w *relaunch) RunBatch(b *backends.Batch) {
	d := w.disk
	u := outPool.Get().(*out)
	d.mu.Lock()
	for _, o := range w.ops {
		d.waiting--
		if o.aborted {
			d.failLocked(b, o)
		} else {
			d.launchLocked(o, u)
		}
	}
	d.mu.Unlock()
	u.send(b)
}

// failLocked ends o, of which no part was made, as aborted.
func (d *Disk) failLocked(b *backends.Batch, o *op) {
	o.result = backends.Failed(backends.Aborted)
	d.finishLocked(b, o)
}

// Abort asks that r ends soon.
func (d *Disk) Abort(b *backends.Batch, r *backends.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if o, ok := r.Lower.(*op); ok && o.disk == d && o.parent == r {
		o.abortLocked(b)
	}
}

// abortLocked ends o, if none of its parts was made, or asks the routers to end
// what is left of it.
func (o *op) abortLocked(b *backends.Batch) {
	d := o.disk
	o.aborted = true
	switch {
	case o.atGate:
		if d.limiter.withdraw(b, o) {
			d.failLocked(b, o)
		}
		return
	case o.waitsFor != nil:
		o.waitsFor.waiters = slices.DeleteFunc(o.waitsFor.waiters, func(w *op) bool { return w == o })
		d.waiting--
		d.failLocked(b, o)
		return
	}
	for _, p := range o.parts {
		if !p.done {
			p.router.abort(b, p)
		}
	}
}

// reset is a Reset that waits for the operations of its time.
type reset struct {
	waits map[*op]bool
	res   backends.Result
	done  func(*backends.Batch, backends.Result)
}

// RunBatch tells that all have ended.
func (t *reset) RunBatch(b *backends.Batch) { t.done(b, t.res) }

func (t *reset) ended(b *backends.Batch, o *op) {
	if !t.waits[o] {
		return
	}
	if o.result.Sent == backends.SentSome {
		t.res = backends.Result{Class: backends.Transport, Sent: backends.SentSome}
	}
	if delete(t.waits, o); len(t.waits) == 0 {
		b.Defer(t)
	}
}

func dropDone(list []*reset) []*reset {
	keep := list[:0]
	for _, t := range list {
		if len(t.waits) > 0 {
			keep = append(keep, t)
		}
	}
	clear(list[len(keep):])
	return keep
}

// Reset aborts everything that this disk has outstanding. The LUNs below are
// not reset: other disks use them.
func (d *Disk) Reset(b *backends.Batch, done func(*backends.Batch, backends.Result)) {
	t := &reset{waits: map[*op]bool{}, res: backends.Done(), done: done}
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []*op
	for o := d.ops.first; o != nil; o = o.next {
		t.waits[o] = true
		list = append(list, o)
	}
	if len(list) == 0 {
		b.Defer(t)
		return
	}
	d.resets = append(d.resets, t)
	for _, o := range list {
		o.abortLocked(b)
	}
}
