// SPDX-License-Identifier: Apache-2.0

package scsi

// Condition is what sense data means to an initiator: one value for each case
// that must be handled differently. It says nothing about what to do.
type Condition uint8

const (
	// ConditionOther: nothing that the table knows.
	ConditionOther Condition = iota
	// ConditionNone: no sense or a recovered error; the command succeeded.
	ConditionNone
	// ConditionTransition: the unit will be ready by itself: ALUA transition
	// (2/04/0A), becoming ready (2/04/01), space allocation (2/04/14), sanitize
	// (2/04/1B).
	ConditionTransition
	// ConditionPortState: this port is standby (2/04/0B) or unavailable
	// (2/04/0C); another may serve.
	ConditionPortState
	// ConditionAccessChanged: ALUA states changed (6/2A/06) or an implicit
	// transition failed (6/2A/07): read the port groups again.
	ConditionAccessChanged
	// ConditionNotReady: any other NOT READY: 2/04/02, 2/04/03, 2/04/12, 2/3A/00.
	ConditionNotReady
	// ConditionMedium: 3/xx.
	ConditionMedium
	// ConditionHardware: 4/xx.
	ConditionHardware
	// ConditionOpcode: 5/20/xx, the command is not supported.
	ConditionOpcode
	// ConditionIllegal: any other ILLEGAL REQUEST.
	ConditionIllegal
	// ConditionNoLU: 5/25/00, no such logical unit here.
	ConditionNoLU
	// ConditionReset: 6/29/xx: reset, power on or nexus loss.
	ConditionReset
	// ConditionCapacity: 6/2A/09.
	ConditionCapacity
	// ConditionIdentity: 6/3F/03, 6/3F/05 or 6/3F/0E: another unit may be here.
	ConditionIdentity
	// ConditionReservation: 6/2A/03, 6/2A/04 or 6/2A/05.
	ConditionReservation
	// ConditionCleared: commands were cleared: 6/2F/xx, B/2F/xx, B/47/7F.
	ConditionCleared
	// ConditionSoftThreshold: 6/38/07, a warning about thin space.
	ConditionSoftThreshold
	// ConditionAttention: any other unit attention.
	ConditionAttention
	// ConditionSpace: 7/27/07, thin space is used up.
	ConditionSpace
	// ConditionProtected: any other DATA PROTECT.
	ConditionProtected
	// ConditionCRC: B/47/05, data was damaged on its way.
	ConditionCRC
	// ConditionAborted: any other ABORTED COMMAND.
	ConditionAborted
	// ConditionMiscompare: E/xx; Information is the offset in bytes.
	ConditionMiscompare
)

// String returns a short word.
func (c Condition) String() string {
	names := [...]string{
		"other", "none", "transition", "port-state", "access-changed", "not-ready", "medium",
		"hardware", "opcode", "illegal", "no-lu", "reset", "capacity", "identity", "reservation",
		"cleared", "soft-threshold", "attention", "space", "protected", "crc", "aborted", "miscompare",
	}
	if int(c) < len(names) {
		return names[c]
	}
	return "unknown"
}

// Condition classifies the sense by its code. Deferred is not looked at: a
// deferred error is about an earlier command, so the caller asks for it first.
func (s Sense) Condition() Condition {
	switch s.Key {
	case NoSense, RecoveredError, Completed:
		return ConditionNone
	case NotReady:
		return s.notReady()
	case MediumError:
		return ConditionMedium
	case HardwareError:
		return ConditionHardware
	case IllegalRequest:
		switch {
		case s.ASC == 0x20:
			return ConditionOpcode
		case s.Is(CodeLUNotSupported):
			return ConditionNoLU
		}
		return ConditionIllegal
	case UnitAttention:
		return s.attention()
	case DataProtect:
		if s.Is(CodeSpaceAllocationFailed) {
			return ConditionSpace
		}
		return ConditionProtected
	case AbortedCommand:
		switch {
		case s.ASC == 0x2f || s.Is(CodeSomeCommandsClearedByEvent):
			return ConditionCleared
		case s.Is(CodeProtocolServiceCRC):
			return ConditionCRC
		}
		return ConditionAborted
	case Miscompare:
		return ConditionMiscompare
	case BlankCheck, VendorSpecific, CopyAborted, VolumeOverflow:
	}
	return ConditionOther
}

func (s Sense) notReady() Condition {
	switch s.Code() {
	case CodeAccessTransition, CodeBecomingReady, CodeSpaceAllocation, CodeSanitizeInProgress:
		return ConditionTransition
	case CodePortStandby, CodePortUnavailable:
		return ConditionPortState
	default:
		return ConditionNotReady
	}
}

func (s Sense) attention() Condition {
	switch s.ASC {
	case 0x29:
		return ConditionReset
	case 0x2f:
		return ConditionCleared
	}
	switch s.Code() {
	case CodeAccessStateChanged, CodeImplicitTransitionFailed:
		return ConditionAccessChanged
	case CodeCapacityChanged:
		return ConditionCapacity
	case CodeInquiryChanged, CodeDeviceIdentifierChanged, CodeReportedLUNsChanged:
		return ConditionIdentity
	case CodeReservationsPreempted, CodeReservationsReleased, CodeRegistrationsPreempted:
		return ConditionReservation
	case CodeSoftThreshold:
		return ConditionSoftThreshold
	default:
		return ConditionAttention
	}
}
