// SPDX-License-Identifier: Apache-2.0

package multipath

// change is one request that may change the medium, from its arrival until
// nothing of it can change the medium any more: the request is done, no attempt
// of it is in flight, and each attempt whose end is not known is fenced. Later
// overlapping changes wait for that.
type change struct {
	off, end   uint64 // bytes, [off, end)
	t          *task  // nil once the request is done
	holds      int    // the request, each attempt in flight, each ghost
	ghosts     int    // of holds
	blockers   int    // earlier overlapping changes
	waiters    int    // later overlapping changes
	prev, next *change
}

func (c *change) overlaps(off, end uint64) bool { return c.off < end && off < c.end }

const (
	granuleBits = 18   // 256 KiB
	buckets     = 1024 // power of two
	wideSpan    = 8    // granules; a longer change is counted as wide
)

// orderTable holds the changes in order of arrival and finds out which overlap.
// Most do not, and that is told by a counting filter over granules, without
// looking at the changes. The zero table is ready. Not safe for concurrent use.
//
// Invariant: a change has no blockers exactly when no earlier overlapping one is
// in the table.
type orderTable struct {
	first, last *change
	n           int
	wide        int
	filter      [buckets]uint32
	free        *change
}

func bucketOf(granule uint64) uint64 {
	return granule * 0x9e3779b97f4a7c15 >> (64 - 10)
}

// clear tells that nothing can overlap the range.
func (o *orderTable) clear(off, end uint64) bool {
	if o.n == 0 {
		return true
	}
	from, to := off>>granuleBits, (end-1)>>granuleBits
	if o.wide > 0 || to-from >= wideSpan {
		return false
	}
	for g := from; g <= to; g++ {
		if o.filter[bucketOf(g)] != 0 {
			return false
		}
	}
	return true
}

func (o *orderTable) count(c *change, d int) {
	from, to := c.off>>granuleBits, (c.end-1)>>granuleBits
	if to-from >= wideSpan {
		o.wide += d
		return
	}
	for g := from; g <= to; g++ {
		o.filter[bucketOf(g)] += uint32(d)
	}
}

// add puts a change of t at the end, with one hold, and tells by its blockers
// whether it has to wait. The range is not empty.
func (o *orderTable) add(off, end uint64, t *task) *change {
	c := o.free
	if c == nil {
		c = new(change)
	} else {
		o.free = c.next
		c.next = nil
	}
	c.off, c.end, c.t, c.holds = off, end, t, 1
	if !o.clear(off, end) {
		for e := o.first; e != nil; e = e.next {
			if e.overlaps(off, end) {
				e.waiters++
				c.blockers++
			}
		}
	}
	o.count(c, 1)
	c.prev = o.last
	if o.last != nil {
		o.last.next = c
	} else {
		o.first = c
	}
	o.last = c
	o.n++
	return c
}

// addGhost puts a ghost of an earlier run in front of everything.
func (o *orderTable) addGhost(off, end uint64) *change {
	c := &change{off: off, end: end, holds: 1, ghosts: 1, next: o.first}
	for e := o.first; e != nil; e = e.next {
		if e.overlaps(off, end) {
			c.waiters++
			e.blockers++
		}
	}
	o.count(c, 1)
	if o.first != nil {
		o.first.prev = c
	} else {
		o.last = c
	}
	o.first = c
	o.n++
	return c
}

// drop gives one hold of c back. When it was the last one, c leaves the table,
// and freed is called for each change that has no blocker any more, in order.
func (o *orderTable) drop(c *change, freed func(*change)) {
	c.holds--
	if c.holds > 0 {
		return
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		o.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		o.last = c.prev
	}
	o.n--
	o.count(c, -1)
	for e := c.next; e != nil && c.waiters > 0; e = e.next {
		if !e.overlaps(c.off, c.end) {
			continue
		}
		c.waiters--
		e.blockers--
		if e.blockers == 0 {
			freed(e)
		}
	}
	// A change that is given up while it waits still stands behind its blockers.
	for e := c.prev; e != nil && c.blockers > 0; e = e.prev {
		if e.overlaps(c.off, c.end) {
			c.blockers--
			e.waiters--
		}
	}
	*c = change{next: o.free}
	o.free = c
}

// blocker gives an earlier change that c waits for: one with ghosts, if there is
// one. nil: none.
func (o *orderTable) blocker(c *change) *change {
	var found *change
	for e := c.prev; e != nil; e = e.prev {
		if !e.overlaps(c.off, c.end) {
			continue
		}
		if e.ghosts > 0 {
			return e
		}
		found = e
	}
	return found
}
