// SPDX-License-Identifier: Apache-2.0

package multipath

import "time"

// lull waits until nothing has changed for a time, before a plan is made anew: what
// comes back one after the other is planned once.
type lull struct {
	changed bool      // since the last look
	due     time.Time // zero: no change waits
}

// change notes a change.
func (l *lull) change() { l.changed = true }

// over tells once, at the first look that is wait or more after the one that saw the
// last change.
func (l *lull) over(now time.Time, wait time.Duration) bool {
	switch {
	case l.changed:
		l.changed, l.due = false, now.Add(wait)
		return false
	case l.due.IsZero() || now.Before(l.due):
		return false
	}
	l.due = time.Time{}
	return true
}
