// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"slices"
	"time"

	"pathgate/backends"
)

// ghost is a change that may still run at a target: it was sent, at least in
// part, and its end is not known (HAZARDS section 4 rules 1 and 4). Guarded by
// the device's lock.
type ghost struct {
	d    *Device
	c    *change
	path string // its name; the path itself may not be known (earlier run)
	port *port  // nil: not configured, or not found yet
	lun  uint16
	gen  uint64 // login that carried it; 0 = of an earlier run
	key  uint64 // that the path registered in that login
	at   time.Time
	rec  GhostRecord
	kept bool   // the store has it
	over string // fenced by that method, but not kept yet
	why  string // it is not fenced yet; "": nothing has failed
}

// ghostLocked holds the range of a, whose end is not known.
func (d *Device) ghostLocked(b *backends.Batch, out *outbox, a *attempt, now time.Time) {
	p := a.path
	gen := a.req.Attempt.Generation
	if gen == 0 {
		gen = a.gen
	}
	if gen < p.fenced || d.m.cfg.fenceOff || unfenced {
		return
	}
	g := &ghost{d: d, c: a.c, path: p.name, port: p.port, lun: p.lun, gen: gen, key: p.keyIn(gen), at: now, rec: GhostRecord{
		Device: d.key, Path: p.name, Offset: a.c.off, Length: a.c.end - a.c.off,
		Run: d.m.cfg.Run, Generation: gen, Target: p.port.target, Portal: p.port.portal, Tagged: true, GroupTag: p.tag,
		ITT: a.req.Attempt.ITT, CmdSN: a.req.Attempt.CmdSN, Time: now,
	}}
	first := !slices.ContainsFunc(d.ghosts, func(o *ghost) bool { return o.path == g.path })
	a.c.ghosts++
	a.c.holds++
	d.ghosts = append(d.ghosts, g)
	out.stored = append(out.stored, storeOp{put: true, g: g, rec: g.rec})
	out.kick(p.port)
	if d.rule.Quiesce > 0 {
		d.dueLocked(out, now.Add(d.rule.Quiesce))
	}
	if first {
		out.event(Event{Kind: GhostHeld, Device: d.name, Path: p.name, Count: 1})
	}
	d.regardLocked(b, a.c)
}

// regardLocked tells those that wait behind c, in order, that they now wait for
// a fence.
func (d *Device) regardLocked(b *backends.Batch, c *change) {
	if c.waiters == 0 {
		return
	}
	for e := c.next; e != nil; e = e.next {
		if e.t != nil && e.t.parked == backends.ParkOrder && e.overlaps(c.off, c.end) {
			d.parkLocked(b, e.t, backends.ParkFence, backends.Range{Offset: c.off, Length: c.end - c.off})
		}
	}
}

// adoptGhostLocked holds the range of a ghost of an earlier run.
func (d *Device) adoptGhostLocked(rec GhostRecord, key uint64, pt *port, lun uint16, now time.Time) {
	off, end := rec.Offset, rec.Offset+rec.Length
	if rec.Whole || end <= off {
		off, end = 0, max(d.base.size, 1)
	}
	d.ghosts = append(d.ghosts, &ghost{
		d: d, c: d.order.addGhost(off, end), path: rec.Path, port: pt, lun: lun, key: key, at: now, rec: rec, kept: true,
	})
}

// fencedLocked lets go all ghosts that choose names, and tells how many.
func (d *Device) fencedLocked(b *backends.Batch, out *outbox, choose func(*ghost) bool, method string, now time.Time) (n int) {
	list := d.ghosts
	d.ghosts = nil
	for _, g := range list {
		switch {
		case !choose(g):
			d.ghosts = append(d.ghosts, g)
		case !g.kept:
			// Its record is on the way to the store. Behind it comes the removal,
			// and only then a later change may go.
			g.over = method
			d.ghosts = append(d.ghosts, g)
			n++
		default:
			d.releaseLocked(b, out, g, now)
			n++
		}
	}
	return n
}

// releaseLocked drops g's hold of its range.
func (d *Device) releaseLocked(b *backends.Batch, out *outbox, g *ghost, now time.Time) {
	out.stored = append(out.stored, storeOp{g: g, rec: g.rec})
	c := g.c
	c.ghosts--
	if t := c.t; t != nil && t.fencing && c.ghosts == 0 {
		// Carried out or not, it runs no more: the client decides.
		d.finishLocked(b, out, t, backends.Result{Class: backends.Aborted, Sent: backends.SentAnswered}, now)
	}
	d.order.drop(c, d.freed)
	d.stillLocked()
}

// ghostKept is called when g's record is in the store.
func (d *Device) ghostKept(b *backends.Batch, g *ghost) {
	out := newOutbox()
	now := time.Now()
	d.mu.Lock()
	g.kept = true
	if g.over != "" {
		d.ghosts = slices.DeleteFunc(d.ghosts, func(o *ghost) bool { return o == g })
		d.releaseLocked(b, out, g, now)
	}
	d.pumpLocked(b, out, now)
	d.mu.Unlock()
	d.send(b, out)
}

// quiesceLocked lets go the ghosts that are older than the rule's quiesce time.
func (d *Device) quiesceLocked(b *backends.Batch, out *outbox, now time.Time) {
	q := d.rule.Quiesce
	if q <= 0 || len(d.ghosts) == 0 {
		return
	}
	held := d.heldWritesLocked()
	n := d.fencedLocked(b, out, func(g *ghost) bool { return g.over == "" && now.Sub(g.at) >= q }, "timed", now)
	if n > 0 {
		d.countLocked("timed", true)
		out.event(Event{Kind: FenceDone, Device: d.name, Method: "timed", Count: n, Held: held, Duration: q})
	}
	for _, g := range d.ghosts {
		if g.over == "" { // the others wait for the store, and not for a time
			d.dueLocked(out, g.at.Add(q))
		}
	}
}

// heldWritesLocked counts the changes that wait for a fence.
func (d *Device) heldWritesLocked() (n int) {
	for t := d.firstTask; t != nil; t = t.next {
		if t.parked == backends.ParkFence {
			n++
		}
	}
	return n
}

// Held implements backends.Holder: the ranges of the device's ghosts.
func (d *Device) Held(list []backends.Range, within backends.Range) []backends.Range {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, g := range d.ghosts {
		if r, ok := within.Intersect(backends.Range{Offset: g.c.off, Length: g.c.end - g.c.off}); ok {
			list = append(list, r)
		}
	}
	return list
}

// strayIn tells that g's session was with another portal group: a login to this one
// does not replace it.
func (g *ghost) strayIn(tag uint16) bool { return g.rec.Tagged && g.rec.GroupTag != tag }

// ghostsOn counts the ghosts on a port by the generations below gen that want names,
// by LUN.
func (d *Device) ghostsOn(pt *port, gen uint64, want func(*ghost) bool) (luns map[uint16]int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, g := range d.ghosts {
		if g.port == pt && g.gen < gen && g.over == "" && want(g) {
			if luns == nil {
				luns = map[uint16]int{}
			}
			luns[g.lun]++
		}
	}
	return luns
}
