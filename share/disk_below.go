// SPDX-License-Identifier: Apache-2.0

package share

import "math"

// What the device tells. It may be told with the device's lock held: nothing is
// issued and no lock is taken here. Each method changes the window at once and
// tells whether a Pull has to follow.

// Park tells that the device holds c back, for why (Fence or Busy, or NoPath).
// It leaves the window, so that it does not take the place of others.
func (d *Disk) Park(c *Cmd, why Reason) (pull bool) {
	s := &c.shell
	s.flow.parkedBy.Store(uint32(why))
	if s.outside != inWindow {
		return false
	}
	s.flow.parked.Add(1)
	return d.leave(c, parkedOutside)
}

// Unpark tells that c goes on, and is in the window again.
func (d *Disk) Unpark(c *Cmd) {
	if c.shell.outside == parkedOutside {
		c.shell.flow.parked.Add(-1)
		d.enter(c)
	}
}

// PathDown tells that c was in flight on a path that went down. It leaves the
// window.
func (d *Disk) PathDown(c *Cmd) (pull bool) {
	if c.shell.outside != inWindow {
		return false
	}
	return d.leave(c, lostOutside)
}

// Redrive tells that c (PathDown) was sent again. It is in the window again,
// ahead of what waits, without a new charge and without a latency sample.
func (d *Disk) Redrive(c *Cmd) {
	if c.shell.outside == lostOutside {
		d.enter(c)
	}
}

func (d *Disk) leave(c *Cmd, to outside) (pull bool) {
	c.shell.outside, c.shell.at = to, 0
	d.commands.Add(-1)
	return d.word.add(-int64(c.cost)).queued() > 0
}

func (d *Disk) enter(c *Cmd) {
	c.shell.outside = inWindow
	d.commands.Add(1)
	d.word.add(int64(c.cost))
}

// Paths tells the usable part of the nominal capacity, in millionths. With 0
// nothing is dispatched.
func (d *Disk) Paths(kappa uint32) (pull bool) {
	d.kappa.Store(kappa)
	return d.tell(newsPaths)
}

// RefusingAll is a patience that no command exceeds.
const RefusingAll = math.MaxInt64

// Refusing tells that the device ends at once the commands with a Patience of upTo and
// less; 0: it ends none. While it does, those of them that wait are handed down, past
// shares and window.
func (d *Disk) Refusing(upTo int64) (pull bool) {
	d.refuse.Store(upTo)
	return d.tell(newsRefusing)
}

// Commands tells how many commands the target takes at once; 0: no bound.
func (d *Disk) Commands(n int32) (pull bool) {
	d.count.Store(n)
	return d.tell(newsCommands)
}

// TaskSetFull tells that the target took no more: what is in flight now becomes
// the bound on commands, for a time.
func (d *Disk) TaskSetFull() (pull bool) { return d.tell(newsFull) }

// stall tells that the process stood still until now (the pacer's).
func (d *Disk) stall(until Instant) {
	d.stalled.Store(int64(until))
	d.news.Or(newsStall)
}

// tell leaves news for the next turn. Until then nothing passes the core.
func (d *Disk) tell(news uint32) (pull bool) {
	d.news.Or(news)
	d.word.close()
	return true
}
