// SPDX-License-Identifier: Apache-2.0

package multipath

import "fmt"

// Access is what the target says about using a path: the asymmetric access
// state of the port group that the path ends in (SPC-4 REPORT TARGET PORT
// GROUPS). A target without ALUA has Optimized paths only.
type Access uint8

const (
	// Optimized: full speed.
	Optimized Access = iota
	// NonOptimized: it works, but slower; used when no optimized path is left.
	NonOptimized
	// LBADependent: optimized for a part of the blocks.
	LBADependent
	// Standby: answers inquiries, no I/O.
	Standby
	// Unavailable: less than Standby.
	Unavailable
	// Transitioning: on the way to another state; asked again soon.
	Transitioning
	// Offline: the group is not there.
	Offline

	accesses = int(Offline) + 1
)

var accessNames = [accesses]string{"optimized", "non-optimized", "lba-dependent", "standby", "unavailable", "transitioning", "offline"}

// String gives the name as tables show it.
func (a Access) String() string {
	if int(a) >= accesses {
		return fmt.Sprintf("access(%d)", uint8(a))
	}
	return accessNames[a]
}

// Priority ranks paths for grouping: of those that serve, the ones with the
// highest priority are used together. 0: of no use. The values are those of
// multipath-tools' alua prioritizer.
func (a Access) Priority() int {
	switch a {
	case Optimized:
		return 50
	case NonOptimized:
		return 10
	case LBADependent:
		return 5
	case Standby:
		return 1
	case Unavailable, Transitioning, Offline:
	}
	return 0
}

// Serves tells whether a path of this state may carry data.
func (a Access) Serves() bool { return a == Optimized || a == NonOptimized || a == LBADependent }

// AccessEvent is what the target let us know. The first ones are reports of
// the port group's state, in the order of Access.
type AccessEvent uint8

// Access events.
const (
	ReportOptimized AccessEvent = iota
	ReportNonOptimized
	ReportLBADependent
	ReportStandby
	ReportUnavailable
	ReportTransitioning
	ReportOffline
	// SenseStandby: a command ended with 2/04/0B.
	SenseStandby
	// SenseUnavailable: 2/04/0C.
	SenseUnavailable
	// SenseTransition: 2/04/0A.
	SenseTransition
	// TransitionOver: the target has had the time that it asked for.
	TransitionOver
	// Served: a data command that was sent in this state ended well.
	Served

	accessEvents = int(Served) + 1
)

var accessEventNames = [accessEvents]string{
	"report-optimized", "report-non-optimized", "report-lba-dependent",
	"report-standby", "report-unavailable", "report-transitioning", "report-offline",
	"sense-standby", "sense-unavailable", "sense-transition", "transition-over", "served",
}

// String gives the name for people.
func (e AccessEvent) String() string {
	if int(e) >= accessEvents {
		return fmt.Sprintf("event(%d)", uint8(e))
	}
	return accessEventNames[e]
}

// nextAccess is the state after e, and whether it is another one.
func nextAccess(a Access, e AccessEvent) (Access, bool) {
	n := a
	switch e {
	case ReportOptimized, ReportNonOptimized, ReportLBADependent, ReportStandby,
		ReportUnavailable, ReportTransitioning, ReportOffline:
		n = Access(e)
	case SenseStandby:
		n = Standby
	case SenseUnavailable:
		n = Unavailable
	case SenseTransition:
		n = Transitioning
	case TransitionOver:
		if a == Transitioning {
			n = Unavailable // asked for still, but nobody waits
		}
	case Served:
		// It serves, so whatever said that it does not is out of date. How well
		// only a report can tell.
		if !a.Serves() {
			n = NonOptimized
		}
	}
	return n, n != a
}
