// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"cmp"
	"slices"
	"time"
)

// groupState is a port group as the mover sees it.
type groupState struct {
	id        uint16
	access    Access
	preferred bool
	explicit  bool // SET TARGET PORT GROUPS is known, and active/optimized possible
	used      bool
	up        int // paths that only the group's state may keep from use
	probation int // likewise, on probation after a loss
	total     int
}

// move is a group that is to be made active/optimized.
type move struct {
	group  uint16
	reason string
	asked  bool // by a person
}

// Reasons of moves.
const (
	moveStuck     = "no group can be used"
	moveLost      = "the active group is lost"
	movePreferred = "the target prefers it"
	moveAsked     = "an administrator asked for it"
)

// moverPhase is how far a move is.
type moverPhase uint8

const (
	// moverIdle: no SET TARGET PORT GROUPS is under way.
	moverIdle moverPhase = iota
	// moverSent: it was sent and has no end yet.
	moverSent
	// moverSettling: it ended well; the report is waited for that shows the group
	// active.
	moverSettling
)

// mover decides when a device asks its target to make another group active: a
// storage processor failover by explicit ALUA. One move at a time; between two of
// its own at least pause, doubled each time that somebody undoes what it did, so
// that two hosts that see one group each do not drive the target mad. It is a core
// of its own: no clock, no lock.
type mover struct {
	phase moverPhase
	goal  move
	since time.Time // there is a reason; zero: none
	until time.Time // settling: then it has failed
	next  time.Time // no move before
	pause time.Duration
	fails uint8
	wish  *move // of a person

	last   uint16    // the group that was made active last,
	lastAt time.Time // when; zero: none was
	bad    []uint16  // groups whose move has failed since one went well, the oldest first
	never  []uint16  // groups that the target refused
}

const (
	// moveGrace is what a loss may be shorter than, and leave all as it is.
	moveGrace = 250 * time.Millisecond
	moveRetry = 200 * time.Millisecond // after a failed one, doubled up to
	moveMost  = 5 * time.Second
	// movePauses bounds pause, in its first value.
	movePauses = 32
)

// moveStep is what to do.
type moveStep struct {
	send   bool // SET TARGET PORT GROUPS for goal
	done   bool // goal is active
	failed bool // goal did not become so in time
	goal   move
	took   time.Duration
	look   time.Time // look again then; zero: at the next change
}

// step looks at the groups. least is the shortest pause; usable tells whether
// requests have a path.
func (m *mover) step(now time.Time, list []groupState, usable, manual bool, least time.Duration) (s moveStep) {
	s.goal, s.took = m.goal, now.Sub(m.since)
	if m.phase == moverSettling {
		i := slices.IndexFunc(list, func(g groupState) bool { return g.id == m.goal.group })
		switch {
		case i >= 0 && list[i].access == Optimized:
			m.arrived(now)
			s.done = true
			return s
		case i >= 0 && list[i].up+list[i].probation > 0 && now.Before(m.until):
			s.look = m.until
			return s
		}
		m.failed(now)
		s.failed = true
		return s
	}
	if m.phase == moverSent {
		return s
	}
	goal, ok := m.want(list, usable, manual)
	if !ok {
		m.since = time.Time{}
		return s
	}
	if m.since.IsZero() {
		m.begin(now, list, least)
	}
	at := m.since.Add(moveGrace)
	if goal.asked {
		at = m.since
	} else if m.next.After(at) {
		at = m.next
	}
	if now.Before(at) {
		s.look = at
		return s
	}
	m.phase, m.goal = moverSent, goal
	s.send, s.goal, s.took = true, goal, now.Sub(m.since)
	return s
}

// begin notes a new reason to move, and whether it is that the last move was undone.
func (m *mover) begin(now time.Time, list []groupState, least time.Duration) {
	m.since = now
	undone := slices.ContainsFunc(list, func(g groupState) bool {
		return g.id == m.last && g.up > 0 && g.access != Optimized
	})
	switch {
	case m.pause < least, m.lastAt.IsZero(), now.Sub(m.lastAt) > 4*m.pause:
		m.pause = least
	case undone:
		m.pause = min(2*m.pause, movePauses*least)
	}
	if !m.lastAt.IsZero() {
		m.next = m.lastAt.Add(m.pause)
	}
}

// want tells which group should be made active, and why.
func (m *mover) want(list []groupState, usable, manual bool) (move, bool) {
	if m.wish != nil {
		return *m.wish, true
	}
	var best *groupState
	lost, active, prefers := false, false, false
	for i := range list {
		g := &list[i]
		lost = lost || g.access == Optimized && g.total > 0 && g.up+g.probation == 0
		active = active || g.access == Optimized && g.up > 0
		if m.possible(g, usable) && (best == nil || m.better(g, best) < 0) {
			best = g
		}
	}
	if best == nil {
		return move{}, false
	}
	prefers = best.preferred && best.up > 0 && !manual &&
		!slices.ContainsFunc(list, func(g groupState) bool { return g.preferred && g.used && g.access == Optimized })
	switch {
	case !usable && !active:
		return move{group: best.id, reason: moveStuck}, true
	case lost && !active:
		return move{group: best.id, reason: moveLost}, true
	case prefers:
		return move{group: best.id, reason: movePreferred}, true
	}
	return move{}, false
}

// possible tells whether g may be made active. Paths on probation have just been
// lost: to go back there is the last thing to do.
func (m *mover) possible(g *groupState, usable bool) bool {
	if !g.explicit || slices.Contains(m.never, g.id) || g.up == 0 && (usable || g.probation == 0) {
		return false
	}
	switch g.access {
	case NonOptimized, LBADependent, Standby, Unavailable:
		return true
	case Optimized, Transitioning, Offline:
	}
	return false
}

// better orders groups: those with healthy paths, those that did not fail, preferred
// ones, the more active, more paths, the lower number.
func (m *mover) better(a, b *groupState) int {
	yes := func(x bool) int {
		if x {
			return 0
		}
		return 1
	}
	return cmp.Or(
		yes(a.up > 0)-yes(b.up > 0),
		slices.Index(m.bad, a.id)-slices.Index(m.bad, b.id),
		yes(a.preferred)-yes(b.preferred),
		b.access.Priority()-a.access.Priority(),
		b.up-a.up,
		int(a.id)-int(b.id),
	)
}

// answered takes the end of the command: whether it went well, or the target does
// not know such a thing. It takes limit at most until the group is active.
func (m *mover) answered(now time.Time, ok, never bool, limit time.Duration) {
	switch {
	case ok:
		m.phase, m.until = moverSettling, now.Add(limit)
	case never:
		m.never = append(m.never, m.goal.group)
		m.failed(now)
	default:
		m.failed(now)
	}
}

func (m *mover) failed(now time.Time) {
	if i := slices.Index(m.bad, m.goal.group); i >= 0 {
		m.bad = slices.Delete(m.bad, i, i+1)
	}
	m.bad = append(m.bad, m.goal.group)
	m.phase = moverIdle
	m.granted()
	m.next = now.Add(min(moveRetry<<min(m.fails, 8), moveMost))
	if m.fails < 8 {
		m.fails++
	}
}

func (m *mover) arrived(now time.Time) {
	m.phase, m.bad, m.fails = moverIdle, nil, 0
	m.granted()
	m.last, m.lastAt, m.since = m.goal.group, now, time.Time{}
	m.next = now.Add(m.pause)
}

// granted drops the wish that has had its turn.
func (m *mover) granted() {
	if m.wish != nil && m.wish.group == m.goal.group {
		m.wish = nil
	}
}
