// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pathgate/backends"
)

// A suspended device sends no request to its LUN, as a suspended map of dmsetup. What
// comes waits as ParkSuspended, and so does what would be sent again. Proofs, checks,
// logins and fences go on. It is a state of the run.

// ErrResumed: somebody has resumed the device, or it was closed, before it was quiet.
var ErrResumed = errors.New("it was resumed meanwhile")

// NotQuietError tells that the device was not suspended, since something was still on
// its way when the time was over.
type NotQuietError struct {
	Requests int // in flight
	Ghosts   int // ranges of changes of unknown end, which may still run at the target
	Stays    bool
}

// Error implements error.
func (e *NotQuietError) Error() string {
	text := fmt.Sprintf("%d requests are still in flight and %d old writes may still run", e.Requests, e.Ghosts)
	if e.Stays {
		return text + "; others wait for that, and it stays suspended"
	}
	return text + "; it goes on"
}

// suspension is the time of a device without requests. Guarded by the device's lock.
type suspension struct {
	since   time.Time
	waiters int           // who wait for quiet
	still   bool          // quiet is closed
	quiet   chan struct{} // closed when nothing is on its way any more
	ended   chan struct{} // closed at the end of the suspension
}

// Suspend has the device send no more requests, and waits until none is in flight and
// no change of unknown end is left: then nothing of ours touches the LUN before Resume.
// If ctx ends before, the device goes on as if nothing had been asked for, unless
// others wait too, and the error is a *NotQuietError. Of a suspended device it is asked
// again at no cost.
func (d *Device) Suspend(ctx context.Context) error {
	s := d.suspend()
	select {
	case <-s.quiet:
	case <-s.ended:
	case <-ctx.Done():
	}
	return d.suspendWaited(s)
}

// suspend begins, or joins those who have.
func (d *Device) suspend() *suspension {
	var b backends.Batch
	out := newOutbox()
	now := time.Now()
	d.mu.Lock()
	s := d.suspended
	if s == nil {
		s = &suspension{since: now, quiet: make(chan struct{}), ended: make(chan struct{})}
		if d.closed {
			close(s.ended)
		} else {
			d.suspended = s
			out.event(Event{Kind: DeviceSuspended, Device: d.name})
			d.holdLocked()
			d.stillLocked()
			d.tellRefusingLocked(&b)
		}
	}
	s.waiters++
	d.pumpLocked(&b, out, now)
	d.mu.Unlock()
	d.send(&b, out)
	b.Run()
	return s
}

// suspendWaited ends a wait for s.
func (d *Device) suspendWaited(s *suspension) error {
	var b backends.Batch
	out := newOutbox()
	now := time.Now()
	d.mu.Lock()
	s.waiters--
	var err error
	switch {
	case s.still:
	case d.suspended != s:
		err = fmt.Errorf("device %s: %w", d.name, ErrResumed)
	default:
		n, ghosts := d.busyLocked()
		err = fmt.Errorf("device %s: %w", d.name, &NotQuietError{Requests: n, Ghosts: ghosts, Stays: s.waiters > 0})
		if s.waiters == 0 {
			d.resumeLocked(&b, out, "not quiet in time", now)
		}
	}
	d.mu.Unlock()
	d.send(&b, out)
	b.Run()
	return err
}

// Resume has a suspended device go on: what waits goes out in the order of its coming,
// with all its time before it. Without a path it waits or ends as if it had come
// now. It tells whether the device was suspended.
func (d *Device) Resume() bool {
	var b backends.Batch
	out := newOutbox()
	d.mu.Lock()
	was := d.suspended != nil
	d.resumeLocked(&b, out, "", time.Now())
	d.mu.Unlock()
	d.send(&b, out)
	b.Run()
	return was
}

func (d *Device) resumeLocked(b *backends.Batch, out *outbox, why string, now time.Time) {
	s := d.suspended
	if s == nil {
		return
	}
	d.suspended = nil
	close(s.ended)
	held := 0
	deadline := now.Add(d.timers.Request)
	for t := d.firstTask; t != nil; t = t.next {
		t.deadline = deadline
		if t.parked == backends.ParkSuspended {
			held++
			t.tried = 0
			d.queueLocked(t)
		}
	}
	d.dueLocked(out, deadline)
	out.event(Event{Kind: DeviceResumed, Device: d.name, Reason: why, Count: held, Duration: now.Sub(s.since)})
	switch {
	case d.closed || d.gone:
		d.failWaitingLocked(b, out, now)
	case d.downLocked():
		d.expireWaitsLocked(b, out, now)
	}
	d.tellRefusingLocked(b)
	d.pumpLocked(b, out, now)
}

// holdLocked has the requests that wait to be sent wait for Resume. Those behind an
// older change keep their own reason until that has ended.
func (d *Device) holdLocked() {
	for t := d.firstTask; t != nil; t = t.next {
		switch t.parked {
		case backends.ParkNoPath, backends.ParkReset, backends.ParkBusy, backends.ParkFull, backends.ParkTransition:
			t.wake = time.Time{}
			d.queueLocked(t)
		case 0, backends.ParkFence, backends.ParkOrder, backends.ParkSuspended:
		}
	}
}

// heldLocked tells that t's time does not count: it waits in a suspended device.
func (d *Device) heldLocked(t *task) bool { return d.suspended != nil && t.live == 0 && !t.fencing }

// busyLocked counts what may still touch the LUN.
func (d *Device) busyLocked() (requests, ghosts int) {
	for _, p := range d.paths {
		requests += p.inflight
	}
	return requests, len(d.ghosts)
}

// stillLocked notes that nothing is on its way any more. Nothing can come after that
// but by Resume. It has to follow each end of an attempt and of a ghost.
func (d *Device) stillLocked() {
	s := d.suspended
	if s == nil || s.still {
		return
	}
	if n, ghosts := d.busyLocked(); n+ghosts == 0 {
		s.still = true
		close(s.quiet)
	}
}
