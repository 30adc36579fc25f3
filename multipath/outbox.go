// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"sync"

	"pathgate/backends"
)

// outbox collects under the device's lock what has to be done without it. It is
// filled by functions that end in Locked and emptied by Device.send.
type outbox struct {
	lanes  []lane
	n      int // lanes in use
	aborts []*attempt
	drops  []*port
	kicks  []*port
	execs  []exec
	events []Event
	stored []storeOp
	change backends.Change
	wake   bool
}

// lane is the requests for one session.
type lane struct {
	sess backends.Session
	reqs []*backends.Request
}

// exec is a command for a session that is no request.
type exec struct {
	sess backends.Session
	cmd  *backends.Command
}

// outboxes keeps outboxes for re-use; they hold capacity, never content.
var outboxes = sync.Pool{New: func() any { return new(outbox) }}

func newOutbox() *outbox { return outboxes.Get().(*outbox) }

// add puts r at the end of its session's lane.
func (o *outbox) add(s backends.Session, r *backends.Request) {
	for i := range o.lanes[:o.n] {
		if o.lanes[i].sess == s {
			o.lanes[i].reqs = append(o.lanes[i].reqs, r)
			return
		}
	}
	if o.n == len(o.lanes) {
		o.lanes = append(o.lanes, lane{})
	}
	l := &o.lanes[o.n]
	o.n++
	l.sess = s
	l.reqs = append(l.reqs[:0], r)
}

func (o *outbox) exec(s backends.Session, c *backends.Command) {
	o.execs = append(o.execs, exec{s, c})
}

func (o *outbox) event(e Event) { o.events = append(o.events, e) }

func (o *outbox) kick(p *port) {
	if p != nil {
		o.kicks = append(o.kicks, p)
	}
}

// send does what o holds, in an order that keeps requests first, and gives o
// back. No lock is held.
func (d *Device) send(b *backends.Batch, o *outbox) {
	for i := range o.lanes[:o.n] {
		l := &o.lanes[i]
		l.sess.Submit(b, l.reqs)
		clear(l.reqs)
		l.sess, l.reqs = nil, l.reqs[:0]
	}
	o.n = 0
	for i, a := range o.aborts {
		a.path.sess.TMF(b, &a.tm)
		o.aborts[i] = nil
	}
	o.aborts = o.aborts[:0]
	for i, e := range o.execs {
		e.sess.Exec(b, e.cmd)
		o.execs[i] = exec{}
	}
	o.execs = o.execs[:0]
	for i, p := range o.drops {
		p.drop()
		o.drops[i] = nil
	}
	o.drops = o.drops[:0]
	if len(o.stored) > 0 {
		d.m.keeper.add(o.stored)
		clear(o.stored)
		o.stored = o.stored[:0]
	}
	for i, p := range o.kicks {
		p.wake()
		o.kicks[i] = nil
	}
	o.kicks = o.kicks[:0]
	for _, e := range o.events {
		d.m.event(e)
	}
	clear(o.events)
	o.events = o.events[:0]
	if o.wake {
		o.wake = false
		d.wakeTimer()
	}
	if c := o.change; c != 0 {
		o.change = 0
		d.watchers.Tell(c)
	}
	outboxes.Put(o)
}
