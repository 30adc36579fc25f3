// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"fmt"
	"time"

	"pathgate/backends"
)

const (
	// judgeEvery is how often the paths' latencies are compared while there is I/O.
	judgeEvery = time.Second
	// judgements is how many in a row have to find a path slow.
	judgements = 3
)

// measureLocked notes how a ended, after elapsed.
func (d *Device) measureLocked(out *outbox, a *attempt, res backends.Result, elapsed time.Duration, now time.Time) {
	p := a.path
	p.countLocked(a, res, elapsed)
	if !res.OK() {
		return
	}
	p.check.good = now
	if d.rule.Marginal.Factor < 0 || len(d.paths) < 2 || a.late {
		return
	}
	switch a.req.Op {
	case backends.Read:
		p.vigil.lat.add(latencyClass(false, a.bytes), elapsed, p.inflight+1)
	case backends.Write:
		p.vigil.lat.add(latencyClass(true, a.bytes), elapsed, p.inflight+1)
	case backends.Flush, backends.Unmap, backends.WriteZeroes, backends.CompareAndWrite,
		backends.Verify, backends.Cache, backends.BlockStatus:
		return
	}
	if d.judgeAt.IsZero() {
		d.judgeAt = now.Add(judgeEvery)
		d.dueLocked(out, d.judgeAt)
	}
}

// judgeLatencyLocked compares the latencies of the paths in use when it is time, and puts
// those on probation that were found slow often enough, but never the last one that
// is up.
func (d *Device) judgeLatencyLocked(b *backends.Batch, out *outbox, now time.Time) {
	if d.judgeAt.IsZero() {
		return
	}
	if now.Before(d.judgeAt) {
		d.dueLocked(out, d.judgeAt)
		return
	}
	stalled := now.Sub(d.judgeAt) > stallAfter
	d.judgeAt = time.Time{} // the next request sets it
	list, scale := make([]*latencies, len(d.paths)), make([]int64, len(d.paths))
	best := uint64(0)
	for _, p := range d.paths {
		if d.inUse.Has(p.slot) {
			list[p.slot] = &p.vigil.lat
			best = max(best, carries(p))
		}
	}
	for _, p := range d.paths {
		if l := carries(p); l > 0 {
			scale[p.slot] = int64(100 * best / l)
		}
	}
	slow := slowPaths(list, scale, &d.rule.Marginal)
	for _, p := range d.paths {
		v := &p.vigil
		switch {
		case stalled: // what it took was our own doing
			v.lat = latencies{}
		case slow[p.slot] == nil:
			v.slowFor = 0
			v.lat.age()
		default:
			v.slowFor++
			v.lat.age()
			if v.slowFor >= judgements && d.siblingLocked(p) != nil {
				d.doubtLocked(b, out, p, slow[p.slot], now)
			}
		}
	}
}

// doubtLocked puts p, which was found slow, on probation.
func (d *Device) doubtLocked(b *backends.Batch, out *outbox, p *Path, l *lag, now time.Time) {
	if p.health != Up {
		return
	}
	p.vigil.doubt = doubtSlow
	p.vigil.begin(now)
	p.check.next = now
	d.healthLocked(b, out, p, EventSlow, fmt.Sprintf("slower than its siblings: requests take %v, theirs %v", shortTime(l.mean), shortTime(l.others)), now)
	d.dueLocked(out, now)
}

// siblingLocked gives a path that is as good as p, up and in use; nil: there is none.
func (d *Device) siblingLocked(p *Path) *Path {
	for _, o := range d.paths {
		if d.likeLocked(o, p) {
			return o
		}
	}
	return nil
}

// likeLocked tells whether o is another path than p, as good as that, up and in use.
func (d *Device) likeLocked(o, p *Path) bool {
	return o != p && o.health == Up && d.inUse.Has(o.slot) && o.access.Priority() >= p.access.Priority()
}

// compareLocked has a sibling of p, which is thought slow, tested as well.
func (d *Device) compareLocked(p *Path, now time.Time) {
	if p.health != Marginal || p.vigil.doubt != doubtSlow {
		return
	}
	o := d.siblingLocked(p)
	if o == nil {
		p.vigil.known = false
		p.vigil.lonely(&d.rule.Marginal, now)
		return
	}
	p.vigil.alone = time.Time{}
	if o.check.ref.Before(now) {
		o.vigil.begin(now)
		o.check.next = now
	}
	o.check.ref = now.Add(4 * d.rule.Marginal.Interval)
	if o.vigil.tested >= meanOver/2 {
		p.vigil.others, p.vigil.known = o.vigil.mean, true
	}
}

// probationLocked ends p's probation when its time is over and nothing speaks against
// it any more.
func (d *Device) probationLocked(b *backends.Batch, out *outbox, p *Path, now time.Time) {
	if p.health != Marginal {
		return
	}
	at, ok := d.failbackLocked(p, now)
	switch {
	case !ok: // what it waits for comes with a step of its own
	case now.Before(at):
		d.dueLocked(out, at)
	case p.vigil.passed(&d.rule.Marginal, now):
		d.healthLocked(b, out, p, EventStable, "stable", now)
	}
}

// guardLocked keeps what is watched of p in step with its health, which was another
// one before.
func (d *Device) guardLocked(p *Path, e HealthEvent, now time.Time) {
	v := &p.vigil
	if p.health == Down {
		d.m.incidents.lost(now)
	} else {
		d.m.incidents.changed()
	}
	switch p.health {
	case Up:
		if v.doubt != noDoubt {
			v.clear()
		}
		p.failedAt = 0
	case Marginal:
		if e == EventProved {
			v.begin(now)
		}
	case Down:
		if v.doubt == doubtSlow {
			v.doubt = noDoubt
		}
		if (e == EventLost || e == EventFault) && !p.ours {
			v.lose(&d.rule.Marginal, now)
		}
	case Unknown, Disabled, Quarantined:
		v.clear()
	}
	v.lat, v.slowFor, p.ours = latencies{}, 0, false
	p.check.every, p.check.next = d.timers.Check, now.Add(d.timers.Check)
	if v.doubt != noDoubt {
		p.check.next = now
	}
}

// testBlockLocked is where p is tested before it is used again: where a request failed on
// it, if another path is there for what is asked of the device. Else the first block:
// what may be a fault of the medium must not keep the last path away.
func (p *Path) testBlockLocked() uint64 {
	if p.facts.block == 0 {
		return 0
	}
	for _, o := range p.dev.paths {
		if o != p && o.usableLocked() {
			return p.failedAt / uint64(p.facts.block)
		}
	}
	return 0
}

// carries is what p's adapter and portal are known to carry, in bytes per second; 0:
// not known.
func carries(p *Path) uint64 {
	s := standing{adapterLimit: p.port.adapter.Bandwidth, portalLimit: p.port.spec.Bandwidth}
	return s.limit()
}
