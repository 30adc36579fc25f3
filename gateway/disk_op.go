// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"sync/atomic"

	"pathgate/backends"
	"pathgate/share"
)

// op is one client request on its way. Its parts complete on any goroutine.
// Guarded by Disk.mu, but for the parts' requests, which belong to the router
// until they complete.
type op struct {
	disk       *Disk
	prev, next *op
	parent     *backends.Request
	only       Part    // the one part of most requests
	parts      []*Part // in order of their offset; of a paced op those that are out
	spare      []*Part // for re-use
	cursor     uint64  // where the next part starts
	left       int     // parts that have not completed
	paced      bool
	order      uint64       // counts up; 0: waits at the limiter
	begun      bool         // it has an order, and waits for none that is older
	counted    bool         // in Disk.changes
	late       bool         // sent by another goroutine than its client's: see changeOrder
	compare    compareStage // of a CompareAndWrite that is made of others
	aborted    bool
	result     backends.Result
	waiters    []*op     // later ones that overlap and have to wait
	waitsFor   *op       // the older one that this one waits for
	gate       share.Cmd // how the disk's limiter knows it; it must not move
	gated      bool      // the limiter has to be told of its end
	atGate     bool      // waits for the limiter
	missed     bool      // counted in the limiter's missed
}

// Part is a piece of a client request on one device. It is what the router
// schedules: the request's cost is charged to Flow.
type Part struct {
	backends.Request
	Flow      *Flow
	cmd       share.Cmd // how the scheduler knows it; it must not move
	router    *Router
	op        *op
	at        uint64        // where the part begins in the client request, in bytes
	use       uint64        // counts the uses of this Part, from 1; guarded by Disk.mu
	aborting  atomic.Uint64 // the use that is to be aborted; 0: none
	done      bool
	taken     bool                // given back by the scheduler, never issued
	redriving bool                // told by the device: in flight on a path that went down
	windowed  bool                // counted in passThrough's window
	parked    backends.ParkReason // told by the device, under its lock; 0: not held
}

// opList is the list of outstanding operations.
type opList struct {
	first, last *op
	n           int
}

func (l *opList) add(o *op) {
	o.prev = l.last
	if l.last != nil {
		l.last.next = o
	} else {
		l.first = o
	}
	l.last = o
	l.n++
}

func (l *opList) remove(o *op) {
	if o.prev != nil {
		o.prev.next = o.next
	} else {
		l.first = o.next
	}
	if o.next != nil {
		o.next.prev = o.prev
	} else {
		l.last = o.prev
	}
	o.prev, o.next = nil, nil
	l.n--
}

// takeOpLocked gives an op for r.
func (d *Disk) takeOpLocked(r *backends.Request) *op {
	o := d.free
	if o == nil {
		o = new(op)
	} else {
		d.free = o.next
		o.next = nil
	}
	o.disk, o.parent, o.result = d, r, backends.Done()
	r.Lower = o
	d.ops.add(o)
	return o
}

// takePart gives an empty part of o.
func (o *op) takePart() *Part {
	if len(o.parts) == 0 && !o.paced {
		return &o.only
	}
	if n := len(o.spare); n > 0 {
		p := o.spare[n-1]
		o.spare = o.spare[:n-1]
		return p
	}
	return new(Part)
}

// giveLocked makes o, which has ended, ready for another use.
func (d *Disk) giveLocked(o *op) {
	o.clear()
	o.parent, o.waiters = nil, nil
	o.cursor, o.left, o.paced, o.aborted = 0, 0, false, false
	o.order, o.begun, o.late, o.compare = 0, false, false, asOne
	o.waitsFor, o.gated, o.atGate = nil, false, false
	o.next = d.free
	d.free = o
}

// clear drops all parts, which have completed.
func (o *op) clear() {
	for _, p := range o.parts {
		o.recycle(p)
	}
	clear(o.parts)
	o.parts = o.parts[:0]
}

// recycle empties p, which has completed.
func (o *op) recycle(p *Part) {
	p.Reset()
	if p != &o.only && len(o.spare) < maxTogether {
		o.spare = append(o.spare, p)
	}
}

// drop takes p, which has completed, out of the parts.
func (o *op) drop(p *Part) {
	for i, q := range o.parts {
		if q == p {
			o.parts = append(o.parts[:i], o.parts[i+1:]...)
			o.recycle(p)
			return
		}
	}
}

// locateLocked makes the LBA of a device, where a part has failed, that of the disk.
func (d *Disk) locateLocked(p *Part, s *backends.Sense) {
	at := s.Information * uint64(p.router.Device().Info().LogicalBlock)
	if s.HasInfo = at >= p.Offset && at-p.Offset < p.Length; s.HasInfo {
		s.Information = (p.op.parent.Offset + p.at + at - p.Offset) / uint64(d.info.LogicalBlock)
	}
}
