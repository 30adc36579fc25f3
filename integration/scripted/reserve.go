// SPDX-License-Identifier: Apache-2.0

package scripted

import (
	"slices"

	"pathgate/internal/scsi"
)

// reservations are the registrations and the reservation of a unit (SPC-4,
// PERSISTENT RESERVE OUT). A registration belongs to an I_T nexus: initiator name,
// ISID and portal group.
type reservations struct {
	generation uint32
	list       []registration
	kind       scsi.ReservationType
	holder     string
}

type registration struct {
	nexus string
	key   uint64
}

func (r *reservations) keyOf(nexus string) (uint64, bool) {
	for _, g := range r.list {
		if g.nexus == nexus {
			return g.key, true
		}
	}
	return 0, false
}

// conflicts tells that a command of nexus may not run.
func (r *reservations) conflicts(nexus string, writes bool) bool {
	_, registered := r.keyOf(nexus)
	switch r.kind {
	case scsi.NoReservation:
		return false
	case scsi.WriteExclusive:
		return writes && r.holder != nexus
	case scsi.ExclusiveAccess:
		return r.holder != nexus
	case scsi.WriteExclusiveRegistrantsOnly, scsi.WriteExclusiveAllRegistrants:
		return writes && !registered
	case scsi.ExclusiveAccessRegistrantsOnly, scsi.ExclusiveAccessAllRegistrants:
		return !registered
	}
	return false
}

// reserveIn answers PERSISTENT RESERVE IN.
func (u *Unit) reserveIn(cdb *[16]byte) ([]byte, scsi.SenseCode) {
	in, err := scsi.DecodePersistentReserveIn(cdb)
	if err != nil || u.NoReservations {
		return nil, scsi.CodeInvalidOpcode
	}
	r := &u.reserved
	switch in.Action {
	case scsi.ReadKeys:
		k := scsi.RegisteredKeys{Generation: r.generation}
		for _, g := range r.list {
			k.Keys = append(k.Keys, g.key)
		}
		return k.Append(nil), 0
	case scsi.ReadReservation:
		v := scsi.Reservation{Generation: r.generation, Held: r.kind != 0, Type: r.kind}
		if !r.kind.AllRegistrants() {
			v.Key, _ = r.keyOf(r.holder)
		}
		return v.Append(nil), 0
	case scsi.ReportCapabilities:
		return scsi.ReservationCapabilities{TypesValid: true, Types: scsi.ReservationTypesOf(scsi.WriteExclusive,
			scsi.ExclusiveAccess, scsi.WriteExclusiveRegistrantsOnly, scsi.WriteExclusiveAllRegistrants)}.Append(nil), 0
	case scsi.ReadFullStatus:
	}
	return nil, scsi.CodeInvalidFieldInCDB
}

// reserveOut carries PERSISTENT RESERVE OUT out; conflict: RESERVATION CONFLICT.
func (u *Unit) reserveOut(c *conn, cdb *[16]byte, list []byte) (code scsi.SenseCode, conflict bool) {
	out, err := scsi.DecodePersistentReserveOut(cdb)
	if err != nil || u.NoReservations {
		return scsi.CodeInvalidOpcode, false
	}
	p, err := scsi.DecodeReserveParameters(list)
	if err != nil {
		return scsi.CodeParameterListLength, false
	}
	r := &u.reserved
	have, registered := r.keyOf(c.nexus)
	if out.Action != scsi.RegisterAndIgnore && (!registered && (out.Action != scsi.Register || p.Key != 0) || registered && have != p.Key) {
		return 0, true
	}
	switch out.Action {
	case scsi.Register, scsi.RegisterAndIgnore:
		u.register(c.nexus, p.ActionKey)
	case scsi.Reserve:
		if r.kind != 0 && (r.kind != out.Type || r.holder != c.nexus && !r.kind.AllRegistrants()) {
			return 0, true
		}
		r.kind, r.holder = out.Type, c.nexus
	case scsi.Release:
		u.release(c.nexus)
	case scsi.Clear:
		r.list, r.kind, r.holder = nil, 0, ""
		r.generation++
	case scsi.Preempt, scsi.PreemptAndAbort:
		return 0, !u.preempt(c, p.ActionKey, out.Type)
	case scsi.RegisterAndMove, scsi.ReplaceLost:
		return scsi.CodeInvalidFieldInCDB, false
	}
	return 0, false
}

func (u *Unit) register(nexus string, key uint64) {
	r := &u.reserved
	r.generation++
	if key == 0 {
		u.release(nexus)
	}
	r.list = slices.DeleteFunc(r.list, func(g registration) bool { return g.nexus == nexus })
	if key != 0 {
		r.list = append(r.list, registration{nexus, key})
	}
}

func (u *Unit) release(nexus string) {
	r := &u.reserved
	if r.holder == nexus || r.kind.AllRegistrants() && len(r.list) == 1 {
		r.kind, r.holder = 0, ""
	}
}

// preempt removes the registrations with key, and takes the reservation over if it
// was theirs. It tells whether there was one.
func (u *Unit) preempt(c *conn, key uint64, kind scsi.ReservationType) bool {
	r := &u.reserved
	gone := map[string]bool{}
	for _, g := range r.list {
		if g.key == key && g.nexus != c.nexus || key == 0 && r.kind.AllRegistrants() && g.nexus != c.nexus {
			gone[g.nexus] = true
		}
	}
	held, _ := r.keyOf(r.holder)
	if len(gone) == 0 && held != key {
		return false
	}
	if r.kind != 0 && (gone[r.holder] || held == key || key == 0) {
		r.kind, r.holder = kind, c.nexus
	}
	r.list = slices.DeleteFunc(r.list, func(g registration) bool { return gone[g.nexus] })
	r.generation++
	u.raiseLocked(scsi.CodeRegistrationsPreempted, func(o *conn) bool { return gone[o.nexus] })
	return true
}
