// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"pathgate/backends"
)

// outsider is a disk as clients see it that are no initiators, such as NBD's: what
// initiators have reserved is refused to them.
type outsider struct {
	*Disk
	d *servedDisk
}

// Submit takes the requests that reservations let through, in order, and refuses the
// others.
func (x *outsider) Submit(b *backends.Batch, reqs []*backends.Request) {
	u := x.d.unit.Load()
	if u == nil || u.Allows(true) {
		x.Disk.Submit(b, reqs)
		return
	}
	from := 0
	for i, r := range reqs {
		if u.Allows(r.Op.Changes()) {
			continue
		}
		if from < i {
			x.Disk.Submit(b, reqs[from:i])
		}
		from = i + 1
		b.Complete(r, backends.Failed(backends.ReservationConflict))
	}
	if from < len(reqs) {
		x.Disk.Submit(b, reqs[from:])
	}
}
