// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"fmt"
	"slices"
	"time"

	"pathgate/backends"
)

// Requests wait for a path each for its own time (backends.Request.PathWait), which
// begins for all when the last path is lost: disks on one LUN have guests of different
// patience. Device.waited is how much of it is over: 0 while a path lives. Only the
// timer raises it, so that a time in which we ourselves stood still does not count.

// wait is the rule as a request has it.
func (a AllPathsDown) wait() backends.PathWait {
	switch {
	case a.Fail:
		return backends.WaitNot
	case a.For > 0:
		return backends.PathWait(a.For)
	}
	return backends.WaitForever
}

// waitLocked is how long t waits without a path.
func (d *Device) waitLocked(t *task) backends.PathWait {
	if t.parent != nil {
		t = t.parent
	}
	if w := d.orderedLocked(); w != backends.WaitAsDevice {
		return w
	}
	if w := t.req.PathWait; w != backends.WaitAsDevice {
		return w
	}
	return d.rule.AllPathsDown.wait()
}

// ExpectWait tells that requests with that limit will come, so that a scheduler above
// is told when it is over. WaitAsDevice needs not to be told.
func (d *Device) ExpectWait(w backends.PathWait) {
	var b backends.Batch
	out := newOutbox()
	d.mu.Lock()
	if i, found := slices.BinarySearch(d.waits, w); !found && w != backends.WaitAsDevice {
		d.waits = slices.Insert(d.waits, i, w)
		if !d.downSince.IsZero() {
			d.waitDueLocked(out, w)
			d.tellRefusingLocked(&b)
		}
	}
	d.mu.Unlock()
	d.send(&b, out)
	b.Run()
}

// waitDueLocked has the timer look when w is over.
func (d *Device) waitDueLocked(out *outbox, w backends.PathWait) {
	if w != backends.WaitForever && w > d.waited && !d.downSince.IsZero() && d.born {
		d.dueLocked(out, d.downSince.Add(time.Duration(w)))
	}
}

// waitsDueLocked has it look at each limit that is expected.
func (d *Device) waitsDueLocked(out *outbox) {
	d.waitDueLocked(out, d.rule.AllPathsDown.wait())
	for _, w := range d.waits {
		d.waitDueLocked(out, w)
	}
}

// patienceLocked tells people for how long requests wait.
func (d *Device) patienceLocked() string {
	switch d.queueing {
	case QueueOn:
		return "requests wait"
	case QueueOff:
		return "requests fail"
	case QueueDefault:
	}
	least, most := d.rule.AllPathsDown.wait(), d.rule.AllPathsDown.wait()
	if n := len(d.waits); n > 0 {
		least, most = d.waits[0], d.waits[n-1]
	}
	switch {
	case most == backends.WaitNot:
		return "requests fail"
	case least == backends.WaitForever:
		return "requests wait"
	case least == most:
		return fmt.Sprintf("requests wait for %v", time.Duration(most))
	}
	return fmt.Sprintf("requests wait for %v to %v, each for its disk's time", least, most)
}

// expireWaitsLocked ends the requests whose wait is over, and tells the observer.
func (d *Device) expireWaitsLocked(b *backends.Batch, out *outbox, now time.Time) {
	if d.downSince.IsZero() || !d.bornLocked(out, now) {
		return
	}
	d.waited = max(backends.WaitNot, backends.PathWait(now.Sub(d.downSince)))
	for t := d.firstTask; t != nil; {
		next := t.next
		if t.live == 0 && t.parts == 0 && !d.heldLocked(t) {
			if w := d.waitLocked(t); w <= d.waited {
				d.finishLocked(b, out, t, d.giveUpLocked(t, backends.NoPath), now)
			} else {
				d.waitDueLocked(out, w)
			}
		}
		t = next
	}
	d.waitsDueLocked(out)
	d.tellRefusingLocked(b)
}

// bornLocked tells whether the device has had a path, or has had its time to get one:
// what an earlier run left may have to be fenced before the first. From then on it
// counts as any other that has none, since its making.
func (d *Device) bornLocked(out *outbox, now time.Time) bool {
	if d.born {
		return true
	}
	if grace := d.downSince.Add(d.timers.Request); now.Before(grace) {
		d.dueLocked(out, grace)
		return false
	}
	d.born = true
	out.event(Event{Kind: NoPaths, Device: d.name, Reason: "none has worked since the start; " + d.patienceLocked()})
	return true
}

// refusesLocked tells whether t ends at once, since no path will come in time.
func (d *Device) refusesLocked(t *task) bool {
	return d.gone || d.downLocked() && (d.closed || d.born && d.waitLocked(t) <= d.waited)
}

// refusedLocked is the longest of the expected waits that is over: requests of that
// and of shorter ones end at once.
func (d *Device) refusedLocked() (level backends.PathWait) {
	switch down := d.downLocked(); {
	case d.gone && d.suspended == nil, down && d.closed:
		return backends.WaitForever
	case !down || !d.born || d.suspended != nil || d.queueing == QueueOn:
		return 0
	case d.queueing == QueueOff:
		return backends.WaitForever
	}
	if w := d.rule.AllPathsDown.wait(); w <= d.waited {
		level = w
	}
	for _, w := range d.waits {
		if w <= d.waited {
			level = max(level, w)
		}
	}
	return level
}

// tellRefusingLocked tells the observer when that has changed: what waits there ends
// here.
func (d *Device) tellRefusingLocked(b *backends.Batch) {
	if r := d.refusedLocked(); r != d.refusing {
		d.refusing = r
		if d.obs != nil {
			d.obs.Refusing(b, r)
		}
	}
}
