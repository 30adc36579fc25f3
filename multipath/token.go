// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"pathgate/backends"
	"pathgate/internal/buffer"
	"pathgate/internal/scsi"
)

// Two target processes that share a medium may share a target name and a portal
// group tag as well: tgtd says 1 everywhere. A login over the one reinstates no
// session of the other, and a reset there waits for nothing of the other, though
// both look like success. So each path leaves a token at its LUN: a registration
// key (SPC-4, PERSISTENT RESERVE OUT, REGISTER AND IGNORE EXISTING KEY) of gateway,
// run, path and login (key.go). Registrations are state of the logical unit and
// not of the medium, so whoever knows the token is the one that it was left with.
//
// A registration without a reservation changes nothing for anybody. Where there is
// a reservation of others a path leaves no token, since it would become a
// registrant; where there is no token, a session can be fenced over its own portal
// only.

// errForeign: a way to a target of the same name, but not to the one with the
// ghosts.
var errForeign = errors.New("this portal leads to another target of the same name: a login and a reset there prove nothing")

// tokenSalt is the binding that holds this gateway's part of the tokens.
const tokenSalt = "registration key salt"

// salt gives what tells the tokens of this gateway from those of others.
func (m *Manager) salt() (string, error) {
	have, ok, err := m.cfg.Store.Binding(tokenSalt)
	if err == nil && !ok {
		var b [16]byte
		_, _ = rand.Read(b[:]) // never fails (crypto/rand)
		have = hex.EncodeToString(b[:])
		err = m.cfg.Store.BindName(tokenSalt, have)
	}
	if err != nil {
		return "", fmt.Errorf("salt of registration keys: %w", err)
	}
	return have, nil
}

// registrations is what a LUN knows of persistent reservations.
type registrations struct {
	res  scsi.Reservation
	keys []uint64
}

// mark leaves p's token for the login gen, and takes part in the reservation where
// the rule asks for one. Only the loss of the session is an error: a target without
// persistent reservations is as good for everything else.
func (pt *port) mark(ctx context.Context, q prober, p *Path, gen uint64) error {
	d := p.dev
	d.mu.Lock()
	again := p.markedGen == gen
	done := again && !p.remark && p.reserved != ReservationForeign
	p.remark = false
	d.mu.Unlock()
	if done {
		return nil
	}
	before, err := q.registrations(ctx)
	if lost(ctx, err) {
		return errLost
	}
	var m marking
	if err == nil {
		m, err = pt.register(ctx, q, p, gen, again, before)
		if lost(ctx, err) {
			return errLost
		}
	}
	if err != nil && d.rule.Reservation.AllRegistrants && !refused(err) {
		return pt.fault(p, err) // not used before it has its key
	}
	if err != nil {
		m.state, m.reason = unsupportedState(d), err.Error()
	}
	pt.marked(p, gen, before.keys, m)
	return nil
}

// purgeOrphans takes the keys of earlier logins and runs away that p has seen at its
// LUN and nothing needs any more.
func (pt *port) purgeOrphans(ctx context.Context, q prober, p *Path) error {
	d := p.dev
	d.mu.Lock()
	key, keys := p.token, p.known
	d.mu.Unlock()
	if key == 0 {
		return nil
	}
	for _, k := range d.orphans(keys) {
		err := q.reserveOut(ctx, scsi.Preempt, key, k)
		if errors.Is(err, errLost) {
			return errLost
		}
		if err == nil && d.rule.Reservation.AllRegistrants {
			p.lookAgain() // the reservation may not be as it was
		}
	}
	return nil
}

// lost tells that an answer did not come, or is not wanted any more.
func lost(ctx context.Context, err error) bool { return errors.Is(err, errLost) || ctx.Err() != nil }

// marking is the outcome of mark.
type marking struct {
	key    uint64   // left there; 0: none
	keys   []uint64 // that the LUN knew then
	res    scsi.Reservation
	state  ReservationState // 0: the rule asks for none
	reason string
}

// register leaves p's key where that is right.
func (pt *port) register(ctx context.Context, q prober, p *Path, gen uint64, again bool, before registrations) (marking, error) {
	d := p.dev
	m := marking{keys: before.keys, res: before.res}
	if d.rule.Reservation.AllRegistrants {
		return pt.takePart(ctx, q, p, gen, again)
	}
	if before.res.Held {
		return m, nil // we would become a registrant
	}
	key := p.keyIn(gen)
	if err := q.reserveOut(ctx, scsi.RegisterAndIgnore, 0, key); err != nil {
		return m, err
	}
	after, err := q.registrations(ctx)
	m.keys = after.keys
	if slices.Contains(after.keys, key) {
		m.key = key
	}
	return m, err
}

// marked notes what mark has done.
func (pt *port) marked(p *Path, gen uint64, before []uint64, m marking) {
	d := p.dev
	out := newOutbox()
	var b backends.Batch
	d.mu.Lock()
	p.markedGen, p.token, p.known = gen, m.key, m.keys
	p.foreign = slices.ContainsFunc(m.keys, func(k uint64) bool { return !d.ours(k) }) ||
		m.res.Held && !slices.ContainsFunc(m.keys, d.ours)
	out.change |= d.informLocked()
	d.placeLocked(out, p, before)
	if p.token != 0 {
		p.tokens = []uint64{m.key}
	}
	d.reservedLocked(out, p, m)
	d.mu.Unlock()
	d.send(&b, out)
	b.Run()
}

// orphans gives the keys of ours among those that nothing needs any more: not the
// last ones of the paths, and not those of logins with ghosts. Some targets keep
// the registration of each login for ever.
func (d *Device) orphans(keys []uint64) (list []uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	needed := map[uint64]bool{}
	for _, g := range d.ghosts {
		needed[g.key] = true
	}
	for _, p := range d.paths {
		needed[p.token] = true
		needed[p.keyIn(p.gen)] = true // it may be about to leave it
		if p.markedGen > 0 {
			needed[p.keyIn(p.markedGen)] = true
		}
	}
	for _, k := range keys {
		if d.ours(k) && !needed[k] {
			needed[k] = true // once
			list = append(list, k)
		}
	}
	return list
}

// registrations reads who is registered and what is reserved.
func (q prober) registrations(ctx context.Context) (r registrations, err error) {
	var cdb [16]byte
	scsi.PersistentReserveIn{Action: scsi.ReadReservation, AllocationLength: 32}.Encode(&cdb)
	b, err := q.exec(ctx, cdb, 32)
	if err != nil {
		return r, err
	}
	if r.res, err = scsi.DecodeReservation(b); err != nil {
		return r, err
	}
	r.keys, err = q.keys(ctx)
	return r, err
}

// keys reads the registration keys that the LUN knows.
func (q prober) keys(ctx context.Context) ([]uint64, error) {
	var cdb [16]byte
	const room = 8 + 8*1024
	scsi.PersistentReserveIn{Action: scsi.ReadKeys, AllocationLength: room}.Encode(&cdb)
	b, err := q.exec(ctx, cdb, room)
	if err != nil {
		return nil, err
	}
	r, err := scsi.DecodeRegisteredKeys(b)
	return r.Keys, err
}

// reserveType is the type of our reservations. It counts for Reserve, and for a
// Preempt of a holder; LIO wants a type that exists with every Preempt.
const reserveType = scsi.WriteExclusiveAllRegistrants

func (q prober) reserveOut(ctx context.Context, a scsi.ReserveOutAction, key, actionKey uint64) error {
	return q.reserveAs(ctx, a, reserveType, key, actionKey)
}

func (q prober) reserveAs(ctx context.Context, a scsi.ReserveOutAction, t scsi.ReservationType, key, actionKey uint64) error {
	list := scsi.ReserveParameters{Key: key, ActionKey: actionKey}.Append(nil)
	var cdb [16]byte
	scsi.PersistentReserveOut{Action: a, Type: t, ParameterListLength: uint32(len(list))}.Encode(&cdb)
	q.out = list
	_, err := q.exec(ctx, cdb, 0)
	return err
}

// vec is p as a payload; empty for none.
func vec(p []byte) (v buffer.Vec) {
	if len(p) > 0 {
		v.AppendBytes(p)
	}
	return v
}

// sameUnit proves that what q asks is the logical unit, and so the target process,
// that the ghosts of d on lun of pt were sent to: it knows the tokens of their
// logins.
func (pt *port) sameUnit(ctx context.Context, q prober, d *Device, lun uint16, gen uint64) error {
	need := d.ghostTokens(pt, lun, gen)
	keys, err := q.keys(ctx)
	if err != nil {
		return fmt.Errorf("nothing proves that this portal leads to the same target: %w", err)
	}
	for _, k := range need {
		if !slices.Contains(keys, k) {
			return errForeign
		}
	}
	return nil
}

// ghostTokens gives the tokens of the logins of all ghosts on lun of pt before
// gen, and that of the last login in which the path was used: an attempt of that
// one may still be on the way to become a ghost.
func (d *Device) ghostTokens(pt *port, lun uint16, gen uint64) (need []uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, g := range d.ghosts {
		if g.port == pt && g.lun == lun && g.gen < gen {
			need = append(need, g.key)
		}
	}
	for _, p := range d.paths {
		if p.port == pt && p.lun == lun && p.markedGen > 0 {
			need = append(need, p.keyIn(p.markedGen))
		}
	}
	return need
}

// together tells that p and o were seen to lead to one logical unit of one target
// process: the later one of them saw the token of the earlier one there.
func (p *Path) togetherLocked(o *Path) bool {
	return p.token != 0 && o.token != 0 &&
		(slices.Contains(p.known, o.token) || slices.Contains(o.known, p.token))
}

// mayFence tells whether o may be another way to the session that pt has lost: for
// each path of pt with a token, whether o's session saw it. What an earlier run
// left is not known here; fenceLUN finds out.
func (m *Manager) mayFence(pt, o *port) bool {
	for _, p := range pt.known() {
		d := p.dev
		d.mu.Lock()
		ok := p.markedGen == 0
		for _, q := range d.paths {
			ok = ok || q.port == o && p.togetherLocked(q)
		}
		ok = ok || !d.hasGhostLocked(p.name)
		d.mu.Unlock()
		if !ok {
			return false
		}
	}
	return true
}

// unmark takes the tokens of pt away, before it logs out for good. The last one
// that goes ends our reservation, so it stays while a lost session may still have
// writes that only the reservation stops.
func (pt *port) unmark(ctx context.Context) {
	const limit = time.Second
	for lun, p := range pt.known() {
		d := p.dev
		d.mu.Lock()
		key, live := p.token, p.live
		if slices.ContainsFunc(d.paths, func(o *Path) bool { return o.preempted }) {
			live = false
		}
		p.token = 0
		d.mu.Unlock()
		if key == 0 || !live {
			continue
		}
		q := prober{sess: pt.nexus.Session(lun), timeout: min(limit, pt.m.cfg.Timers.Scan)}
		if errors.Is(q.reserveOut(ctx, scsi.Register, key, 0), errLost) {
			return
		}
	}
}
