// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"time"

	"pathgate/backends"
)

// againLocked has t tried again on p, after a wait.
func (d *Device) againLocked(b *backends.Batch, out *outbox, t *task, p *Path, v verdict, now time.Time) {
	const busyLimit = 2 * time.Second
	if v.effect == effectTransition && d.inUse != 0 && !d.inUse.Has(p.slot) {
		d.routeLocked(b, out, t, now) // another group serves
		return
	}
	t.tries++
	if v.effect == effectSlower {
		if t.since.IsZero() {
			t.since = now
		}
		v.tries = 0
		if now.Sub(t.since) > busyLimit {
			t.since = time.Time{}
			if tried := t.tried.With(p.slot); d.usableLocked()&^tried&^d.avoidServerLocked(t) != 0 {
				t.tried = tried
				d.routeLocked(b, out, t, now)
				return
			}
		}
	}
	if v.tries > 0 && t.tries > v.tries {
		if v.effect == effectRecheck || v.reason == backends.ParkBusy && v.tries == attentions {
			d.healthLocked(b, out, p, EventFault, "unit attentions without end", now)
		}
		t.tried = t.tried.With(p.slot)
		d.elsewhereLocked(b, out, t, v, t.result, now)
		return
	}
	t.pin = p.slot + 1
	d.retryLocked(b, out, t, v.reason, now)
}

// retryLocked parks t for the next step of its back-off.
func (d *Device) retryLocked(b *backends.Batch, out *outbox, t *task, why backends.ParkReason, now time.Time) {
	t.wake = now.Add(time.Duration(backoff(why, t.waits)) * time.Millisecond)
	if t.waits < 16 {
		t.waits++
	}
	if d.nextWake.IsZero() || t.wake.Before(d.nextWake) {
		d.nextWake = t.wake
		out.wake = true
	}
	d.parkLocked(b, t, why, backends.Range{})
}
