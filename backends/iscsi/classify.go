// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"pathgate/backends"
	"pathgate/internal/scsi"
)

// classify sorts a status and the sense data that came with it. It decides
// nothing: what to do about a class is the path manager's. Where a sense code
// needs another path rather than this one, and is no fault of the request, the
// class is Transport with SentAnswered: nothing runs any more.
func classify(status uint8, sense []byte) backends.Result {
	res := backends.Result{Sent: backends.SentAnswered, Status: status}
	switch scsi.Status(status) {
	case scsi.StatusGood, scsi.StatusConditionMet:
		res.Class = backends.OK
	case scsi.StatusBusy, scsi.StatusTaskSetFull, scsi.StatusTaskAborted:
		res.Class = backends.Busy
	case scsi.StatusReservationConflict:
		res.Class = backends.ReservationConflict
	case scsi.StatusCheckCondition:
		classifySense(&res, sense)
	case scsi.StatusACAActive:
		res.Class = backends.Transport
	default:
		res.Class = backends.Transport
	}
	return res
}

func classifySense(res *backends.Result, raw []byte) {
	s, err := scsi.DecodeSense(raw)
	if err != nil {
		// No or unreadable sense: the same path is tried again, a few times.
		res.Class = backends.Busy
		return
	}
	res.Sense = shortSense(s)
	if s.Deferred {
		// About an older write; the command itself was not done.
		res.Class = backends.Busy
		return
	}
	if s.Key == scsi.UnitAttention {
		res.Class = backends.Busy
		return
	}
	res.Class = classOf(s.Condition())
}

// shortSense is the part of sense data that decisions need.
func shortSense(s scsi.Sense) backends.Sense {
	return backends.Sense{
		Valid: true, Deferred: s.Deferred, Key: uint8(s.Key), ASC: s.ASC, ASCQ: s.ASCQ,
		HasInfo: s.InformationValid, Information: s.Information,
	}
}

func classOf(c scsi.Condition) backends.Class {
	switch c {
	case scsi.ConditionNone:
		return backends.OK
	case scsi.ConditionTransition, scsi.ConditionCleared, scsi.ConditionCRC, scsi.ConditionAborted:
		return backends.Busy
	case scsi.ConditionReset, scsi.ConditionCapacity, scsi.ConditionIdentity, scsi.ConditionReservation,
		scsi.ConditionAccessChanged, scsi.ConditionSoftThreshold, scsi.ConditionAttention:
		return backends.Busy
	case scsi.ConditionMedium, scsi.ConditionHardware:
		return backends.Medium
	case scsi.ConditionOpcode:
		return backends.Unsupported
	case scsi.ConditionIllegal:
		return backends.IllegalRequest
	case scsi.ConditionSpace:
		return backends.NoSpace
	case scsi.ConditionProtected:
		return backends.DataProtect
	case scsi.ConditionMiscompare:
		return backends.Miscompare
	case scsi.ConditionPortState, scsi.ConditionNotReady, scsi.ConditionNoLU, scsi.ConditionOther:
		return backends.Transport
	}
	return backends.Transport
}
