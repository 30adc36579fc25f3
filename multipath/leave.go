// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"context"
	"slices"
	"time"

	"pathgate/backends"
)

// A path that leaves its device keeps its slot until a new path takes it, since
// sets of paths, selectors and attempts know paths by slot. It is marked left:
// never live, disabled, and with nothing to say of the LUN. Whether a path may
// leave is decided under the device's lock, so nothing is sent on it afterwards.

// busyLocked tells that something of p may still happen: a request in flight, a
// ghost, a flush that only its server can end. Such a path does not leave.
func (p *Path) busyLocked() bool {
	d := p.dev
	if p.first != nil || d.hasGhostLocked(p.name) || d.inUse.Has(p.slot) || p.usableLocked() {
		return true
	}
	s := p.server
	if s == nil || s.slots.Without(p.slot) != 0 {
		return false
	}
	for t := d.firstTask; t != nil; t = t.next {
		if t.server == s {
			return true
		}
	}
	return false
}

// letGo takes p out of its device, if it is idle, and tells whether it was.
func (pt *port) letGo(p *Path, reason string) bool {
	var b backends.Batch
	out := newOutbox()
	now := time.Now()
	d := p.dev
	pt.mu.Lock()
	d.mu.Lock()
	busy := p.busyLocked()
	var old []GhostRecord
	if !busy {
		old = p.opens
		delete(pt.paths, p.lun)
		d.leaveLocked(&b, out, p, now)
		out.event(Event{Kind: PathRemoved, Device: d.name, Path: p.name, Reason: reason})
	}
	d.mu.Unlock()
	pt.mu.Unlock()
	d.send(&b, out)
	b.Run()
	pt.m.dropRecords(p.name, old)
	return !busy
}

func (d *Device) leaveLocked(b *backends.Batch, out *outbox, p *Path, now time.Time) {
	if s := p.server; s != nil {
		s.slots = s.slots.Without(p.slot)
		if s.slots == 0 {
			d.servers = slices.DeleteFunc(d.servers, func(o *server) bool { return o == s })
			d.orphanLocked(out, p, s)
		}
	}
	p.server = nil
	d.leftMask = p.mask
	p.left, p.live, p.health, p.proved, p.opens = true, false, Disabled, false, nil
	p.facts, p.strange, p.sized, p.noLUN, p.swapped = facts{}, nil, false, false, ""
	p.token, p.tokens, p.known, p.markedGen = 0, nil, nil, 0
	p.foreign, p.remark, p.reserved = false, false, 0
	d.pathsChangedLocked(b, out, now)
	d.pumpLocked(b, out, now)
}

// orphanLocked is for the cache of s, to which nothing leads any more.
func (d *Device) orphanLocked(out *outbox, p *Path, s *server) {
	switch {
	case len(s.dirty) == 0:
	case !d.rule.CacheProtected && !d.noCache:
		d.loseLocked(out, p, s, "nothing leads to the cache with unflushed writes any more")
	case len(d.servers) > 0:
		d.servers[0].written++ // what is behind both is to be flushed through it
	}
}

// placeForLocked gives the slot for a new path of d; -1: there is none.
func (d *Device) placeForLocked() int {
	if i := slices.IndexFunc(d.paths, func(p *Path) bool { return p.left && p.first == nil }); i >= 0 {
		return i
	}
	if len(d.paths) == maxPaths {
		return -1
	}
	d.paths = append(d.paths, nil)
	return len(d.paths) - 1
}

// pathCountLocked counts the paths that have not left.
func (d *Device) pathCountLocked() (n int) {
	for _, p := range d.paths {
		if !p.left {
			n++
		}
	}
	return n
}

// forget has the paths of LUNs leave that have been gone for long. listed are those
// that the target reports.
func (pt *port) forget(listed map[uint16]bool) {
	for lun, p := range pt.known() {
		d := p.dev
		d.mu.Lock()
		gone := p.health == Quarantined && p.noLUN && time.Since(p.changed) >= pt.m.cfg.Timers.Reclaim
		d.mu.Unlock()
		if gone && !listed[lun] {
			pt.letGo(p, "the logical unit has been gone for long")
		}
	}
}

// makeRoom has the path of lun leave when another logical unit is there, as it was
// when that was found out: a path is quarantined at once, and moves with the next
// scan. The prove that follows makes it a path of that unit's device.
func (pt *port) makeRoom(ctx context.Context, lun uint16) {
	p := pt.known()[lun]
	if p == nil {
		return
	}
	d := p.dev
	d.mu.Lock()
	swapped := p.swapped
	d.mu.Unlock()
	if swapped == "" {
		return
	}
	if f, err := pt.ask(ctx, pt.prober(lun), lun); err == nil && f.identity.ID == swapped {
		pt.letGo(p, "another logical unit is there: "+swapped)
	}
}

// retired tells that the target does not list pt any more, and has not for long,
// and that all its paths have left. Ghosts and sessions that work keep it.
func (pt *port) retired() bool {
	pt.mu.Lock()
	since := pt.unlisted
	pt.mu.Unlock()
	if since.IsZero() || time.Since(since) < pt.m.cfg.Timers.Reclaim {
		return false
	}
	for _, p := range pt.known() {
		if !pt.letGo(p, "the target does not list this portal any more") {
			return false
		}
	}
	return true
}

// remove takes pt out for good. Of its own goroutine.
func (m *Manager) remove(pt *port) {
	m.adopting.Lock()
	pt.mu.Lock()
	listed := pt.unlisted.IsZero() // again, meanwhile
	pt.ended = !listed
	pt.mu.Unlock()
	if !listed {
		m.mu.Lock()
		m.ports = slices.DeleteFunc(slices.Clone(m.ports), func(o *port) bool { return o == pt })
		m.mu.Unlock()
	}
	m.adopting.Unlock()
	if listed {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.work), time.Second)
	defer cancel()
	_ = pt.nexus.Close(ctx) // not logged in: there is nothing to confirm
	m.event(Event{Kind: TargetRemoved, Path: pt.name(), Reason: pt.target + " at " + pt.portal})
}

// provedIn tells whether p was proved in that login already.
func (p *Path) provedIn(gen uint64) bool {
	p.dev.mu.Lock()
	defer p.dev.mu.Unlock()
	return p.okGen == gen
}

// note keeps which other logical unit was found on p.
func (p *Path) note(f *facts) {
	p.dev.mu.Lock()
	defer p.dev.mu.Unlock()
	p.swapped = ""
	if f.identity.ID != p.dev.identity.ID {
		p.swapped = f.identity.ID
	}
}

// deniedLocked counts logins that were told that there is no such target, and tells
// whether that is to be believed: a target that starts may not have all of itself
// yet, so it is asked once more after Timers.Gone.
func (pt *port) deniedLocked(loss backends.Loss, now time.Time) bool {
	if !loss.Gone {
		pt.denied = 0
		return false
	}
	pt.denied++
	pt.deniedAt = now
	return pt.denied > 1
}

// idle is the step of a port without a session and without ghosts.
func (pt *port) idle(s snapshot) time.Duration {
	pt.release()
	pt.retire()
	if pt.retired() {
		pt.m.remove(pt)
		return 0
	}
	if !s.loss.Route.Own() || s.gone == 1 {
		pt.mu.Lock()
		pt.loss.Route = backends.Route{}
		pt.mu.Unlock()
		pt.nexus.Relogin(backends.Route{})
		return 0
	}
	pt.mu.Lock()
	defer pt.mu.Unlock()
	if pt.unlisted.IsZero() {
		return s.gone
	}
	return sooner(s.gone, max(time.Until(pt.unlisted.Add(pt.m.cfg.Timers.Reclaim)), time.Second))
}

func (pt *port) isEnded() bool {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	return pt.ended
}
