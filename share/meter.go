// SPDX-License-Identifier: Apache-2.0

package share

import "math"

// minCovered is the shortest time over which a rate is judged, in ns.
const minCovered = 1_000_000

// meter is what a flow used in the current slot and the one before, and how
// long it was backlogged in them. Slots of T/2 begin at multiples of it.
type meter struct {
	slot       Instant // start of the current one
	half       int64   // T/2
	added      Instant // when the flow was
	used       [2]Unit // current, previous
	back       [2]int64
	backAt     Instant // from where back is still to be counted, while backlogged
	backlogged bool
}

// reset empties the slots, for a new T.
func (m *meter) reset(now Instant, half int64) {
	m.half, m.slot = half, slotStart(now, half)
	m.used, m.back = [2]Unit{}, [2]int64{}
	m.backAt = now
}

func slotStart(now Instant, half int64) Instant {
	r := int64(now) % half
	if r < 0 {
		r += half
	}
	return now - Instant(r)
}

// roll brings the meter to now.
func (m *meter) roll(now Instant) {
	end := m.slot + Instant(m.half)
	if now < end {
		if m.backlogged && now > m.backAt {
			m.back[0] += int64(now - m.backAt)
			m.backAt = now
		}
		return
	}
	start := slotStart(now, m.half)
	if start == end {
		m.back[1] = m.back[0] + m.waited(m.slot, end)
		m.used[1] = m.used[0]
	} else {
		m.back[1], m.used[1] = m.waited(start-Instant(m.half), start), 0
	}
	m.back[0], m.used[0] = m.waited(start, now), 0
	m.slot = start
	m.backAt = max(m.backAt, now)
}

// waited gives how long the flow was backlogged from one time to another, as far
// as that is not counted yet.
func (m *meter) waited(from, to Instant) int64 {
	if !m.backlogged {
		return 0
	}
	return max(0, int64(to-max(from, m.backAt)))
}

// begin and end tell that the flow becomes backlogged, or idle. The first
// twentieth of T of a wait does not count: it is a short one for the window, and
// no demand that is not met.
func (m *meter) begin(now Instant) {
	m.roll(now)
	m.backlogged, m.backAt = true, now+Instant(m.half/10)
}

func (m *meter) end(now Instant) {
	m.roll(now)
	m.backlogged = false
}

// units gives what was used; covered over which time. Both after roll.
func (m *meter) units() Unit { return m.used[0] + m.used[1] }

func (m *meter) covered(now Instant) int64 {
	return max(min(m.half+int64(now-m.slot), int64(now-m.added)), minCovered)
}

func (m *meter) rate(now Instant) Speed { return speed(m.units(), m.covered(now)) }

func (m *meter) saturated(now Instant) bool {
	return 2*(m.back[0]+m.back[1]) >= m.covered(now) && m.back[0]+m.back[1] > 0
}

// speed gives units over a time in ns.
func speed(u Unit, ns int64) Speed { return Speed(mulDiv(int64(u), 1000*second, ns)) }

// unbounded is the demand of a flow that takes all that it gets.
const unbounded = Speed(math.MaxInt64)
