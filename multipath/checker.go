// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"fmt"
	"time"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// The checker asks paths whether they work when nothing else tells: an idle path by
// TEST UNIT READY, less often the longer it is well; one in doubt by test reads. It
// runs on the device's timer, has one command in flight per path, and its end comes
// as that of any other. Paths that are down are proved by their port (scan.go).

// checkKind is what a path is asked.
type checkKind uint8

const (
	checkNone checkKind = iota
	checkReady
	checkRead
)

// checkRetry is when a path that failed one check, and is not down for it, is asked
// again.
const checkRetry = time.Second

// checker is the one command of a path's checks.
type checker struct {
	cmd     backends.Command
	kind    checkKind // in flight; checkNone: nothing is
	gen     uint64
	started time.Time

	every time.Duration // present interval while idle
	next  time.Time     // not before
	good  time.Time     // the last request that ended well
	ref   time.Time     // as the sibling of one in doubt: tested until then
}

// checkDueLocked tells what p is to be asked at now, or when the next time is. A zero
// time: not at all for now.
func (p *Path) checkDueLocked(now time.Time) (checkKind, time.Time) {
	c, t := &p.check, p.dev.timers
	if !p.live || p.proving || p.held || !p.health.Carries() || p.access.Priority() == 0 || c.kind != checkNone {
		return checkNone, time.Time{}
	}
	if c.every < t.Check || c.every > t.CheckMax {
		c.every = t.Check
	}
	kind, at := checkReady, c.next
	if p.vigil.doubt != noDoubt || now.Before(c.ref) {
		kind = checkRead
	} else if quiet := c.good.Add(c.every); at.Before(quiet) {
		at = quiet // a good request tells more than a check
	}
	if now.Before(at) {
		return checkNone, at
	}
	return kind, at
}

// checksDueLocked has the timer look at what is due of all paths: one that could not be
// asked for a while, since it was proved or its LUN reset, has no time set.
func (d *Device) checksDueLocked(out *outbox, now time.Time) {
	for _, p := range d.paths {
		switch kind, at := p.checkDueLocked(now); {
		case kind != checkNone:
			d.dueLocked(out, now)
		case !at.IsZero():
			d.dueLocked(out, at)
		}
	}
}

// checkLocked asks p what is due.
func (d *Device) checkLocked(out *outbox, p *Path, now time.Time) {
	kind, at := p.checkDueLocked(now)
	if kind == checkNone {
		if !at.IsZero() {
			d.dueLocked(out, at)
		}
		return
	}
	c := &p.check
	c.kind, c.gen, c.started = kind, p.gen, now
	c.cmd = backends.Command{Timeout: d.timers.Scan, Done: p.checkDone}
	if kind == checkReady {
		scsi.TestUnitReady{}.Encode(&c.cmd.CDB)
	} else {
		scsi.ReadWrite{LBA: p.testBlockLocked(), Blocks: 1}.Encode(&c.cmd.CDB)
		c.cmd.MaxIn = int(p.facts.block)
	}
	out.execs = append(out.execs, exec{p.sess, &c.cmd})
}

// checkDone takes the end of a check.
func (p *Path) checkDone(b *backends.Batch, cmd *backends.Command) {
	d := p.dev
	out := newOutbox()
	now := time.Now()
	cmd.In.Release()
	d.mu.Lock()
	c := &p.check
	kind := c.kind
	c.kind = checkNone
	c.next = now.Add(checkRetry)
	if p.live && p.gen == c.gen && p.health.Carries() {
		d.checkedLocked(b, out, p, kind, cmd.Result, now)
	}
	d.compareLocked(p, now)
	d.probationLocked(b, out, p, now)
	d.checkLocked(out, p, now)
	d.pumpLocked(b, out, now)
	d.mu.Unlock()
	d.send(b, out)
}

// checkedLocked takes what a check has found: what HAZARDS section 5 says of the same
// answer to a request, but that a ready unit clears no streak of failed requests.
func (d *Device) checkedLocked(b *backends.Batch, out *outbox, p *Path, kind checkKind, res backends.Result, now time.Time) {
	c := &p.check
	name := "TEST UNIT READY"
	if kind == checkRead {
		name = "test read"
		c.next = now.Add(d.rule.Marginal.Interval)
		if p.vigil.doubt != noDoubt || now.Before(c.ref) {
			p.vigil.test(res.OK(), now.Sub(c.started))
		}
	}
	if res.OK() {
		if kind == checkRead {
			p.streak = 0
		} else {
			c.every = min(2*c.every, d.timers.CheckMax)
			c.next = now.Add(c.every)
		}
		return
	}
	c.every = d.timers.Check
	if res.Class == backends.Transport && res.Sent != backends.SentAnswered {
		d.healthLocked(b, out, p, EventFault, fmt.Sprintf("%s: no answer for %v", name, shortTime(now.Sub(c.started))), now)
		return
	}
	v := classify(backends.Read, res)
	switch v.effect {
	case effectStreak:
		if p.streak++; p.streak >= streakLimit {
			d.healthLocked(b, out, p, EventFault, fmt.Sprintf("%s: %d failures in a row, last %v", name, p.streak, res.Err()), now)
		}
		d.faultLocked(b, out, p, now)
	case effectFault:
		d.healthLocked(b, out, p, EventFault, fmt.Sprintf("%s: %v", name, res.Err()), now)
	case effectNone, effectRecheck, effectSlower, effectUnsupported, effectProtected, effectRefuse, effectStandby, effectUnavailable, effectTransition:
		d.effectLocked(b, out, p, v, res, now)
	}
}
