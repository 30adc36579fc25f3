// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"fmt"
	"time"

	"pathgate/backends"
)

// Queueing is what an administrator wants requests to do while a device has no path. It
// is a state of the run: the next one begins with QueueDefault.
type Queueing uint8

// What requests do. An order wins over the rule of the device and over the time of each
// request.
const (
	// QueueDefault: as configured.
	QueueDefault Queueing = iota
	// QueueOn: they wait without end.
	QueueOn
	// QueueOff: those that wait and those that come fail at once.
	QueueOff
)

// String is the name in commands.
func (q Queueing) String() string {
	switch q {
	case QueueDefault:
		return "default"
	case QueueOn:
		return "on"
	case QueueOff:
		return "off"
	}
	return fmt.Sprintf("queueing(%d)", uint8(q))
}

// orderedLocked is the wait that an administrator has ordered for all requests;
// WaitAsDevice: none.
func (d *Device) orderedLocked() backends.PathWait {
	switch d.queueing {
	case QueueOn:
		return backends.WaitForever
	case QueueOff:
		return backends.WaitNot
	case QueueDefault:
	}
	return backends.WaitAsDevice
}

// SetQueueing changes what requests do while there is no path, also those that wait
// now, and tells whether it was something else before. What was down for longer than
// requests may wait by the configuration ends when QueueDefault takes QueueOn's place.
func (d *Device) SetQueueing(q Queueing) (changed bool) {
	var b backends.Batch
	out := newOutbox()
	now := time.Now()
	d.mu.Lock()
	if changed = d.queueing != q; changed {
		was := d.queueing
		d.queueing = q
		out.event(Event{Kind: QueueingChanged, Device: d.name, Reason: fmt.Sprintf("%v, was %v; without a path %s", q, was, d.patienceLocked())})
		if d.downLocked() {
			d.expireWaitsLocked(&b, out, now)
		}
		d.tellRefusingLocked(&b)
		d.pumpLocked(&b, out, now)
	}
	d.mu.Unlock()
	d.send(&b, out)
	b.Run()
	return changed
}

// MarshalText is String.
func (q Queueing) MarshalText() ([]byte, error) { return []byte(q.String()), nil }
