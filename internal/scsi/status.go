// SPDX-License-Identifier: Apache-2.0

package scsi

import "fmt"

// Status is the status byte of a finished command (SAM-5, Status codes).
type Status uint8

const (
	// StatusGood: done without error.
	StatusGood Status = 0x00
	// StatusCheckCondition: sense data tells what happened.
	StatusCheckCondition Status = 0x02
	// StatusConditionMet: success of PRE-FETCH when all blocks fit.
	StatusConditionMet Status = 0x04
	// StatusBusy: try again later.
	StatusBusy Status = 0x08
	// StatusReservationConflict: another nexus holds a reservation.
	StatusReservationConflict Status = 0x18
	// StatusTaskSetFull: no room for the command now; lower the depth.
	StatusTaskSetFull Status = 0x28
	// StatusACAActive: an auto contingent allegiance must be cleared first.
	StatusACAActive Status = 0x30
	// StatusTaskAborted: another nexus aborted the command (TAS = 1).
	StatusTaskAborted Status = 0x40
)

// String returns the name in the standard, or the number.
func (s Status) String() string {
	switch s {
	case StatusGood:
		return "GOOD"
	case StatusCheckCondition:
		return "CHECK CONDITION"
	case StatusConditionMet:
		return "CONDITION MET"
	case StatusBusy:
		return "BUSY"
	case StatusReservationConflict:
		return "RESERVATION CONFLICT"
	case StatusTaskSetFull:
		return "TASK SET FULL"
	case StatusACAActive:
		return "ACA ACTIVE"
	case StatusTaskAborted:
		return "TASK ABORTED"
	default:
		return fmt.Sprintf("status %02Xh", uint8(s))
	}
}
