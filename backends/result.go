// SPDX-License-Identifier: Apache-2.0

package backends

import "fmt"

// Class sorts results by what the one above can do about them. The zero Class
// is invalid, so that a forgotten result never passes for success.
type Class uint8

// Classes. HAZARDS section 5 tells what the path manager does with each.
const (
	// OK: done, all of it.
	OK Class = iota + 1
	// Transport: the session or its target failed; Result.Sent tells whether
	// the command may still run.
	Transport
	// Busy: answered, not done, and the same path will do it later (BUSY, TASK
	// SET FULL, a unit attention, an ALUA transition, becoming ready).
	Busy
	// Medium: the medium or the hardware of the LUN failed for this range.
	Medium
	// IllegalRequest: the request itself is wrong for this LUN.
	IllegalRequest
	// Unsupported: this LUN does not do the operation.
	Unsupported
	// DataProtect: the LUN is read-only or write-protected.
	DataProtect
	// Miscompare: CompareAndWrite or Verify found other data.
	Miscompare
	// ReservationConflict: another initiator holds a reservation.
	ReservationConflict
	// NoSpace: the LUN's pool is full.
	NoSpace
	// NoPath: no path is left, for longer than the device may wait, or the LUN
	// is gone for good.
	NoPath
	// Aborted: ended by Abort, Reset or Close. Sent tells whether it was sent.
	Aborted
)

var classNames = [...]string{
	"", "ok", "transport", "busy", "medium error",
	"illegal request", "unsupported", "data protect", "miscompare",
	"reservation conflict", "no space", "no path", "aborted",
}

// String gives the name as events and tables show it.
func (c Class) String() string {
	if c == 0 || int(c) >= len(classNames) {
		return fmt.Sprintf("class(%d)", uint8(c))
	}
	return classNames[c]
}

// Sent tells how far a request got. Without it nobody can tell a clean request
// from a ghost (HAZARDS section 4 rule 1).
type Sent uint8

const (
	// SentNone: not one byte of the command was handed to a socket.
	SentNone Sent = iota
	// SentSome: at least one byte was, and no answer came: it may still run.
	SentSome
	// SentAnswered: the target has answered, so it runs no longer.
	SentAnswered
)

// String gives the name for people.
func (s Sent) String() string {
	switch s {
	case SentNone:
		return "none"
	case SentSome:
		return "some"
	case SentAnswered:
		return "answered"
	}
	return fmt.Sprintf("sent(%d)", uint8(s))
}

// Sense is SCSI sense data in the short form that decisions need. Valid false:
// the device gave none.
type Sense struct {
	Valid          bool
	Deferred       bool // about an older, already answered command (71h, 73h)
	Key, ASC, ASCQ uint8
	HasInfo        bool   // Information is valid
	Information    uint64 // LBA, or offset of a miscompare
}

// String gives key/ASC/ASCQ in hex, as in "6/29/00".
func (s Sense) String() string {
	if !s.Valid {
		return "no sense"
	}
	t := fmt.Sprintf("%x/%02x/%02x", s.Key, s.ASC, s.ASCQ)
	if s.Deferred {
		t += " (deferred)"
	}
	return t
}

// Result is how a request ended.
type Result struct {
	Class Class
	Sent  Sent
	// Status is the SCSI status byte when a SCSI target answered.
	Status uint8
	Sense  Sense
}

// Done is the result of a request that was carried out in full.
func Done() Result { return Result{Class: OK, Sent: SentAnswered} }

// Failed is a result of class c for a request that no target saw.
func Failed(c Class) Result { return Result{Class: c, Sent: SentNone} }

// OK tells whether the request was done.
func (r Result) OK() bool { return r.Class == OK }

// Err gives nil on OK, else an error that names class and sense.
func (r Result) Err() error {
	if r.Class == OK {
		return nil
	}
	return ResultError{r}
}

// ResultError is a result as an error value.
type ResultError struct{ Result Result }

// Error tells the class and, if there is any, the sense data.
func (e ResultError) Error() string {
	if e.Result.Sense.Valid {
		return e.Result.Class.String() + ", sense " + e.Result.Sense.String()
	}
	return e.Result.Class.String()
}
