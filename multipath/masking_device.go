// SPDX-License-Identifier: Apache-2.0

package multipath

// maskedLocked gives the rule for which d has no path: each that it has is masked, or
// the last one that it had was. 0: there is one that no rule masks, or they went in
// another way.
func (d *Device) maskedLocked() int {
	rule := d.leftMask
	for _, p := range d.paths {
		if p.left {
			continue
		}
		if rule = p.mask; rule == 0 {
			break
		}
	}
	return rule
}

// unmaskedDownLocked tells that a path that no rule masks is down. One that is proved
// for the first time is not, yet.
func (d *Device) unmaskedDownLocked() bool {
	for _, p := range d.paths {
		if !p.left && p.mask == 0 && !(p.live && p.health == Unknown) {
			return true
		}
	}
	return false
}

// tellDownLocked tells that all paths are down, and whether an administrator wanted it.
func (d *Device) tellDownLocked(out *outbox) {
	e := Event{Kind: NoPaths, Device: d.name, Reason: d.patienceLocked()}
	if d.downMask = d.maskedLocked(); d.downMask != 0 {
		e.Masked, e.Reason = d.downMask, maskedBy(d.downMask)+"; "+e.Reason
	}
	out.event(e)
}
