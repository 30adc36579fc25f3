// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"fmt"
	"math"
	"time"

	"pathgate/backends"
)

// streakLimit failures in a row take a path down, whatever a checker says.
const streakLimit = 3

// maxFailback bounds the failback delay of a path that fails again and again.
const maxFailback = 4 * time.Minute

// healthLocked applies e to p and does what follows; it tells whether the
// state has changed.
func (d *Device) healthLocked(b *backends.Batch, out *outbox, p *Path, e HealthEvent, reason string, now time.Time) bool {
	was := p.health
	h, changed := nextHealth(was, e)
	if h == Marginal && (e == EventSlow || changed) {
		d.probateLocked(out, p, e, now)
	}
	if !changed {
		if h == Down || h == Quarantined {
			p.reason = reason // the latest
		}
		return false
	}
	p.health, p.reason, p.changed, p.streak, p.unready = h, reason, now, 0, false
	p.rememberLocked(reason, now)
	d.guardLocked(p, e, now)
	d.dueLocked(out, p.check.next)
	ev := Event{Device: d.name, Path: p.name, Health: h, Reason: reason}
	switch h {
	case Up:
		ev.Kind = PathUp
		d.choice.left = d.choice.left.Without(p.slot) // its probation was enough
		if was == Marginal {
			ev.Kind = Failback
			p.reason = ""
		}
	case Marginal:
		ev.Kind = PathUp
		if was == Up {
			ev.Kind = PathSlow
			if e == EventErrors {
				ev.Kind = PathUnreliable
			}
		}
	case Down:
		ev.Kind = PathDown
		if now.Sub(p.stableAt) > maxFailback {
			p.fails = 0
		} else if p.fails < math.MaxUint8 {
			p.fails++
		}
		out.kick(p.port)
	case Quarantined:
		ev.Kind = PathQuarantined
		out.kick(p.port)
	case Disabled:
		ev.Kind = PathDisabled
		p.kept, p.asked = false, false
	case Unknown:
		ev.Kind = PathEnabled
		out.kick(p.port)
	}
	out.event(ev)
	d.pathsChangedLocked(b, out, now)
	return true
}

// effectLocked applies what the end of an attempt says about its path.
func (d *Device) effectLocked(b *backends.Batch, out *outbox, p *Path, v verdict, res backends.Result, now time.Time) {
	if v.flushLost {
		d.loseLocked(out, p, d.serverOf(p), "deferred error "+res.Sense.String())
	}
	switch v.effect {
	case effectNone, effectRecheck, effectSlower, effectUnsupported, effectProtected:
		// A unit attention comes as one, too: there it has its effect.
		if res.OK() {
			p.streak = 0
		}
	case effectStreak:
		if p.streak++; p.streak >= streakLimit {
			d.healthLocked(b, out, p, EventFault, fmt.Sprintf("%d failures in a row, last %v", p.streak, res.Err()), now)
		}
		if v.class != backends.Medium { // else it may be the medium's fault
			d.faultLocked(b, out, p, now)
		}
	case effectFault:
		d.healthLocked(b, out, p, EventFault, res.Err().Error(), now)
		p.unready = p.health == Down
	case effectRefuse:
		p.noLUN = res.Class == backends.NoPath || v.class == backends.NoPath
		d.healthLocked(b, out, p, EventRefused, res.Err().Error(), now)
		d.checkGoneLocked(b, out, now)
	case effectStandby:
		d.accessLocked(b, out, p, SenseStandby, now)
	case effectUnavailable:
		d.accessLocked(b, out, p, SenseUnavailable, now)
	case effectTransition:
		if p.facts.hasGroup {
			d.accessLocked(b, out, p, SenseTransition, now)
		}
	}
}

// countLocked keeps the path's counters.
func (p *Path) countLocked(a *attempt, res backends.Result, elapsed time.Duration) {
	if !res.OK() {
		p.errors++
		if e := classify(a.req.Op, res).effect; e == effectStreak || e == effectFault {
			p.failedAt = a.req.Offset
		}
		return
	}
	switch {
	case a.req.Op == backends.Read:
		p.reads++
		p.readB += a.bytes
	case a.req.Op.Changes():
		p.writes++
		p.writeB += a.bytes
	}
	p.latencies++
	if p.latencies == 1 {
		p.latency = elapsed
	}
	p.latency += (elapsed - p.latency) / 16
}
