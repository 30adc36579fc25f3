// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"math/bits"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// access is what a reservation of another nexus takes away (SPC-4, table of
// commands that are allowed in the presence of reservations). A nexus has a
// level, and does what is at or below it.
type access uint8

const (
	accessFree  access = iota // always, also while another nexus has a RESERVE
	accessOpen                // always in the presence of persistent reservations
	accessRead                // not under Exclusive Access
	accessWrite               // not under Write Exclusive either
)

// noAction is the action of an operation code without service actions.
const noAction = -1

// entry is a command: all that is known of it before its CDB is looked at. The
// table of entries is the one place that says what is supported.
type entry struct {
	op     scsi.Opcode
	action int // service action, or noAction
	// size is the length of the CDB, usage the bits of it that are looked at: others
	// have to be 0. REPORT SUPPORTED OPERATION CODES tells both.
	size  int
	usage [16]byte
	// access is what other nexuses' reservations are asked for.
	access access
	// quiet: it is carried out in spite of a unit attention.
	quiet bool
	// changes: refused while the medium is write-protected.
	changes bool
	// erases: it may follow an erasure that failed.
	erases bool
	// needs is what the device has to be capable of.
	needs backends.Caps
	// check reads the CDB into the task's demand. Nil: nothing to check.
	check func(t *task) scsi.Sense
	// run carries the command out, when it is not one request to the device. It is
	// called with no lock held and must not block.
	run func(b *backends.Batch, t *task)
}

// lookup gives the entry of a CDB, if this unit has it; listed tells whether it
// has the operation code. Entries are in ascending order of operation codes.
func (u *Unit) lookup(cdb *scsi.CDB) (e *entry, listed bool) {
	table, caps := u.table, u.geometry.Load().caps
	lo, hi := 0, len(table)
	for lo < hi {
		if m := int(uint(lo+hi) >> 1); table[m].op < cdb.Opcode() {
			lo = m + 1
		} else {
			hi = m
		}
	}
	for ; lo < len(table) && table[lo].op == cdb.Opcode(); lo++ {
		e := &table[lo]
		if !caps.Has(e.needs) {
			continue
		}
		if e.action == noAction || e.action == int(cdb.ServiceAction()) {
			return e, true
		}
		listed = true
	}
	return nil, listed
}

// badField is INVALID FIELD IN CDB that points to a bit of a byte.
func badField(at int, bit int8) scsi.Sense {
	s := scsi.CodeInvalidFieldInCDB.Sense()
	s.Specific, s.InCDB, s.Field, s.Bit = scsi.SpecificField, true, uint16(at), bit
	return s
}

// badBits points to the highest of wrong bits.
func badBits(at int, wrong byte) scsi.Sense { return badField(at, int8(bits.Len8(wrong)-1)) }

// badParameter is INVALID FIELD IN PARAMETER LIST that points to a byte.
func badParameter(at int) scsi.Sense {
	s := scsi.CodeInvalidFieldInParameters.Sense()
	s.Specific, s.Field, s.Bit = scsi.SpecificField, uint16(at), scsi.NoBit
	return s
}

const (
	codeInvalidMessage         scsi.SenseCode = 0x0b_49_00 // as a wrong task attribute (SAM-5)
	codeInvalidInformationUnit scsi.SenseCode = 0x05_0e_03 // invalid field in command information unit
)
