// SPDX-License-Identifier: Apache-2.0

package share

// queue is the commands of a flow that wait, in order, linked through the
// commands themselves. The zero queue is empty.
type queue struct {
	first, last *Cmd
	n           int
	units       Unit // sum of costs
}

func (q *queue) pushBack(c *Cmd) {
	c.prev, c.next = q.last, nil
	if q.last != nil {
		q.last.next = c
	} else {
		q.first = c
	}
	q.last = c
	q.n++
	q.units += c.cost
}

func (q *queue) pushFront(c *Cmd) {
	c.prev, c.next = nil, q.first
	if q.first != nil {
		q.first.prev = c
	} else {
		q.last = c
	}
	q.first = c
	q.n++
	q.units += c.cost
}

func (q *queue) remove(c *Cmd) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		q.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		q.last = c.prev
	}
	c.prev, c.next = nil, nil
	q.n--
	q.units -= c.cost
}

// ring is the flows of no shares that wait, in the order of their turns.
type ring struct{ first, last *flow }

func (r *ring) push(f *flow) {
	if f.inZero {
		return
	}
	f.inZero = true
	f.zprev, f.znext = r.last, nil
	if r.last != nil {
		r.last.znext = f
	} else {
		r.first = f
	}
	r.last = f
}

func (r *ring) remove(f *flow) {
	if !f.inZero {
		return
	}
	f.inZero = false
	if f.zprev != nil {
		f.zprev.znext = f.znext
	} else {
		r.first = f.znext
	}
	if f.znext != nil {
		f.znext.zprev = f.zprev
	} else {
		r.last = f.zprev
	}
	f.zprev, f.znext = nil, nil
}
