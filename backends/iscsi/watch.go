// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"time"

	"pathgate/backends"
)

// stallGrace is how late a timer may fire before our own process counts as
// stalled, and how long the reader then has to drain the socket.
const stallGrace = 100 * time.Millisecond

// wakeWatch has the timers looked at again, after an earlier one was set.
func (c *conn) wakeWatch() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// runTimers serves the timers of a session until its reader has ended.
func (c *conn) runTimers() {
	var b backends.Batch
	timer := time.NewTimer(0)
	defer timer.Stop()
	next := time.Now()
	for {
		select {
		case <-c.stop:
			return
		case <-c.wake:
		case <-timer.C:
		}
		now := time.Now()
		due, err := c.tick(&b, now, now.Sub(next) > stallGrace)
		b.Run()
		if err != nil {
			c.fail(err)
		}
		next = due
		timer.Reset(time.Until(next))
	}
}

// tick does what is due at now and tells when to come again. After a stall of
// our own every deadline that has passed begins anew.
func (c *conn) tick(b *backends.Batch, now time.Time, stalled bool) (next time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next = now.Add(time.Minute)
	if c.state != connLive {
		return next, nil
	}
	earliest := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	for i := len(c.timed) - 1; i >= 0; i-- {
		t := c.timed[i]
		if stalled && !t.deadline.After(now) {
			t.deadline = now.Add(stallGrace)
		}
		if t.deadline.After(now) {
			earliest(t.deadline)
		} else if err := c.expireLocked(b, t); err != nil {
			return next, err
		}
	}
	c.expireWaitingLocked(b, now, stalled, earliest)
	due, err := c.leaveLocked(b, now, stalled)
	earliest(due)
	if err != nil || c.leave.sent {
		return next, err
	}
	due, err = c.healthLocked(b, now, stalled)
	earliest(due)
	return next, err
}

// leaveLocked logs out if it is time, and tells when to look again. An error: the
// target does not answer the logout.
func (c *conn) leaveLocked(b *backends.Batch, now time.Time, stalled bool) (next time.Time, err error) {
	l := &c.leave
	if !l.sent && !l.at.IsZero() && !l.at.After(now) {
		c.sendLogoutLocked(b, backends.LossLogout)
	}
	switch {
	case l.sent:
		if stalled && !l.due.After(now) {
			l.due = now.Add(stallGrace)
		}
		if !l.due.After(now) {
			return now, lost(l.class, "no answer to the logout")
		}
		return l.due, nil
	case l.at.After(now):
		return l.at, nil
	case !l.at.IsZero(): // there was no free tag
		return now.Add(stallGrace), nil
	}
	return now.Add(time.Minute), nil
}

// timeLocked puts t under its deadline.
func (c *conn) timeLocked(t *task) { c.timed = append(c.timed, t) }

// untimeLocked takes t's deadline away, if it has one.
func (c *conn) untimeLocked(t *task) {
	if t.deadline.IsZero() {
		return
	}
	t.deadline = time.Time{}
	for i := range c.timed {
		if c.timed[i] == t {
			c.timed[i] = c.timed[len(c.timed)-1]
			c.timed[len(c.timed)-1] = nil
			c.timed = c.timed[:len(c.timed)-1]
			return
		}
	}
}

// expireLocked ends the wait for t's answer; t becomes a tombstone.
func (c *conn) expireLocked(b *backends.Batch, t *task) error {
	switch t.kind {
	case kindExec:
		// The command is sent, or will be: it cannot be taken out of its place in
		// the order of CmdSN. Its payload is the caller's again.
		c.queue.Remove(t.queueTag())
		c.reportLocked(b, t, backends.Result{Class: backends.Transport, Sent: backends.SentSome}, 0)
	case kindTMF:
		endTMF(b, t.tmf, backends.TMTimeout)
	case kindFree, kindRequest, kindLogout, kindLate, kindEnded:
	}
	return c.entombLocked(t)
}

// expireWaitingLocked ends commands of Exec that have waited for the window too
// long.
func (c *conn) expireWaitingLocked(b *backends.Batch, now time.Time, stalled bool, earliest func(time.Time)) {
	if stalled {
		now = now.Add(-stallGrace)
	}
	due := func(w *waiter) bool { return w.exec != nil && !w.deadline.After(now) }
	for _, s := range c.waiting {
		for w, ok := s.wait.remove(due); ok; w, ok = s.wait.remove(due) {
			c.endWaiter(b, s, w, backends.Failed(backends.Transport))
		}
		for i := range s.wait.n {
			if w := s.wait.at(i); w.exec != nil {
				earliest(w.deadline)
			}
		}
	}
}

// maxTombs bounds the tombstones of one session: a target that leaves so many
// commands without an answer is not worth its connection.
const maxTombs = 1024

// entombLocked turns t into a tombstone that waits for the late answer.
func (c *conn) entombLocked(t *task) error {
	c.untimeLocked(t)
	if t.kind != kindLate {
		c.tombs++
	}
	t.entomb(kindLate)
	if c.tombs > maxTombs {
		return lost(backends.LossProtocol, "%d commands that the target never answered", c.tombs)
	}
	return nil
}

// unentombLocked frees the slot of a tombstone that was answered after all.
func (c *conn) unentombLocked(t *task) {
	c.tombs--
	c.dropLocked(t)
}
