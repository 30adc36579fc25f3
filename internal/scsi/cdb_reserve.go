// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"encoding/binary"
	"fmt"
)

// ReserveInAction is a service action of PERSISTENT RESERVE IN.
type ReserveInAction uint8

// Service actions of PERSISTENT RESERVE IN (SPC-4).
const (
	ReadKeys           ReserveInAction = 0
	ReadReservation    ReserveInAction = 1
	ReportCapabilities ReserveInAction = 2
	ReadFullStatus     ReserveInAction = 3
)

// ReserveOutAction is a service action of PERSISTENT RESERVE OUT.
type ReserveOutAction uint8

// Service actions of PERSISTENT RESERVE OUT (SPC-4).
const (
	Register          ReserveOutAction = 0
	Reserve           ReserveOutAction = 1
	Release           ReserveOutAction = 2
	Clear             ReserveOutAction = 3
	Preempt           ReserveOutAction = 4
	PreemptAndAbort   ReserveOutAction = 5
	RegisterAndIgnore ReserveOutAction = 6 // REGISTER AND IGNORE EXISTING KEY
	RegisterAndMove   ReserveOutAction = 7
	ReplaceLost       ReserveOutAction = 8 // REPLACE LOST RESERVATION
)

// ReservationType is the TYPE field of a persistent reservation.
type ReservationType uint8

// Reservation types (SPC-4, Persistent reservation type).
const (
	NoReservation                  ReservationType = 0
	WriteExclusive                 ReservationType = 1
	ExclusiveAccess                ReservationType = 3
	WriteExclusiveRegistrantsOnly  ReservationType = 5
	ExclusiveAccessRegistrantsOnly ReservationType = 6
	WriteExclusiveAllRegistrants   ReservationType = 7
	ExclusiveAccessAllRegistrants  ReservationType = 8
)

// String returns the type in words.
func (t ReservationType) String() string {
	switch t {
	case NoReservation:
		return "none"
	case WriteExclusive:
		return "write exclusive"
	case ExclusiveAccess:
		return "exclusive access"
	case WriteExclusiveRegistrantsOnly:
		return "write exclusive, registrants only"
	case ExclusiveAccessRegistrantsOnly:
		return "exclusive access, registrants only"
	case WriteExclusiveAllRegistrants:
		return "write exclusive, all registrants"
	case ExclusiveAccessAllRegistrants:
		return "exclusive access, all registrants"
	default:
		return fmt.Sprintf("reservation type %Xh", uint8(t))
	}
}

// AllRegistrants reports whether every registered nexus holds the reservation.
func (t ReservationType) AllRegistrants() bool {
	return t == WriteExclusiveAllRegistrants || t == ExclusiveAccessAllRegistrants
}

// PersistentReserveIn is PERSISTENT RESERVE IN (SPC-4), 10 bytes.
type PersistentReserveIn struct {
	// Action is the service action, 0-31.
	Action ReserveInAction
	// AllocationLength in bytes.
	AllocationLength uint16
}

// Encode fills b and returns 10, or 0 if a field does not fit.
func (c PersistentReserveIn) Encode(b *[16]byte) int {
	start(b, OpPersistentReserveIn)
	if c.Action > 0x1f {
		return 0
	}
	b[1] = byte(c.Action)
	binary.BigEndian.PutUint16(b[7:], c.AllocationLength)
	return 10
}

// DecodePersistentReserveIn reads a PERSISTENT RESERVE IN.
func DecodePersistentReserveIn(b *[16]byte) (PersistentReserveIn, error) {
	if err := want(b, OpPersistentReserveIn); err != nil {
		return PersistentReserveIn{}, err
	}
	return PersistentReserveIn{Action: ReserveInAction(b[1] & 0x1f), AllocationLength: binary.BigEndian.Uint16(b[7:])}, nil
}

// PersistentReserveOut is PERSISTENT RESERVE OUT (SPC-4), 10 bytes.
type PersistentReserveOut struct {
	// Action is the service action, 0-31.
	Action ReserveOutAction
	// Scope is 0, the logical unit; other values are obsolete or reserved.
	Scope uint8
	// Type counts for Reserve, Release, Preempt and PreemptAndAbort.
	Type ReservationType
	// ParameterListLength in bytes: 24 but for SPEC_I_PT and RegisterAndMove.
	ParameterListLength uint32
}

// Encode fills b and returns 10, or 0 if a field does not fit.
func (c PersistentReserveOut) Encode(b *[16]byte) int {
	start(b, OpPersistentReserveOut)
	if c.Action > 0x1f || c.Scope > 0x0f || c.Type > 0x0f {
		return 0
	}
	b[1] = byte(c.Action)
	b[2] = c.Scope<<4 | byte(c.Type)
	binary.BigEndian.PutUint32(b[5:], c.ParameterListLength)
	return 10
}

// DecodePersistentReserveOut reads a PERSISTENT RESERVE OUT.
func DecodePersistentReserveOut(b *[16]byte) (PersistentReserveOut, error) {
	if err := want(b, OpPersistentReserveOut); err != nil {
		return PersistentReserveOut{}, err
	}
	return PersistentReserveOut{
		Action: ReserveOutAction(b[1] & 0x1f), Scope: b[2] >> 4, Type: ReservationType(b[2] & 0x0f),
		ParameterListLength: binary.BigEndian.Uint32(b[5:]),
	}, nil
}
