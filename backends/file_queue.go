// SPDX-License-Identifier: Apache-2.0

package backends

// opLink is the place of a fileOp in an opRing.
type opLink struct{ prev, next *fileOp }

// opRing is a list of operations, oldest first, linked by the field that link
// gives.
type opRing struct {
	first, last *fileOp
	link        func(*fileOp) *opLink
}

func linkAll(o *fileOp) *opLink   { return &o.inAll }
func linkRange(o *fileOp) *opLink { return &o.inRange }

func (l *opRing) add(o *fileOp) {
	if l.last != nil {
		l.link(l.last).next = o
	} else {
		l.first = o
	}
	*l.link(o) = opLink{prev: l.last}
	l.last = o
}

func (l *opRing) remove(o *fileOp) {
	at := *l.link(o)
	if at.prev != nil {
		l.link(at.prev).next = at.next
	} else {
		l.first = at.next
	}
	if at.next != nil {
		l.link(at.next).prev = at.prev
	} else {
		l.last = at.prev
	}
}

// Submit carries out what is quick, and queues the rest of reqs for the workers.
func (d *File) Submit(b *Batch, reqs []*Request) {
	d.submitQuickly(b, d.accept(b, reqs))
}

// accept takes reqs. It gives those that are quick, which are not queued, as a list.
func (d *File) accept(b *Batch, reqs []*Request) (quick *fileOp) {
	d.mu.Lock()
	defer d.mu.Unlock()
	end, bytes := &quick, uint64(0)
	for _, r := range reqs {
		res := Failed(Aborted)
		if !d.closed {
			res = d.info.Check(r)
		}
		if !res.OK() {
			b.Complete(r, res)
			continue
		}
		op := d.acceptLocked(r)
		switch {
		case op.waits > 0:
		case d.quickly(r, bytes):
			op.started = true
			bytes += r.Length
			*end, end = op, &op.next
		default:
			d.readyLocked(op)
		}
	}
	return quick
}

// acceptLocked makes an operation of r. A change waits for what is older and
// overlaps it, a read for older changes.
func (d *File) acceptLocked(r *Request) *fileOp {
	op := d.free
	if op == nil {
		op = new(fileOp)
	} else {
		d.free, op.next = op.next, nil
	}
	op.r, op.cohort = r, d.current
	op.cohort.left++
	r.Lower = op
	d.all.add(op)
	if ring := d.ringOf(r.Op); ring != nil {
		op.waitFor(&d.changes)
		if ring == &d.changes {
			op.waitFor(&d.reads)
		}
		ring.add(op)
	}
	return op
}

// ringOf gives the ring of those operations that see or change blocks; nil for others.
func (d *File) ringOf(op Op) *opRing {
	switch {
	case op.Changes():
		return &d.changes
	case op == Read || op == Verify:
		return &d.reads
	default:
		return nil
	}
}

// waitFor has op wait for those of a ring that overlap it.
func (op *fileOp) waitFor(ring *opRing) {
	r := op.r
	for o := ring.first; o != nil; o = o.inRange.next {
		if r.Offset < o.r.Offset+o.r.Length && o.r.Offset < r.Offset+r.Length {
			o.blocks = append(o.blocks, op)
			op.waits++
		}
	}
}

func (d *File) readyLocked(op *fileOp) {
	if d.last != nil {
		d.last.next = op
	} else {
		d.ready = op
	}
	d.last = op
	d.wake.Signal()
}

// work is a worker: it carries requests out until the device is closed and
// nothing is left.
func (d *File) work() {
	w := fileWorker{d: d}
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		op := d.ready
		if op == nil {
			if d.closed && d.all.first == nil {
				return
			}
			d.wake.Wait()
			continue
		}
		d.unqueueLocked(nil, op)
		op.started = true
		d.mu.Unlock()
		res := w.do(op.r)
		d.mu.Lock()
		d.endLocked(&w.batch, op, res)
		d.mu.Unlock()
		w.batch.Run()
		d.mu.Lock()
	}
}

// unqueueLocked takes op, which comes after before (nil: it is the first), out
// of the queue.
func (d *File) unqueueLocked(before, op *fileOp) {
	if before == nil {
		d.ready = op.next
	} else {
		before.next = op.next
	}
	if d.last == op {
		d.last = before
	}
	op.next = nil
}

// endLocked completes op, which is in the queue no longer and waits for
// nothing, and lets go what waited for it.
func (d *File) endLocked(b *Batch, op *fileOp, res Result) {
	r := op.r
	d.all.remove(op)
	if ring := d.ringOf(r.Op); ring != nil {
		ring.remove(op)
	}
	for i, o := range op.blocks {
		if o.waits--; o.waits == 0 {
			d.readyLocked(o)
		}
		op.blocks[i] = nil
	}
	op.cohort.left--
	*op = fileOp{blocks: op.blocks[:0], next: d.free}
	d.free = op
	b.Complete(r, res)
	d.tellResetsLocked(b)
	if d.closed && d.all.first == nil {
		d.wake.Broadcast()
	}
}

// Abort ends r when no worker has begun it. One that is in a system call ends
// with its own result.
func (d *File) Abort(b *Batch, r *Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	op, ok := r.Lower.(*fileOp)
	if !ok || op.r != r || op.started {
		return
	}
	if op.waits == 0 {
		var before *fileOp
		for o := d.ready; o != op; o = o.next {
			before = o
		}
		d.unqueueLocked(before, op)
	} else {
		for o := d.all.first; o != op; o = o.inAll.next {
			o.blocks = without(o.blocks, op)
		}
	}
	d.endLocked(b, op, Failed(Aborted))
}

// without takes op, which is there at most once, out of list.
func without(list []*fileOp, op *fileOp) []*fileOp {
	for i, o := range list {
		if o == op {
			copy(list[i:], list[i+1:])
			list[len(list)-1] = nil
			return list[:len(list)-1]
		}
	}
	return list
}

// Reset aborts what no worker has begun and waits for the rest.
func (d *File) Reset(b *Batch, done func(*Batch, Result)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.current
	c.done = done
	d.current = new(cohort)
	d.resets = append(d.resets, c)
	c.left++ // so that it ends below at the earliest, and after older resets
	d.ready, d.last = nil, nil
	for o := d.all.first; o != nil; {
		// Nothing that has not begun is left to be waited for or to wait.
		clear(o.blocks)
		o.blocks = o.blocks[:0]
		next := o.inAll.next
		if !o.started {
			d.endLocked(b, o, Failed(Aborted))
		}
		o = next
	}
	c.left--
	d.tellResetsLocked(b)
}

// tellResetsLocked tells, in order, the resets that have nothing left.
func (d *File) tellResetsLocked(b *Batch) {
	for len(d.resets) > 0 && d.resets[0].left == 0 {
		b.Defer(d.resets[0])
		d.resets[0] = nil
		d.resets = d.resets[1:]
	}
}
