// SPDX-License-Identifier: Apache-2.0

package multipath

import "fmt"

// FenceLevel is what can prove that old writes of a lost path run no more, while
// its own portal stays away (HAZARDS H3). A higher one is weaker. None of them lets
// a write overtake an older one: they differ in how long writes that overlap wait.
type FenceLevel uint8

// Levels.
const (
	// FenceByTarget: another living way leads to the same target process and portal
	// group, seen by a token. A login there and a LOGICAL UNIT RESET fence.
	FenceByTarget FenceLevel = iota
	// FenceByReservation: another living path shares the registrations of this one,
	// seen by its key. Taking that away fences.
	FenceByReservation
	// FenceByTime: only the rule's quiesce time, or the return of the path.
	FenceByTime
	// FenceByWaiting: only the return of the path.
	FenceByWaiting
)

var fenceLevelNames = [...]string{"fenced", "pr-fenced", "timed", "waiting"}

// String gives the level as commands show it.
func (l FenceLevel) String() string {
	if int(l) >= len(fenceLevelNames) {
		return fmt.Sprintf("level(%d)", uint8(l))
	}
	return fenceLevelNames[l]
}

// fenceLevelLocked works p's level out.
func (d *Device) fenceLevelLocked(p *Path) FenceLevel {
	reset := d.mayResetLocked()
	for _, o := range d.paths {
		if reset && o.port != p.port && o.port.target == p.port.target && o.tag == p.tag && o.live && p.togetherLocked(o) {
			return FenceByTarget
		}
	}
	for _, o := range d.paths {
		if d.rule.Reservation.AllRegistrants && (reset || d.rule.FenceAbort) && o != p && o.live &&
			p.reserved == ReservationOurs && o.reserved == ReservationOurs && p.togetherLocked(o) {
			return FenceByReservation
		}
	}
	if d.rule.Quiesce > 0 {
		return FenceByTime
	}
	return FenceByWaiting
}

// weakestLocked is the level of the device: that of its weakest path in use, or of
// the weakest of all while none is.
func (d *Device) weakestLocked() FenceLevel {
	var used, all FenceLevel
	n := 0
	for _, p := range d.paths {
		l := d.fenceLevelLocked(p)
		all = max(all, l)
		if p.live && p.health.Carries() {
			used = max(used, l)
			n++
		}
	}
	if n == 0 {
		return all
	}
	return used
}
