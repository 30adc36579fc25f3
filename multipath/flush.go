// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"slices"
	"time"

	"pathgate/backends"
)

// server is one device server as far as its cache goes: what has a target name, and
// where tokens tell processes of one name apart, one of those. A flush reaches only
// the cache of the server that it is sent to.
type server struct {
	name    string
	slots   PathSet
	written uint64 // changes that completed there without being durable
	flushed uint64 // of them, those that a flush has covered
	dirty   spans  // those that none has covered, but for inherited
	// doubt: its last session was lost over changes that are not durable. Whether
	// it still has them is told by its tokens, before a path is used again.
	doubt bool
}

// inherited is what written starts with: an earlier run may have left changes.
const inherited = 1

func (s *server) needsFlush() bool { return s.written > s.flushed }

// newServerLocked makes the server of p and perhaps others.
func (d *Device) newServerLocked(p *Path) *server {
	s := &server{name: p.port.target, written: inherited}
	d.servers = append(d.servers, s)
	return s
}

// serverOf gives p's server; a new path joins that of its target name.
func (d *Device) serverOf(p *Path) *server {
	if p.server == nil {
		for _, s := range d.servers {
			if s.name == p.port.target {
				p.server = s
			}
		}
		if p.server == nil {
			p.server = d.newServerLocked(p)
		}
		p.server.slots = p.server.slots.With(p.slot)
	}
	return p.server
}

// moveLocked has p belong to another server.
func (d *Device) moveLocked(out *outbox, p *Path, to *server) {
	from := d.serverOf(p)
	if from == to {
		return
	}
	from.slots = from.slots.Without(p.slot)
	p.server = to
	to.slots = to.slots.With(p.slot)
	if from.slots != 0 {
		return
	}
	switch {
	case !from.needsFlush():
	case d.rule.CacheProtected || d.noCache:
		to.written++ // what is behind both is to be flushed through to
	default:
		d.loseLocked(out, p, from, "nothing leads to the cache with unflushed writes any more")
	}
	d.servers = slices.DeleteFunc(d.servers, func(s *server) bool { return s == from })
}

// placeLocked finds p's server after a login: before are the keys that the LUN had
// then, and p.token and p.known are up to date.
func (d *Device) placeLocked(out *outbox, p *Path, before []uint64) {
	s := d.serverOf(p)
	survived := false
	for _, q := range d.paths {
		if q.server == s {
			survived = survived || slices.ContainsFunc(q.tokens, func(k uint64) bool { return slices.Contains(before, k) })
		}
	}
	if s.doubt && !survived {
		d.loseLocked(out, p, s, "the target does not know us any more: its cache is gone, with unflushed writes")
	}
	s.doubt = false
	if p.token == 0 {
		return
	}
	apart := false
	for _, q := range d.paths {
		if q == p || q.port.target != p.port.target || q.token == 0 || !q.live || q.markedGen != q.gen {
			continue
		}
		if p.togetherLocked(q) {
			d.moveLocked(out, p, d.serverOf(q))
			return
		}
		apart = apart || d.serverOf(q) == s
	}
	if apart {
		d.moveLocked(out, p, d.newServerLocked(p))
	}
}

// wroteLocked notes that a change of a range completed on p. What was lost of the
// range is not missed any more.
func (d *Device) wroteLocked(p *Path, off, end uint64, durable bool) {
	if len(d.debt) > 0 {
		d.debt.cut(off, end)
	}
	if durable {
		return
	}
	s := d.serverOf(p)
	s.written++
	if !d.noCache {
		s.dirty.add(off, end, s.written)
	}
}

// loseLocked notes that changes that s had in its cache may be lost. A flush fails
// from now on, until what is lost was written again (P13): a client that is told
// once and then that all is well would go on with old data.
func (d *Device) loseLocked(out *outbox, p *Path, s *server, reason string) {
	d.owe(s.dirty.until(s.written))
	s.flushed = max(s.flushed, s.written)
	if len(d.debt) > 0 {
		out.event(Event{Kind: FlushLost, Device: d.name, Path: p.name, Reason: reason})
	}
}

func (d *Device) owe(lost spans) {
	for _, e := range lost {
		d.debt.cut(e.off, e.end)
		d.debt.add(e.off, e.end, 0)
	}
}

// serverLostLocked notes that p's session is lost. When it was the last one to
// its server, nothing proves that the server's cache is still what it was.
func (d *Device) serverLostLocked(out *outbox, p *Path) {
	s := d.serverOf(p)
	marked := p.token != 0
	for _, q := range d.paths {
		if q.server == s && q.live {
			return
		}
		marked = marked || q.server == s && q.token != 0
	}
	if s.written <= max(s.flushed, inherited) || d.noCache || d.rule.CacheProtected || d.closed {
		return
	}
	if marked {
		s.doubt = true
		return
	}
	d.loseLocked(out, p, s, "all sessions to the target were lost with unflushed writes in its cache")
}

// flushPathsLocked gives the paths that reach the cache of s. Where caches are
// protected and none of its own lives, any path will do.
func (d *Device) flushPathsLocked(s *server) PathSet {
	if d.rule.CacheProtected && d.usableLocked()&s.slots == 0 {
		return ^PathSet(0)
	}
	return s.slots
}

// flushLostResult is what a flush over lost writes ends with.
func flushLostResult(*task) backends.Result {
	return backends.Result{Class: backends.Medium, Sent: backends.SentNone}
}

// flushFailedLocked notes that a SYNCHRONIZE CACHE for t was answered with an error.
// What it should have made durable may be lost, and a server may forget: the next
// one would go well (as fsync does).
func (d *Device) flushFailedLocked(out *outbox, t *task, p *Path, res backends.Result) {
	switch res.Class {
	case backends.Medium, backends.NoSpace, backends.DataProtect, backends.Miscompare, backends.ReservationConflict:
	case backends.OK, backends.Transport, backends.Busy, backends.IllegalRequest, backends.Unsupported,
		backends.NoPath, backends.Aborted:
		return
	}
	if d.rule.CacheProtected {
		return
	}
	d.owe(t.server.dirty.until(t.seq))
	if len(d.debt) > 0 {
		out.event(Event{Kind: FlushLost, Device: d.name, Path: p.name, Reason: "a flush failed: " + res.Err().Error()})
	}
}

// startFlushLocked begins a client's flush: one SYNCHRONIZE CACHE to each server
// that has changes since its last good one.
func (d *Device) startFlushLocked(b *backends.Batch, out *outbox, t *task, now time.Time) {
	n := 0
	for _, s := range d.servers {
		if s.needsFlush() {
			t.server = s
			n++
		}
	}
	switch {
	case len(d.debt) > 0:
		d.finishLocked(b, out, t, flushLostResult(t), now)
	case n == 0 || d.noCache:
		d.finishLocked(b, out, t, backends.Done(), now)
	case n == 1:
		d.routeLocked(b, out, t, now)
	default:
		t.server, t.parts = nil, n
		t.result = backends.Done()
		for _, s := range d.servers {
			if s.needsFlush() {
				d.startPartLocked(b, out, t, s, now)
			}
		}
	}
}

// startPartLocked begins the part of flush t that goes to s.
func (d *Device) startPartLocked(b *backends.Batch, out *outbox, t *task, s *server, now time.Time) {
	p := d.newTaskLocked(t.req, now)
	p.own.Op, p.own.Origin = backends.Flush, t.req.Origin
	p.req, p.parent, p.server = &p.own, t, s
	p.off, p.end = 0, 0
	d.routeLocked(b, out, p, now)
}

// partDoneLocked takes the end of one part of flush t; the first failure counts.
func (d *Device) partDoneLocked(b *backends.Batch, out *outbox, t *task, res backends.Result, now time.Time) {
	if t.result.OK() && !res.OK() {
		t.result = res
	}
	if t.parts--; t.parts == 0 {
		d.finishLocked(b, out, t, t.result, now)
	}
}

// flushedLocked notes that a SYNCHRONIZE CACHE for t has ended well.
func (d *Device) flushedLocked(t *task) {
	if s := t.server; s != nil {
		s.flushed = max(s.flushed, t.seq)
		s.dirty.forget(t.seq)
	}
}

// fuaFlushLocked makes a change durable that was asked to be, on a LUN that does
// not take the FUA bit.
func (d *Device) fuaFlushLocked(b *backends.Batch, out *outbox, t *task, p *Path, now time.Time) {
	if d.noCache {
		d.finishLocked(b, out, t, backends.Done(), now)
		return
	}
	t.phase2, t.server, t.tried = true, d.serverOf(p), 0
	d.routeLocked(b, out, t, now)
}
