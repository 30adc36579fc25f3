// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"encoding/json"
	"fmt"
	"slices"

	"pathgate/internal/scsi"
)

// maxRegistrations bounds what initiators can make a unit keep.
const maxRegistrations = 256

// portID names a nexus for persistent reservations: an initiator port and the
// relative target port. Target port 0 stands for all.
type portID struct {
	Name string  `json:"name"`
	ISID [6]byte `json:"isid"`
	Port uint16  `json:"port"`
}

// covers tells whether a registration of p is one of the nexus q.
func (p portID) covers(q portID) bool {
	return p.Name == q.Name && p.ISID == q.ISID && (p.Port == 0 || p.Port == q.Port)
}

func (p portID) transport() scsi.TransportID {
	return scsi.TransportID{Protocol: scsi.ProtocolISCSI, Name: p.Name, ISID: p.ISID, HasISID: true}
}

// registration is one registered nexus.
type registration struct {
	portID
	Key uint64 `json:"key"`
}

// reservations are the persistent reservations of a unit (SPC-4, Persistent
// Reservations management). It is a value: apply gives the next one and leaves
// the old one as it was.
type reservations struct {
	generation uint32
	regs       []registration
	// kind is NoReservation or the type; holder is who has it, but for the
	// all-registrants types.
	kind   scsi.ReservationType
	holder portID
	// persist: kept over a restart (APTPL of the last registration).
	persist bool
}

// reserveOp is a PERSISTENT RESERVE OUT of the nexus me.
type reserveOp struct {
	me     portID
	action scsi.ReserveOutAction
	kind   scsi.ReservationType
	list   scsi.ReserveParameters
	// move is the list of REGISTER AND MOVE instead.
	move scsi.MoveParameters
}

// notice is a unit attention for the nexuses that who covers.
type notice struct {
	who  portID
	code scsi.SenseCode
}

// ruling is the answer to a reserveOp: a status, and sense data for CHECK
// CONDITION; when it is GOOD, what follows of it.
type ruling struct {
	status  scsi.Status
	sense   scsi.Sense
	notices []notice
	aborted []portID // their tasks end (PREEMPT AND ABORT)
}

func conflict() ruling { return ruling{status: scsi.StatusReservationConflict} }

func wrong(s scsi.Sense) ruling { return ruling{status: scsi.StatusCheckCondition, sense: s} }

// find gives the index of me's registration, or -1.
func (r *reservations) find(me portID) int {
	return slices.IndexFunc(r.regs, func(g registration) bool { return g.covers(me) })
}

// holds tells whether the registration i holds the reservation.
func (r *reservations) holds(i int) bool {
	return i >= 0 && r.kind != scsi.NoReservation && (r.kind.AllRegistrants() || r.regs[i].portID == r.holder)
}

// level is the most that a nexus may do.
func (r *reservations) level(me portID) access {
	if r.kind == scsi.NoReservation {
		return accessWrite
	}
	i := r.find(me)
	if r.holds(i) || i >= 0 && forRegistrants(r.kind) {
		return accessWrite
	}
	return r.outside()
}

// outside is the most that a nexus without a registration may do.
func (r *reservations) outside() access {
	switch r.kind {
	case scsi.NoReservation:
		return accessWrite
	case scsi.WriteExclusive, scsi.WriteExclusiveRegistrantsOnly, scsi.WriteExclusiveAllRegistrants:
		return accessRead
	default:
		return accessOpen
	}
}

// forRegistrants tells whether every registered nexus may do all.
func forRegistrants(k scsi.ReservationType) bool {
	return k != scsi.WriteExclusive && k != scsi.ExclusiveAccess
}

func validType(k scsi.ReservationType) bool {
	switch k {
	case scsi.WriteExclusive, scsi.ExclusiveAccess, scsi.WriteExclusiveRegistrantsOnly,
		scsi.ExclusiveAccessRegistrantsOnly, scsi.WriteExclusiveAllRegistrants, scsi.ExclusiveAccessAllRegistrants:
		return true
	default:
		return false
	}
}

// apply gives the state after op, and the answer. On another status than GOOD the
// state is the old one.
func (r reservations) apply(op reserveOp) (reservations, ruling) {
	next := r
	next.regs = slices.Clone(r.regs)
	var out ruling
	i := r.find(op.me)
	switch op.action {
	case scsi.Register, scsi.RegisterAndIgnore:
		out = next.register(op, i)
	default:
		key := op.list.Key
		if op.action == scsi.RegisterAndMove {
			key = op.move.Key
		}
		if i < 0 || r.regs[i].Key != key {
			return r, conflict()
		}
		out = next.registered(op, i)
	}
	if out.status != scsi.StatusGood {
		return r, out
	}
	return next, out
}

// registered carries out what only a registered nexus, the i-th, may do.
func (r *reservations) registered(op reserveOp, i int) ruling {
	switch op.action {
	case scsi.Reserve:
		return r.reserve(op, i)
	case scsi.Release:
		return r.release(op, i)
	case scsi.Clear:
		r.generation++
		out := r.tellOthers(op.me, scsi.CodeReservationsPreempted)
		r.regs, r.kind, r.holder = nil, scsi.NoReservation, portID{}
		return out
	case scsi.Preempt, scsi.PreemptAndAbort:
		return r.preempt(op, i)
	case scsi.RegisterAndMove:
		return r.registerAndMove(op, i)
	default:
		return wrong(badField(1, 4))
	}
}

// tellOthers is GOOD, with a notice to every registered nexus but me.
func (r *reservations) tellOthers(me portID, code scsi.SenseCode) (out ruling) {
	for _, g := range r.regs {
		if !g.covers(me) {
			out.notices = append(out.notices, notice{g.portID, code})
		}
	}
	return out
}

func (r *reservations) register(op reserveOp, i int) (out ruling) {
	p := &op.list
	switch {
	case op.action == scsi.RegisterAndIgnore && len(p.Initiators) > 0, i >= 0 && len(p.Initiators) > 0:
		return wrong(badParameter(20))
	case op.action == scsi.RegisterAndIgnore:
	case i < 0 && p.Key != 0, i >= 0 && r.regs[i].Key != p.Key:
		return conflict()
	}
	switch {
	case p.ActionKey == 0 && i >= 0:
		out = r.unregister(i)
	case p.ActionKey != 0:
		for _, id := range p.Initiators {
			if id.Protocol != scsi.ProtocolISCSI || !id.HasISID {
				return wrong(badParameter(24))
			}
		}
		r.enter(op.me, p.ActionKey, p.AllPorts)
		for _, id := range p.Initiators {
			r.enter(portID{id.Name, id.ISID, op.me.Port}, p.ActionKey, p.AllPorts)
		}
		if len(r.regs) > maxRegistrations {
			return wrong(scsi.CodeInsufficientRegistrations.Sense())
		}
	}
	r.generation++
	if i >= 0 || p.ActionKey != 0 { // one that registers nobody decides nothing
		r.persist = p.Persist
	}
	return out
}

// enter registers who, or changes its key. A registration for all ports takes
// the place of those for single ones.
func (r *reservations) enter(who portID, key uint64, all bool) {
	held := r.kind != scsi.NoReservation && !r.kind.AllRegistrants() && r.holder.covers(who)
	if all {
		who.Port = 0
		held = held || r.kind != scsi.NoReservation && who.covers(r.holder)
		r.regs = slices.DeleteFunc(r.regs, func(g registration) bool { return who.covers(g.portID) })
	}
	if i := r.find(who); i >= 0 {
		r.regs[i].Key = key
		return
	}
	r.regs = append(r.regs, registration{who, key})
	if held {
		r.holder = who
	}
}

// unregister removes the i-th registration, and its reservation.
func (r *reservations) unregister(i int) (out ruling) {
	gone := r.regs[i].portID
	held := r.holds(i)
	r.regs = slices.Delete(r.regs, i, i+1)
	if !held || r.kind.AllRegistrants() && len(r.regs) > 0 {
		return out
	}
	if forRegistrants(r.kind) {
		out = r.tellOthers(gone, scsi.CodeReservationsReleased)
	}
	r.kind, r.holder = scsi.NoReservation, portID{}
	return out
}

func (r *reservations) reserve(op reserveOp, i int) ruling {
	switch {
	case !validType(op.kind):
		return wrong(badField(2, 3))
	case r.kind == scsi.NoReservation:
		r.take(op.kind, i)
		return ruling{}
	case r.holds(i) && r.kind == op.kind:
		return ruling{}
	default:
		return conflict()
	}
}

// take makes the i-th registration the holder.
func (r *reservations) take(kind scsi.ReservationType, i int) {
	r.kind, r.holder = kind, portID{}
	if !kind.AllRegistrants() {
		r.holder = r.regs[i].portID
	}
}

func (r *reservations) release(op reserveOp, i int) (out ruling) {
	switch {
	case !r.holds(i):
		return ruling{}
	case r.kind != op.kind:
		return wrong(scsi.CodeInvalidRelease.Sense())
	}
	if forRegistrants(r.kind) {
		out = r.tellOthers(op.me, scsi.CodeReservationsReleased)
	}
	r.kind, r.holder = scsi.NoReservation, portID{}
	return out
}

// preempt removes registrations by their key and, when that is the holder's, or 0
// for an all-registrants reservation, takes the reservation too.
func (r *reservations) preempt(op reserveOp, i int) (out ruling) {
	key := op.list.ActionKey
	me := r.regs[i].portID
	everyone := r.kind.AllRegistrants() && key == 0
	if key == 0 && !everyone {
		return wrong(badParameter(8))
	}
	takes := everyone
	if r.kind != scsi.NoReservation && !r.kind.AllRegistrants() {
		h := slices.IndexFunc(r.regs, func(g registration) bool { return g.portID == r.holder })
		takes = h >= 0 && r.regs[h].Key == key
	}
	if takes && !validType(op.kind) { // else the type means nothing
		return wrong(badField(2, 3))
	}
	var kept []registration
	for _, g := range r.regs {
		if g.Key == key || everyone {
			if g.portID != me {
				out.notices = append(out.notices, notice{g.portID, scsi.CodeRegistrationsPreempted})
				out.aborted = append(out.aborted, g.portID)
				continue
			}
			if !takes {
				continue // it removes itself too
			}
		}
		kept = append(kept, g)
	}
	if len(kept) == len(r.regs) && !takes {
		return conflict() // nobody has the key
	}
	if takes && r.kind != op.kind {
		for _, g := range kept {
			if g.portID != me {
				out.notices = append(out.notices, notice{g.portID, scsi.CodeReservationsReleased})
			}
		}
	}
	r.regs = kept
	r.generation++
	switch {
	case takes:
		r.take(op.kind, slices.IndexFunc(kept, func(g registration) bool { return g.portID == me }))
	case r.kind.AllRegistrants() && len(kept) == 0:
		r.kind = scsi.NoReservation
	}
	if op.action != scsi.PreemptAndAbort {
		out.aborted = nil
	}
	return out
}

func (r *reservations) registerAndMove(op reserveOp, i int) ruling {
	m := &op.move
	to := portID{m.Initiator.Name, m.Initiator.ISID, m.RelativePort}
	switch {
	case !r.holds(i), r.kind.AllRegistrants():
		return conflict()
	case m.ActionKey == 0:
		return wrong(badParameter(8))
	case m.Initiator.Protocol != scsi.ProtocolISCSI, !m.Initiator.HasISID, r.regs[i].covers(to):
		return wrong(badParameter(24))
	}
	me := r.regs[i].portID
	r.enter(to, m.ActionKey, false)
	r.holder = r.regs[r.find(to)].portID
	if m.Unregister {
		r.regs = slices.DeleteFunc(r.regs, func(g registration) bool { return g.portID == me })
	}
	if len(r.regs) > maxRegistrations {
		return wrong(scsi.CodeInsufficientRegistrations.Sense())
	}
	r.generation++
	r.persist = m.Persist
	return ruling{}
}

// kept is the stored form of reservations.
type kept struct {
	Registrations []registration       `json:"registrations"`
	Type          scsi.ReservationType `json:"type,omitempty"`
	Holder        *portID              `json:"holder,omitempty"`
}

// encode gives what the store keeps: nil without APTPL or a registration.
func (r *reservations) encode() []byte {
	if !r.persist || len(r.regs) == 0 {
		return nil
	}
	k := kept{Registrations: r.regs, Type: r.kind}
	if r.kind != scsi.NoReservation && !r.kind.AllRegistrants() {
		k.Holder = &r.holder
	}
	data, err := json.Marshal(k)
	if err != nil {
		panic("scsi: reservations cannot be encoded: " + err.Error()) // only numbers and strings
	}
	return data
}

// decodeReservations reads what the store kept; nil: nothing. PRGENERATION begins
// anew.
func decodeReservations(data []byte) (reservations, error) {
	if data == nil {
		return reservations{}, nil
	}
	var k kept
	if err := json.Unmarshal(data, &k); err != nil {
		return reservations{}, fmt.Errorf("stored reservations: %w", err)
	}
	r := reservations{regs: k.Registrations, kind: k.Type, persist: true}
	if k.Holder != nil {
		r.holder = *k.Holder
	}
	known := r.kind == scsi.NoReservation || validType(r.kind)
	held := r.kind == scsi.NoReservation || r.kind.AllRegistrants() ||
		slices.ContainsFunc(r.regs, func(g registration) bool { return g.portID == r.holder })
	if !known || !held || len(r.regs) == 0 || len(r.regs) > maxRegistrations {
		return reservations{}, fmt.Errorf("stored reservations: type %d without a holder", k.Type)
	}
	return r, nil
}
