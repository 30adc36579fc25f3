// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"math"

	"pathgate/backends"
)

// This file keeps the order of changes over connections (HAZARDS H4): a change waits
// for every earlier outstanding one of another connection that it overlaps. So a
// client that sends something again over another connection, and then something newer,
// is never overtaken by what it sent first.
//
// The devices below keep the order in which changes come to them. That order is the
// client's as long as one goroutine hands them down one after the other, which is so
// for those of one connection. Changes of two connections may pass each other between
// Disk.mu and the device, and so may those that had to wait in the disk and are sent
// by whoever lets them go: they are called late here.

const (
	orderGranule = 14 // log2 of the bytes that a counter of the filter stands for
	orderBuckets = 14 // log2 of the number of counters
	// orderWide is the most granules of a change that is counted in the filter.
	orderWide = 64
	// orderCalm is how many changes in a row that need no filter give it up.
	orderCalm = 1024
)

// changeOrder knows the outstanding changes of a disk. While they are of one connection
// and none is late, that is their number; else a counting filter tells most of them
// that they overlap nothing. Guarded by Disk.mu. The zero value is ready.
type changeOrder struct {
	n      int              // outstanding changes that have an order
	origin *backends.Origin // of the last one
	mixed  bool             // the filter is in use: all n are in it
	calm   int              // how many in a row came that did not need it
	wide   int              // of n: those that are too long for the filter
	filter *[1 << orderBuckets]uint16
}

// orderLocked takes o in, a change that has just got its order, or goes on after a
// wait. It tells whether o may overlap an older change that it has to wait for.
func (d *Disk) orderLocked(o *op) (look bool) {
	c, r := &d.changes, o.parent
	if o.counted {
		o.late = true
		d.mixLocked()
		return true
	}
	switch o.late = o.gated; {
	case o.late, c.n > 0 && c.origin != r.Origin:
		d.mixLocked()
		c.calm = 0
	case c.mixed:
		if c.calm++; c.n == 0 && c.calm > orderCalm {
			c.mixed = false
		}
	}
	c.origin = r.Origin
	c.n++
	o.counted = true
	if !c.mixed {
		return false
	}
	look = c.wide > 0 || c.hit(r)
	c.add(r, 1)
	return look
}

// endOrderLocked takes o out.
func (d *Disk) endOrderLocked(o *op) {
	c := &d.changes
	o.counted = false
	c.n--
	if c.mixed {
		c.add(o.parent, -1)
	}
}

// mixLocked puts the filter to use.
func (d *Disk) mixLocked() {
	c := &d.changes
	if c.mixed {
		return
	}
	c.mixed, c.calm = true, 0
	if c.filter == nil {
		c.filter = new([1 << orderBuckets]uint16)
	}
	for x, left := d.ops.first, c.n; left > 0; x = x.next {
		if x.counted {
			c.add(x.parent, 1)
			left--
		}
	}
}

// granules are those that r touches.
func granules(r *backends.Request) (first, last uint64) {
	return r.Offset >> orderGranule, (r.Offset + r.Length - 1) >> orderGranule
}

func bucketOf(granule uint64) uint64 { return granule * 0x9e3779b97f4a7c15 >> (64 - orderBuckets) }

// add counts r n times.
func (c *changeOrder) add(r *backends.Request, n int) {
	first, last := granules(r)
	if last-first >= orderWide {
		c.wide += n
		return
	}
	for g := first; g <= last; g++ {
		c.filter[bucketOf(g)] += uint16(n)
	}
}

// hit tells whether r may overlap what is in the filter; false is certain.
func (c *changeOrder) hit(r *backends.Request) bool {
	first, last := granules(r)
	if last-first >= orderWide || c.n > math.MaxUint16 { // or a counter may be at 0 again
		return c.n > 0
	}
	for g := first; g <= last; g++ {
		if c.filter[bucketOf(g)] != 0 {
			return true
		}
	}
	return false
}

// follows tells whether o, a change that overlaps the older change x, has to wait for
// it: x is of another connection, or late; is sent piece by piece, so that a late piece
// could land over o; or waits itself.
func (o *op) follows(x *op) bool {
	return x.parent.Origin != o.parent.Origin || x.late || x.paced || !x.begun
}
