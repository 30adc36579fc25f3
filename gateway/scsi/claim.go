// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"pathgate/backends"
	"pathgate/internal/scsi"
)

// uses tells whether the command is a use of the unit: it reads or changes what others
// see, reservations too.
func (e *entry) uses() bool {
	return e.access >= accessRead || e.op == scsi.OpPersistentReserveOut ||
		e.op == scsi.OpReserve6 || e.op == scsi.OpReserve10
}

// askLocked asks for the use of the unit, if that is needed.
func (l *link) askLocked() ClaimResult {
	if l.claimed {
		return ClaimGranted
	}
	res := l.n.cfg.Claims.Claim(l.n, l.lun)
	l.claimed = res == ClaimGranted
	return res
}

// claimLocked asks for the use of the unit. False: c is refused.
func (l *link) claimLocked(c *Command) bool {
	switch l.askLocked() {
	case ClaimGranted:
		return true
	case ClaimBusy:
		c.refuseStatus(scsi.StatusBusy)
	case ClaimRefused:
		c.refuseStatus(scsi.StatusReservationConflict)
	}
	return false
}

// MayReset tells whether n may have the tasks of all nexuses ended, of the unit at lun
// or, with all, of every unit: that is for those who may use them.
func (n *Nexus) MayReset(lun scsi.LUNField, all bool) bool {
	links := *n.links.Load()
	if !all {
		l := n.find(lun)
		if l == nil {
			return true // there is nothing to reset
		}
		links = []*link{l}
	}
	for _, l := range links {
		l.u.mu.Lock()
		res := l.askLocked()
		l.u.mu.Unlock()
		if res != ClaimGranted {
			return false
		}
	}
	return true
}

// Revoke takes the use of the unit at lun from n: its tasks there end with TASK ABORTED,
// what it reserved by RESERVE is free, and it gets the unit attention 2A/03
// (reservations preempted). done is called when the tasks have ended. Its next use is a
// new claim. Without such a unit, or when the nexus is closed, nothing happens and done
// is not called.
func (n *Nexus) Revoke(b *backends.Batch, lun scsi.LUN, done Done) {
	l := n.link(lun)
	if l == nil {
		return
	}
	bar := newBarrier(done)
	var out aborts
	u := l.u
	u.mu.Lock()
	l.claimed = n.cfg.Claims == nil
	l.attention.add(scsi.CodeReservationsPreempted)
	if u.reserver == l {
		u.reserver = nil
		u.levelsLocked()
	}
	for t := u.tasks.first; t != nil; t = t.next {
		if t.l == l {
			u.abortAsLocked(t, abortStatus, bar, &out)
		}
	}
	u.mu.Unlock()
	out.run(b)
	bar.down(b)
}
