// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"slices"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// Allows tells whether one that is no nexus, such as an NBD client, may read
// the unit or, with changes, write it: a persistent reservation, a RESERVE and
// a SANITIZE hold for it too. It does not block.
func (u *Unit) Allows(changes bool) bool {
	if changes {
		return access(u.outside.Load()) >= accessWrite
	}
	return access(u.outside.Load()) >= accessRead
}

// levelsLocked works out anew what every nexus may do.
func (u *Unit) levelsLocked() {
	for _, l := range u.links {
		l.level = u.reservations.level(l.id())
		if u.reserver != nil && u.reserver != l {
			l.level = accessFree
		}
	}
	outside := u.reservations.outside()
	if u.reserver != nil || u.erasing.Load() != nil {
		outside = accessFree
	}
	u.outside.Store(uint32(outside))
}

// id names the link's nexus for persistent reservations.
func (l *link) id() portID {
	i := &l.n.cfg.Initiator
	return portID{i.Name, i.ISID, l.n.port.Relative}
}

// reserve is RESERVE of both sizes (SPC-2), for the whole unit.
func reserve(b *backends.Batch, t *task) { t.setReserver(b, true) }

// release is RELEASE of both sizes (SPC-2). One that has nothing to release is
// no error.
func release(b *backends.Batch, t *task) { t.setReserver(b, false) }

func (t *task) setReserver(b *backends.Batch, on bool) {
	u := t.l.u
	u.mu.Lock()
	switch {
	case len(u.reservations.regs) > 0, len(u.reserving) > 0, on && u.reserver != nil && u.reserver != t.l:
		t.c.Status = scsi.StatusReservationConflict
	case on:
		u.reserver = t.l
	case u.reserver == t.l:
		u.reserver = nil
	}
	u.levelsLocked()
	u.mu.Unlock()
	t.finish(b, backends.Done())
}

// reserveIn is PERSISTENT RESERVE IN.
func reserveIn(b *backends.Batch, t *task) {
	c, _ := scsi.DecodePersistentReserveIn(t.raw())
	u := t.l.u
	u.mu.Lock()
	r, reserved := u.reservations, u.reserver != nil
	u.mu.Unlock()
	if reserved { // also of the one who has the RESERVE (SPC-2)
		t.c.Status = scsi.StatusReservationConflict
		t.finish(b, backends.Done())
		return
	}
	switch c.Action {
	case scsi.ReadKeys:
		k := scsi.RegisteredKeys{Generation: r.generation}
		for _, g := range r.regs {
			k.Keys = append(k.Keys, g.Key)
		}
		t.reply(k.Append(nil))
	case scsi.ReadReservation:
		t.reply(r.reservation().Append(nil))
	case scsi.ReportCapabilities:
		t.reply(scsi.ReservationCapabilities{
			SpecifyPorts: true, AllTargetPorts: true,
			PersistCapable: u.cfg.Store != nil, PersistActive: r.persist,
			TypesValid: true,
			Types: scsi.ReservationTypesOf(scsi.WriteExclusive, scsi.ExclusiveAccess,
				scsi.WriteExclusiveRegistrantsOnly, scsi.ExclusiveAccessRegistrantsOnly,
				scsi.WriteExclusiveAllRegistrants, scsi.ExclusiveAccessAllRegistrants),
		}.Append(nil))
	case scsi.ReadFullStatus:
		t.reply(scsi.AppendFullStatus(nil, r.generation, r.fullStatus()))
	}
	t.finish(b, backends.Done())
}

func (r *reservations) reservation() scsi.Reservation {
	v := scsi.Reservation{Generation: r.generation}
	if r.kind == scsi.NoReservation {
		return v
	}
	v.Held, v.Type = true, r.kind
	if !r.kind.AllRegistrants() {
		v.Key = r.regs[slices.IndexFunc(r.regs, func(g registration) bool { return g.portID == r.holder })].Key
	}
	return v
}

func (r *reservations) fullStatus() []scsi.Registration {
	var list []scsi.Registration
	for i, g := range r.regs {
		s := scsi.Registration{Key: g.Key, AllPorts: g.Port == 0, RelativePort: g.Port, Initiator: g.transport()}
		if r.holds(i) {
			s.Holder, s.Type = true, r.kind
		}
		list = append(list, s)
	}
	return list
}

// checkReserveOut reads PERSISTENT RESERVE OUT.
func checkReserveOut(t *task) scsi.Sense {
	c, err := scsi.DecodePersistentReserveOut(t.raw())
	switch {
	case err != nil:
		return scsi.CodeInvalidFieldInCDB.Sense()
	case c.Scope != 0 && scoped(c.Action):
		return badField(2, 7)
	case c.ParameterListLength < 24 || c.ParameterListLength > maxReserveList:
		return scsi.CodeParameterListLength.Sense()
	}
	t.demand.dir, t.demand.length = scsi.DataOut, uint64(c.ParameterListLength)
	return scsi.Sense{}
}

// scoped tells whether SCOPE means anything to a service action; others ignore it.
func scoped(a scsi.ReserveOutAction) bool {
	return a == scsi.Reserve || a == scsi.Release || a == scsi.Preempt || a == scsi.PreemptAndAbort
}

// maxReserveList is the longest parameter list that is taken (HAZARDS B26).
const maxReserveList = 4096

// reserveOut is PERSISTENT RESERVE OUT. They are carried out one after the other,
// since the store may have to be waited for.
func reserveOut(b *backends.Batch, t *task) {
	op, s := t.reserveOp()
	if s.Key != scsi.NoSense {
		t.deny(b, s)
		return
	}
	u := t.l.u
	u.mu.Lock()
	u.reserving = append(u.reserving, reserveTask{t, op})
	first := len(u.reserving) == 1
	u.mu.Unlock()
	if first {
		u.nextReserve(b)
	}
}

// reserveTask is a PERSISTENT RESERVE OUT that waits for its turn.
type reserveTask struct {
	t  *task
	op reserveOp
}

// reserveOp reads CDB and parameter list.
func (t *task) reserveOp() (reserveOp, scsi.Sense) {
	c, _ := scsi.DecodePersistentReserveOut(t.raw())
	op := reserveOp{me: t.l.id(), action: c.Action, kind: c.Type}
	data := t.c.Out.Bytes()[:t.demand.length]
	var err error
	persist := false
	if c.Action == scsi.RegisterAndMove {
		op.move, err = scsi.DecodeMoveParameters(data)
		persist = op.move.Persist
		if _, ok := t.l.n.t.port(op.move.RelativePort); err == nil && !ok {
			return op, badParameter(18)
		}
	} else {
		op.list, err = scsi.DecodeReserveParameters(data)
		op.list.Initiators = t.l.u.initiators(op.list.Initiators)
		persist = op.list.Persist && (c.Action == scsi.Register || c.Action == scsi.RegisterAndIgnore)
	}
	switch {
	case err != nil:
		return op, scsi.CodeParameterListLength.Sense()
	case persist && t.l.u.cfg.Store == nil:
		return op, badParameter(20)
	}
	return op, scsi.Sense{}
}

// initiators replaces each name without an ISID by all ports of that initiator
// that have a nexus to the unit now (SPC-4, iSCSI TransportIDs). One of which there
// is none stays as it is, and is refused.
func (u *Unit) initiators(list []scsi.TransportID) (ports []scsi.TransportID) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, id := range list {
		known := false
		for _, l := range u.links {
			if i := &l.n.cfg.Initiator; id.Protocol == scsi.ProtocolISCSI && !id.HasISID && i.Name == id.Name {
				ports, known = append(ports, *i), true
			}
		}
		if !known {
			ports = append(ports, id)
		}
	}
	return ports
}

// nextReserve carries out those that wait until one has to wait for the store.
func (u *Unit) nextReserve(b *backends.Batch) {
	for {
		u.mu.Lock()
		if len(u.reserving) == 0 {
			u.mu.Unlock()
			return
		}
		w := u.reserving[0]
		next, out := u.reservations.apply(w.op)
		if u.reserver != nil {
			out = conflict() // also of the one who has the RESERVE (SPC-2)
		}
		data := next.encode()
		save := out.status == scsi.StatusGood && string(data) != string(u.reservations.encode())
		u.mu.Unlock()
		if save && u.cfg.Store != nil {
			u.cfg.Store.SaveReservations(data, func(err error) {
				var b backends.Batch
				if err != nil {
					out = wrong(scsi.CodeInsufficientRegistrations.Sense())
				}
				u.reserved(&b, w, next, out)
				u.nextReserve(&b)
				b.Run()
			})
			return
		}
		u.reserved(b, w, next, out)
	}
}

// reserved makes a ruling real and ends its command.
func (u *Unit) reserved(b *backends.Batch, w reserveTask, next reservations, out ruling) {
	t := w.t
	var gone aborts
	bar := newBarrier(func(b *backends.Batch, _ backends.Result) { t.end(b) })
	u.mu.Lock()
	u.reserving = slices.Delete(u.reserving, 0, 1)
	if out.status == scsi.StatusGood {
		u.reservations = next
		u.levelsLocked()
		for _, l := range u.links {
			for _, x := range out.notices {
				if l != t.l && x.who.covers(l.id()) {
					l.attention.add(x.code)
				}
			}
		}
		for x := u.tasks.first; x != nil; x = x.next {
			if x != t && slices.ContainsFunc(out.aborted, func(p portID) bool { return p.covers(x.l.id()) }) {
				u.abortLocked(x, t.l.n, bar, &gone)
			}
		}
	}
	u.mu.Unlock()
	gone.run(b)
	switch out.status {
	case scsi.StatusGood:
	case scsi.StatusCheckCondition:
		t.c.fail(out.sense)
	default:
		t.c.Status = out.status
	}
	t.settle(backends.Done())
	bar.down(b)
}
