// SPDX-License-Identifier: Apache-2.0

package scsi

import "slices"

// visit is a step of an EXTENDED COPY on a unit: the task may be one of another unit's
// task set. What waits for the unit's tasks waits for visits too. Guarded by Unit.mu.
type visit struct {
	l        *link
	barriers []*barrier
}

// enter begins a visit that does that much, if reservations and an erasure let it.
func (l *link) enter(a access) (*visit, bool) {
	u := l.u
	u.mu.Lock()
	defer u.mu.Unlock()
	if l.gone || l.level < a || u.erasing.Load() != nil {
		return nil, false
	}
	v := &visit{l: l}
	u.visits = append(u.visits, v)
	return v, true
}

// leave ends v, and gives what waited for that.
func (v *visit) leave() []*barrier {
	u := v.l.u
	u.mu.Lock()
	defer u.mu.Unlock()
	u.visits = slices.DeleteFunc(u.visits, func(x *visit) bool { return x == v })
	return v.barriers
}

// awaitVisitsLocked has bar wait for the visits of l; nil: for all.
func (u *Unit) awaitVisitsLocked(bar *barrier, l *link) {
	for _, v := range u.visits {
		if l == nil || v.l == l {
			bar.left.Add(1)
			v.barriers = append(v.barriers, bar)
		}
	}
}
