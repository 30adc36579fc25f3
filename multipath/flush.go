// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"time"

	"pathgate/backends"
)

// server is one device server as far as its cache goes: a target name. A flush
// reaches only the cache of the server that it is sent to.
type server struct {
	name    string
	slots   PathSet
	written uint64 // changes that completed there without being durable
	flushed uint64 // of them, those that a flush has covered
	// lost: acknowledged changes may be gone; the next flush fails, once.
	lost bool
}

// inherited is what written starts with: an earlier run may have left changes.
const inherited = 1

func (s *server) dirty() bool { return s.written > s.flushed }

func (d *Device) serverOf(p *Path) *server {
	for _, s := range d.servers {
		if s.name == p.port.target {
			return s
		}
	}
	s := &server{name: p.port.target, written: inherited}
	d.servers = append(d.servers, s)
	return s
}

// wroteLocked notes a change that completed on p without being durable.
func (d *Device) wroteLocked(p *Path) { d.serverOf(p).written++ }

// serverLostLocked notes that p's session is lost. When it was the last one to
// its server, nothing proves that the server's cache is still what it was.
func (d *Device) serverLostLocked(out *outbox, p *Path) {
	s := d.serverOf(p)
	for _, q := range d.paths {
		if q.live && q.port.target == s.name {
			return
		}
	}
	if s.written <= max(s.flushed, inherited) || d.noCache || d.rule.CacheProtected || d.closed {
		return
	}
	s.lost = true
	out.event(Event{Kind: FlushLost, Device: d.name, Path: p.name, Reason: "all sessions to the target were lost with unflushed writes in its cache"})
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

// flushLostLocked tells whether the changes that t has to make durable may be
// lost, and takes note that t's client is told.
func (d *Device) flushLostLocked(t *task) bool {
	s := t.server
	if !s.lost {
		return false
	}
	s.lost, s.flushed = false, s.written
	return true
}

// startFlushLocked begins a client's flush: one SYNCHRONIZE CACHE to each server
// that has changes since its last good one.
func (d *Device) startFlushLocked(b *backends.Batch, out *outbox, t *task, now time.Time) {
	n := 0
	lost := false
	for _, s := range d.servers {
		if s.lost {
			s.lost, s.flushed = false, s.written
			lost = true
		}
		if s.dirty() {
			t.server = s
			n++
		}
	}
	switch {
	case lost:
		d.finishLocked(b, out, t, flushLostResult(t), now)
	case n == 0 || d.noCache:
		d.finishLocked(b, out, t, backends.Done(), now)
	case n == 1:
		d.routeLocked(b, out, t, now)
	default:
		t.server, t.parts = nil, n
		t.result = backends.Done()
		for _, s := range d.servers {
			if s.dirty() {
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
