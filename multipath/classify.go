// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"pathgate/backends"
	"pathgate/internal/scsi"
)

// action is what to do with a request whose attempt has ended.
type action uint8

const (
	// deliver: the request ends with this result.
	deliver action = iota
	// other: try another path at once, each path once.
	other
	// same: try the same path again, after a back-off.
	same
)

var actionNames = [...]string{"deliver", "other", "same"}

func (a action) String() string { return actionNames[a] }

// effect is what the end of an attempt says about its path.
type effect uint8

const (
	// effectNone: nothing bad.
	effectNone effect = iota
	// effectStreak: a failure that counts towards the path's error streak.
	effectStreak
	// effectFault: the path does not work; down.
	effectFault
	// effectRefuse: quarantine.
	effectRefuse
	// effectRecheck: identity and capacity have to be proved again.
	effectRecheck
	// effectStandby, effectUnavailable, effectTransition: the access state.
	effectStandby
	effectUnavailable
	effectTransition
	// effectSlower: the target is full; not the path's fault.
	effectSlower
	// effectUnsupported, effectProtected: what the logical unit does not do.
	effectUnsupported
	effectProtected
)

var effectNames = [...]string{"none", "streak", "fault", "refuse", "recheck", "standby", "unavailable", "transition", "slower", "unsupported", "protected"}

func (e effect) String() string { return effectNames[e] }

// verdict is the row of HAZARDS section 5 that a result falls under.
type verdict struct {
	action action
	// tries bounds same: that often on one path, then the request goes to
	// another, or up. 0: until the request's deadline.
	tries uint8
	// once: other is tried once in all, then the result goes up.
	once bool
	// waits: it is the state of ports, not the request, that stands in the way: with
	// no other path the request waits for a change of it, and does not go up.
	waits bool
	// ghost: the attempt may still run at the target.
	ghost bool
	// flushLost: a write that was acknowledged earlier has failed (H7).
	flushLost bool
	effect    effect
	// reason is why a request that waits for its next try is parked.
	reason backends.ParkReason
	// class replaces the result's when it goes up; 0: it stays.
	class backends.Class
}

const (
	shortTries = 3 // SAME, max 3
	attentions = 5 // unit attentions in a row on one command
)

// classify is the table of HAZARDS section 5, as far as a session's results go
// (a login's are the connector's). It is pure.
func classify(op backends.Op, r backends.Result) verdict {
	v := byResult(op, r)
	if op == backends.CompareAndWrite && v.action != deliver && !untouched(r) {
		// It may have been carried out, and once more would be another thing.
		v.action, v.class = deliver, backends.Aborted
	}
	return v
}

// untouched tells that the medium was certainly not changed.
func untouched(r backends.Result) bool {
	if r.Sent == backends.SentNone || r.Class == backends.Busy && r.Status == 0 {
		return true
	}
	switch scsi.Status(r.Status) {
	case scsi.StatusBusy, scsi.StatusTaskSetFull, scsi.StatusReservationConflict, scsi.StatusACAActive:
		return true
	case scsi.StatusCheckCondition:
		k := scsi.SenseKey(r.Sense.Key)
		return r.Sense.Valid && !r.Sense.Deferred && (k == scsi.NotReady ||
			k == scsi.IllegalRequest || k == scsi.UnitAttention && r.Sense.ASC != 0x2f)
	case scsi.StatusGood, scsi.StatusConditionMet, scsi.StatusTaskAborted:
	}
	return false
}

func byResult(op backends.Op, r backends.Result) verdict {
	switch {
	case r.Class == backends.OK:
		return verdict{action: deliver}
	case r.Class == backends.Transport && r.Sent != backends.SentAnswered:
		return verdict{action: other, ghost: op.Changes() && r.Sent == backends.SentSome}
	case r.Class == backends.Aborted:
		return verdict{action: other}
	}
	switch scsi.Status(r.Status) {
	case scsi.StatusBusy:
		return verdict{action: same, effect: effectSlower, reason: backends.ParkBusy}
	case scsi.StatusTaskSetFull:
		return verdict{action: same, effect: effectSlower, reason: backends.ParkFull}
	case scsi.StatusReservationConflict:
		return verdict{action: deliver, class: backends.ReservationConflict}
	case scsi.StatusTaskAborted:
		return verdict{action: same, tries: shortTries, reason: backends.ParkBusy}
	case scsi.StatusACAActive:
		// The seam has no CLEAR ACA, and we never set NACA: somebody else's.
		return verdict{action: other, effect: effectRefuse}
	case scsi.StatusCheckCondition:
		return bySense(r)
	case scsi.StatusGood, scsi.StatusConditionMet:
	}
	return byClass(r)
}

// byClass judges what has neither status nor sense that tells more.
func byClass(r backends.Result) verdict {
	switch r.Class {
	case backends.Transport: // answered, but short or with a lying residual
		return verdict{action: other, once: true, effect: effectStreak}
	case backends.Busy:
		return verdict{action: same, effect: effectSlower, reason: backends.ParkBusy}
	case backends.NoPath:
		return verdict{action: other, effect: effectRefuse, class: backends.NoPath}
	case backends.OK, backends.Medium, backends.IllegalRequest, backends.Unsupported,
		backends.DataProtect, backends.Miscompare, backends.ReservationConflict,
		backends.NoSpace, backends.Aborted:
	}
	return verdict{action: deliver}
}

func bySense(r backends.Result) verdict {
	if !r.Sense.Valid {
		return verdict{action: same, tries: 1, effect: effectStreak, reason: backends.ParkBusy}
	}
	if r.Sense.Deferred {
		return verdict{action: same, tries: shortTries, flushLost: true, reason: backends.ParkBusy}
	}
	s := scsi.Sense{Key: scsi.SenseKey(r.Sense.Key), ASC: r.Sense.ASC, ASCQ: r.Sense.ASCQ}
	switch s.Condition() {
	case scsi.ConditionNone: // a session takes these for success; as if unreadable
		return verdict{action: same, tries: 1, effect: effectStreak, reason: backends.ParkBusy}
	case scsi.ConditionTransition:
		if s.Is(scsi.CodeAccessTransition) {
			return verdict{action: same, waits: true, effect: effectTransition, reason: backends.ParkTransition}
		}
		return verdict{action: same, reason: backends.ParkBusy}
	case scsi.ConditionPortState:
		if s.Is(scsi.CodePortStandby) {
			return verdict{action: other, waits: true, effect: effectStandby}
		}
		return verdict{action: other, waits: true, effect: effectUnavailable}
	case scsi.ConditionAccessChanged: // the unit attention itself asks for the groups
		return verdict{action: other, waits: true, reason: backends.ParkBusy}
	case scsi.ConditionReset, scsi.ConditionCapacity, scsi.ConditionIdentity:
		return verdict{action: same, tries: attentions, effect: effectRecheck, reason: backends.ParkBusy}
	case scsi.ConditionReservation, scsi.ConditionAttention:
		return verdict{action: same, tries: attentions, reason: backends.ParkBusy}
	case scsi.ConditionSoftThreshold: // an alarm only
		return verdict{action: same, tries: attentions, reason: backends.ParkBusy}
	case scsi.ConditionCleared:
		return verdict{action: same, tries: shortTries, reason: backends.ParkBusy}
	case scsi.ConditionNotReady:
		return verdict{action: other, effect: effectFault}
	case scsi.ConditionMedium:
		return verdict{action: deliver, class: backends.Medium}
	case scsi.ConditionHardware:
		return verdict{action: other, once: true, effect: effectStreak, class: backends.Medium}
	case scsi.ConditionOpcode:
		return verdict{action: deliver, class: backends.Unsupported, effect: effectUnsupported}
	case scsi.ConditionIllegal:
		return verdict{action: deliver, class: backends.IllegalRequest}
	case scsi.ConditionNoLU:
		return verdict{action: other, effect: effectRefuse, class: backends.NoPath}
	case scsi.ConditionSpace:
		return verdict{action: deliver, class: backends.NoSpace}
	case scsi.ConditionProtected:
		return verdict{action: deliver, class: backends.DataProtect, effect: effectProtected}
	case scsi.ConditionCRC:
		return verdict{action: same, tries: 1, effect: effectStreak, reason: backends.ParkBusy}
	case scsi.ConditionAborted:
		return verdict{action: same, tries: shortTries, effect: effectStreak, reason: backends.ParkBusy}
	case scsi.ConditionMiscompare:
		return verdict{action: deliver, class: backends.Miscompare}
	case scsi.ConditionOther:
	}
	return verdict{action: deliver}
}

// backoff is the wait before try n (from 0) on the same path.
func backoff(r backends.ParkReason, n uint8) (ms int) {
	if r == backends.ParkTransition {
		return 100 << min(n, 4)
	}
	return 5 << min(n, 6) // 5 ms to 320 ms
}
