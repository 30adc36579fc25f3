// SPDX-License-Identifier: Apache-2.0

package multipath

import "time"

// FailbackMode says when what was lost is used again.
type FailbackMode uint8

const (
	// FailbackDelayed: after a time without a failure. The default.
	FailbackDelayed FailbackMode = iota
	// FailbackImmediate: at once, after the first loss in a while.
	FailbackImmediate
	// FailbackManual: when a person says so (ReinstatePath, SwitchGroup), or what is
	// used instead is lost.
	FailbackManual
	// FailbackConditional: when the device has little in flight (the patent, par.
	// 0099).
	FailbackConditional
)

// FailbackRule is when a path that was lost and is there again leaves its probation,
// and when a group that was left for a worse one, since the target made it one of
// less worth, is gone back to. Flapping makes both take longer in any mode.
type FailbackRule struct {
	Mode FailbackMode
	// Delay is that of FailbackDelayed; 0: Timers.Failback.
	Delay time.Duration
	// Pending and Quiet are the condition of FailbackConditional: at most Pending
	// bytes in flight, for Quiet without a break.
	Pending uint64
	Quiet   time.Duration
}

// base is the wait without flapping.
func (f FailbackRule) base(t *Timers) time.Duration {
	switch {
	case f.Mode == FailbackImmediate || f.Mode == FailbackConditional:
		return 0
	case f.Delay > 0 && f.Mode == FailbackDelayed:
		return f.Delay
	}
	return t.Failback
}

// after is the wait of something that was lost fails times before, in short order.
func (f FailbackRule) after(t *Timers, fails uint8) time.Duration {
	base := f.base(t)
	if fails > 0 && base == 0 {
		base, fails = t.Failback, fails-1
	}
	return min(base<<min(fails, 8), max(maxFailback, base))
}

// failbackLocked tells when p, on probation, may be up again: never before at. It
// is false while a person or the condition is waited for.
func (d *Device) failbackLocked(p *Path, now time.Time) (at time.Time, ok bool) {
	if !p.waits {
		return p.stableAt, true
	}
	switch d.rule.Failback.Mode {
	case FailbackManual:
		return time.Time{}, false
	case FailbackConditional:
		at, ok = d.calm.since(d, now)
		if at = at.Add(d.rule.Failback.Quiet); at.Before(p.stableAt) {
			at = p.stableAt
		}
		return at, ok
	case FailbackDelayed, FailbackImmediate:
	}
	return p.stableAt, true
}

// probateLocked begins or prolongs p's probation: after a loss by the failback
// rule, for slowness by the timer.
func (d *Device) probateLocked(out *outbox, p *Path, e HealthEvent, now time.Time) {
	rule := FailbackRule{}
	if e == EventProved {
		rule = d.rule.Failback
	}
	p.waits = e == EventProved && d.hasUpLocked()
	fails := p.fails
	if d.rule.Marginal.Losses < 0 {
		fails = 0
	}
	p.stableAt = now.Add(rule.after(d.timers, fails))
	d.dueLocked(out, p.stableAt)
}

// probationsLocked has the timer look at paths whose probation depends on whether
// another one is up.
func (d *Device) probationsLocked(out *outbox, now time.Time) {
	if m := d.rule.Failback.Mode; m != FailbackManual && m != FailbackConditional {
		return
	}
	waits, up := d.failback.calm, d.hasUpLocked()
	for _, p := range d.paths {
		if p.health != Marginal || !p.waits {
			continue
		}
		if p.waits = up; !up {
			d.dueLocked(out, now) // there is nothing left to go back from
		}
		waits = waits || up
	}
	if !waits {
		d.calm = calm{}
	}
}

// hasUpLocked tells whether requests have a path that is on no probation. One that is
// held back for a moment, for a reset or a proof, counts.
func (d *Device) hasUpLocked() bool {
	for _, p := range d.paths {
		if p.health == Up && p.live && p.access.Serves() {
			return true
		}
	}
	return false
}

// calm knows since when the device has had little in flight. It looks only while
// something waits for that, so that a request pays for it no more than a look at
// watched. Guarded by the device's lock.
type calm struct {
	watched bool
	from    time.Time // zero: there is too much in flight
}

// since begins to look, and tells since when it has been calm; false: it is not.
func (c *calm) since(d *Device, now time.Time) (time.Time, bool) {
	if !c.watched {
		c.watched = true
		c.look(d, now)
	}
	return c.from, !c.from.IsZero()
}

// look has to follow each change of what is in flight while watched.
func (c *calm) look(d *Device, now time.Time) {
	bytes, requests := uint64(0), 0
	for _, p := range d.paths {
		bytes += p.bytes
		requests += p.inflight
	}
	limit := d.rule.Failback.Pending
	switch {
	case bytes > limit || limit == 0 && requests > 0:
		c.from = time.Time{}
	case c.from.IsZero():
		c.from = now
	}
}

// calmLocked follows an attempt's beginning or end while something waits for
// little load.
func (d *Device) calmLocked(out *outbox, now time.Time) {
	was := d.calm.from
	d.calm.look(d, now)
	if from := d.calm.from; !from.IsZero() && was.IsZero() {
		d.dueLocked(out, from.Add(d.rule.Failback.Quiet))
	}
}

// waitsLocked tells for people what p's probation waits for, if that is no time, and
// how long it lasts else.
func (p *Path) waitsLocked(now time.Time) (why string, left time.Duration) {
	d := p.dev
	at, ok := d.failbackLocked(p, now)
	switch {
	case !ok && d.rule.Failback.Mode == FailbackManual:
		return "waits for path reinstate", 0
	case !ok:
		return "waits for less load", 0
	}
	return "", at.Sub(now)
}
