// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"time"

	"pathgate/backends"
)

// accessLocked applies e to p's access state.
func (d *Device) accessLocked(b *backends.Batch, out *outbox, p *Path, e AccessEvent, now time.Time) {
	a, changed := nextAccess(p.access, e)
	if !changed {
		return
	}
	p.access = a
	d.settleLocked(p)
	p.rememberLocked("access "+a.String(), now)
	out.event(Event{Kind: DeviceChanged, Device: d.name, Path: p.name, Reason: "access " + a.String()})
	if a.Priority() == 0 {
		out.kick(p.port)
	}
	d.pathsChangedLocked(b, out, now)
}
