// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"time"

	"pathgate/backends"
)

// The observer sees each request go out of its window (Park, PathDown) and come
// in again (Unpark after Park, Redrive after PathDown) in strict alternation. A
// request that fell out by PathDown and then has to wait is not parked as well:
// its Redrive comes when it is sent. Parts of a flush are not seen.

// parkLocked holds t back.
func (d *Device) parkLocked(b *backends.Batch, t *task, why backends.ParkReason, behind backends.Range) {
	was := t.parked
	t.parked = why
	if t.downed != nil || t.parent != nil || d.obs == nil {
		return
	}
	if t.told {
		if was == why {
			return
		}
		d.obs.QueueEvent(b, backends.QueueEvent{Kind: backends.Unpark, Request: t.req})
	}
	t.told = true
	d.obs.QueueEvent(b, backends.QueueEvent{Kind: backends.Park, Reason: why, Request: t.req, Behind: behind})
}

// unparkLocked lets t go.
func (d *Device) unparkLocked(b *backends.Batch, t *task) {
	t.parked, t.wake = 0, time.Time{}
	if t.told {
		t.told = false
		d.obs.QueueEvent(b, backends.QueueEvent{Kind: backends.Unpark, Request: t.req})
	}
}

// parkBehindLocked holds back a change that waits for an earlier one.
func (d *Device) parkBehindLocked(b *backends.Batch, t *task) {
	why, behind := backends.ParkOrder, backends.Range{}
	if c := d.order.blocker(t.c); c != nil && c.ghosts > 0 {
		why, behind = backends.ParkFence, backends.Range{Offset: c.off, Length: c.end - c.off}
	}
	d.parkLocked(b, t, why, behind)
}

// movedLocked notes that t, in flight on p when p went down, is on its way again
// (b not nil) or has ended.
func (d *Device) movedLocked(b *backends.Batch, out *outbox, p *Path, t *task, now time.Time) {
	if b != nil && d.obs != nil && t.parent == nil {
		d.obs.QueueEvent(b, backends.QueueEvent{Kind: backends.Redrive, Request: t.req})
	}
	p.moving--
	if p.moving == 0 {
		out.event(Event{Kind: Failover, Device: d.name, Path: p.name, Count: p.movedN, Duration: now.Sub(p.lostAt)})
	}
}

// pathLostLocked takes the loss of p's session. What is in flight there will
// complete soon, by the session.
func (d *Device) pathLostLocked(b *backends.Batch, out *outbox, p *Path, e HealthEvent, loss backends.Loss, now time.Time) {
	wasLive := p.live
	p.live, p.proving, p.sweepAt = false, false, time.Time{}
	p.asked = p.asked && loss.Class == backends.LossRelogin // the login that it waits for
	if wasLive {
		d.serverLostLocked(out, p)
		if p.token != 0 && d.rule.Reservation.AllRegistrants {
			out.kickAll(d) // its key is to go
		}
		if p.moving == 0 {
			p.lostAt, p.movedN = now, 0
		}
		for a := p.first; a != nil; a = a.next {
			if t := a.t; t != nil && t.downed == nil {
				t.downed = p
				p.moving++
				p.movedN++
				if d.obs != nil && t.parent == nil {
					d.obs.QueueEvent(b, backends.QueueEvent{Kind: backends.PathDown, Request: t.req})
				}
			}
		}
	}
	switch loss.Class {
	case backends.LossRelogin, backends.LossClosed, backends.LossLogout:
		p.ours = true
	default:
	}
	reason := loss.Class.String()
	if loss.Err != nil {
		reason = loss.Err.Error()
	}
	n, told := len(out.events), p.reason
	if d.healthLocked(b, out, p, e, reason, now) {
		for i := range out.events[n:] {
			out.events[n+i].Loss = loss.Class
		}
		return
	}
	if !loss.Route.Own() || loss.Class == backends.LossRelogin {
		p.reason = told // the end of a fence's session is not why p is down
	}
	d.pathsChangedLocked(b, out, now)
}
