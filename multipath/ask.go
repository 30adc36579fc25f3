// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"time"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// groupAsk is the question for the states of the port groups (REPORT TARGET PORT
// GROUPS). One is under way at a time for a device, over whichever path, since
// the answer is for all of them. Guarded by the device's lock.
type groupAsk struct {
	over  *Path // asked over it now; nil: nothing is under way
	n     uint64
	since time.Time
	again bool // something has happened since it was asked

	due   time.Time     // ask then, if nothing happens before; zero: no reason to
	wait  time.Duration // the last pause, while a state is waited for
	tries uint8         // in a row without an answer
	plain bool          // the target does not know the extended header
}

const (
	askFirst = 200 * time.Millisecond // between questions while a state is waited for,
	askMost  = 2 * time.Second        // doubled up to that
	// askPatience: an answer that takes longer is asked for over another path too.
	askPatience = 500 * time.Millisecond
	// askTries without an answer, then the next question waits.
	askTries = 6
	// portGroupRoom is enough for 100 groups of 8 ports.
	portGroupRoom = 4096
)

// askLocked asks for the states of the port groups, over p if it can be (nil:
// any). What is under way already is asked once more after its end: the answer
// may be older than what made us ask.
func (d *Device) askLocked(out *outbox, p *Path, now time.Time) {
	q := &d.ask
	if d.closed {
		return
	}
	slow := q.over != nil && now.Sub(q.since) >= askPatience
	if q.over != nil && !slow {
		q.again = true
		d.dueLocked(out, q.since.Add(askPatience))
		return
	}
	if p == nil || !p.asks() || p == q.over {
		p = d.askPathLocked(q.over)
	}
	if p == nil {
		return
	}
	q.n++
	n := q.n
	q.over, q.since, q.again, q.due = p, now, false, time.Time{}
	c := &backends.Command{MaxIn: portGroupRoom, Timeout: d.timers.Scan}
	scsi.ReportPortGroups{Extended: !q.plain, AllocationLength: portGroupRoom}.Encode(&c.CDB)
	c.Done = func(b *backends.Batch, c *backends.Command) { d.askDone(b, c, n, now) }
	out.exec(p.sess, c)
}

// asks tells whether the port groups can be asked for over p. Access does not
// matter: the question is answered in all states but offline.
func (p *Path) asks() bool { return p.live && p.facts.hasGroup && p.health != Quarantined }

// askPathLocked gives the best path to ask over, other than not if there is one.
func (d *Device) askPathLocked(not *Path) (best *Path) {
	score := func(p *Path) (n int) {
		if p.health == Up {
			n++
		}
		if p.access.Serves() {
			n++
		}
		if p != not {
			n += 4
		}
		return n
	}
	for _, p := range d.paths {
		if p.asks() && (best == nil || score(p) > score(best)) {
			best = p
		}
	}
	return best
}

// askDone takes the answer to question n, asked at sent.
func (d *Device) askDone(b *backends.Batch, c *backends.Command, n uint64, sent time.Time) {
	var r groupReport
	res := c.Result
	if res.OK() {
		var err error
		if r.groups, r.transition, err = scsi.DecodePortGroups(c.In.Bytes()); err != nil {
			r.groups = nil
		}
		r.sent = sent
		c.In.Release()
	}
	out := newOutbox()
	now := time.Now()
	d.mu.Lock()
	q := &d.ask
	current := q.n == n
	if current {
		q.over = nil
	}
	switch {
	case res.OK():
		q.tries = 0
		d.groupsLocked(b, out, r, now)
	case !current || d.closed:
	case q.tries >= askTries:
		q.tries = 0
	case res.Class == backends.IllegalRequest && !q.plain:
		q.plain, q.again = true, true
	case res.Class == backends.IllegalRequest:
	default: // a unit attention, a lost session, busy
		q.tries++
		q.again = true
	}
	if current && q.again {
		d.askLocked(out, nil, now)
	}
	d.watchGroupsLocked(out, now)
	d.pumpLocked(b, out, now)
	d.mu.Unlock()
	d.send(b, out)
}

// watchGroupsLocked sets when to ask without a reason: soon while a transition
// lasts or no group can be used, from time to time while a path is not to be
// used, for targets whose unit attention was lost or is none.
func (d *Device) watchGroupsLocked(out *outbox, now time.Time) {
	q := &d.ask
	soon, later, usable := false, false, false
	for _, p := range d.paths {
		usable = usable || p.usableLocked()
		if !p.asks() || !p.health.Carries() || p.access.Serves() {
			continue
		}
		later = true
		soon = soon || p.access == Transitioning
	}
	soon = soon || later && !usable
	for _, g := range d.groups {
		if !g.limit.IsZero() && !g.failed {
			soon = true
			d.dueLocked(out, g.limit)
		}
	}
	switch {
	case soon:
		if q.wait == 0 || q.wait > askMost {
			q.wait = askFirst
		}
	case later:
		q.wait = d.timers.Probe
	default:
		q.wait, q.due = 0, time.Time{}
		return
	}
	if q.due.IsZero() || q.due.After(now.Add(q.wait)) {
		q.due = now.Add(q.wait)
	}
	d.dueLocked(out, q.due)
}

// tickGroupsLocked does what is due: questions, and the end of patience with a
// transition (HAZARDS section 5, 2/04/0A).
func (d *Device) tickGroupsLocked(b *backends.Batch, out *outbox, now time.Time) {
	d.failTransitionsLocked(b, out, now)
	if d.mayReturnLocked(out, now) {
		d.pathsChangedLocked(b, out, now)
	}
	d.moveGroupLocked(out, now)
	q := &d.ask
	if q.over != nil && q.again && now.Sub(q.since) >= askPatience {
		d.askLocked(out, nil, now)
	}
	if !q.due.IsZero() && !now.Before(q.due) {
		if q.wait < askMost {
			q.wait = min(2*q.wait, askMost)
		}
		q.due = time.Time{}
		d.askLocked(out, nil, now)
	}
	d.watchGroupsLocked(out, now)
}

// failTransitionsLocked has groups count as failed whose transition takes longer
// than the target said that it may.
func (d *Device) failTransitionsLocked(b *backends.Batch, out *outbox, now time.Time) {
	changed := false
	for _, g := range d.groups {
		if g.limit.IsZero() || g.failed || now.Before(g.limit) {
			continue
		}
		g.failed, g.access, g.limit = true, Unavailable, time.Time{}
		out.event(Event{
			Kind: DeviceChanged, Device: d.name, Duration: now.Sub(g.since),
			Reason: "group " + g.name() + " counts as failed: its transition has not ended in time",
		})
		g.since = now
		for _, p := range d.paths {
			if p.portGroupLocked() == g {
				changed = d.setAccessLocked(out, p, TransitionOver, now) || changed
			}
		}
	}
	if changed {
		d.pathsChangedLocked(b, out, now)
	}
}
