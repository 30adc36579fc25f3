// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"fmt"
	"time"

	"pathgate/backends"
)

// faultsApart is how many times as many requests have to fail on an unreliable path as on
// one like it: what fails on all of them is the target's doing.
const faultsApart = 4

// faults are the last failed requests of a path, in a ring. The zero value has none.
type faults struct {
	at     [MaxFaults]time.Time
	n      int // ever, since they were forgotten
	recent int // within the window when the path was found unreliable
}

// add notes one at now.
func (f *faults) add(now time.Time) {
	f.at[f.n%MaxFaults] = now
	f.n++
}

// within counts those of the window that ends now.
func (f *faults) within(window time.Duration, now time.Time) (n int) {
	for n < min(f.n, MaxFaults) && now.Sub(f.at[(f.n-1-n)%MaxFaults]) <= window {
		n++
	}
	return n
}

// reason is why the path is unreliable, for people.
func (f *faults) reason(m *MarginalRule) string {
	return fmt.Sprintf("unreliable: %d requests failed in %v", f.recent, m.Window)
}

// unreliable tells whether a path with n faults is, if one like it has other.
func (m *MarginalRule) unreliable(n, other int) bool {
	return m.Faults >= 0 && n >= min(m.Faults, MaxFaults) && n > faultsApart*other
}

// faultLocked notes that a request or a check has failed on p, which goes on, and puts p
// on probation if that happens too often there alone.
func (d *Device) faultLocked(b *backends.Batch, out *outbox, p *Path, now time.Time) {
	v, m := &p.vigil, &d.rule.Marginal
	if v.doubt != noDoubt || !p.health.Carries() {
		return
	}
	v.faults.add(now)
	n := v.faults.within(m.Window, now)
	for _, o := range d.paths {
		if !d.likeLocked(o, p) || !m.unreliable(n, o.vigil.faults.within(m.Window, now)) {
			continue
		}
		v.doubt, v.faults.recent = doubtUnreliable, n
		v.begin(now)
		p.check.next = now
		d.healthLocked(b, out, p, EventErrors, v.faults.reason(m), now)
		d.dueLocked(out, now)
		return
	}
}
