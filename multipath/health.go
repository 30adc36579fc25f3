// SPDX-License-Identifier: Apache-2.0

package multipath

import "fmt"

// Health is whether a path can be used, as far as we found out. Whether the
// target wants it to be used is its [Access]; the two are never one.
//
//	         proved             slow, errors
//	unknown ────────► up ◄──────────────────► marginal
//	   ▲  │           │        stable            │  ▲
//	   │  └───────────┴──── lost, fault ─────────┤  │ proved
//	   │                                         ▼  │
//	   │ enable                                 down
//	disabled ◄── disable ── any      any ── refused ──► quarantined ── proved ──► marginal
type Health uint8

const (
	// Unknown: not proved yet in this run, or just enabled again. It is not used;
	// it lasts for one scan.
	Unknown Health = iota
	// Up: used.
	Up
	// Marginal: it works, but is on probation after a failure, or was found slow or
	// unreliable.
	// Used only while no path is up. It lasts for the failback delay, and longer for
	// one that is in doubt (marginal.go): until its test reads speak for it.
	Marginal
	// Down: its session is lost, or its I/O fails. Not used. It lasts until the
	// identity of the LUN has been proved again.
	Down
	// Disabled: an administrator does not want it used. It lasts until Enable.
	Disabled
	// Quarantined: it leads to something that it should not lead to. Not used; an
	// alarm. It lasts until what is there is proved to be right.
	Quarantined

	healths = int(Quarantined) + 1
)

var healthNames = [healths]string{"unknown", "up", "marginal", "down", "disabled", "quarantined"}

// String gives the name as tables and events show it.
func (h Health) String() string {
	if int(h) >= healths {
		return fmt.Sprintf("health(%d)", uint8(h))
	}
	return healthNames[h]
}

// Carries tells whether a path of this health may be given requests.
func (h Health) Carries() bool { return h == Up || h == Marginal }

// HealthEvent is what happens to a path.
type HealthEvent uint8

const (
	// EventProved: the session is up, identity and geometry are what they should
	// be, and a read has succeeded.
	EventProved HealthEvent = iota
	// EventStable: the failback delay has passed without a failure, and nothing
	// speaks against the path any more.
	EventStable
	// EventSlow: a command went over its deadline while the session answered, or
	// requests take much longer than on its siblings.
	EventSlow
	// EventErrors: too many requests fail on it, though not in a row.
	EventErrors
	// EventLost: the session is gone.
	EventLost
	// EventFault: the session is there, but I/O fails: the I/O counts more than
	// any checker.
	EventFault
	// EventRefused: another LUN, another size, no LUN, or a broken protocol.
	EventRefused
	// EventDisable and EventEnable: an administrator.
	EventDisable
	EventEnable

	healthEvents = int(EventEnable) + 1
)

var healthEventNames = [healthEvents]string{"proved", "stable", "slow", "errors", "lost", "fault", "refused", "disable", "enable"}

// String gives the name for people.
func (e HealthEvent) String() string {
	if int(e) >= healthEvents {
		return fmt.Sprintf("event(%d)", uint8(e))
	}
	return healthEventNames[e]
}

// nextHealth is the whole state machine: the state after e, and whether it is
// another one.
func nextHealth(h Health, e HealthEvent) (Health, bool) {
	n := h
	switch e {
	case EventProved:
		switch h {
		case Unknown:
			n = Up
		case Down, Quarantined:
			n = Marginal // probation: it has failed before
		case Up, Marginal, Disabled:
		}
	case EventStable:
		if h == Marginal {
			n = Up
		}
	case EventSlow, EventErrors:
		if h == Up {
			n = Marginal
		}
	case EventLost, EventFault:
		switch h {
		case Unknown, Up, Marginal:
			n = Down
		case Down, Disabled, Quarantined: // a loss heals no quarantine
		}
	case EventRefused:
		if h != Disabled {
			n = Quarantined
		}
	case EventDisable:
		n = Disabled
	case EventEnable:
		if h == Disabled {
			n = Unknown
		}
	}
	return n, n != h
}
