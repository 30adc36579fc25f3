// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
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
// key (SPC-4, PERSISTENT RESERVE OUT, REGISTER AND IGNORE EXISTING KEY) made of
// gateway, path, run and login. Registrations are state of the logical unit and
// not of the medium, so whoever knows the token is the one that it was left with.
//
// A registration without a reservation changes nothing for anybody. Where there is
// a reservation a path leaves no token, since it would become a registrant; where
// there is no token, a session can be fenced over its own portal only.

// errForeign: a way to a target of the same name, but not to the one with the
// ghosts.
var errForeign = errors.New("this portal leads to another target of the same name: a login and a reset there prove nothing")

// tokenSalt is the binding that holds this gateway's part of the tokens.
const tokenSalt = "registration key salt"

// salt gives what tells the tokens of this gateway from those of others.
func (m *Manager) salt() (string, error) {
	if m.tokenSalt != "" {
		return m.tokenSalt, nil
	}
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
	m.tokenSalt = have
	return have, nil
}

// token is the key that a path leaves in a login; never 0.
func (m *Manager) token(path string, run, gen uint64) uint64 {
	h := sha256.Sum256(fmt.Appendf(nil, "%s %s %d %d", m.tokenSalt, path, run, gen))
	return binary.BigEndian.Uint64(h[:]) | 1
}

// mark leaves p's token for the login gen. Only the loss of the session is an
// error: a target without persistent reservations is as good for everything else.
func (pt *port) mark(ctx context.Context, q prober, p *Path, gen uint64) error {
	d := p.dev
	d.mu.Lock()
	have, old := p.markedGen, slices.Clone(p.tokens)
	d.mu.Unlock()
	if have == gen {
		return nil
	}
	key := pt.m.token(p.name, pt.m.cfg.Run, gen)
	before, keys, err := q.register(ctx, key)
	if errors.Is(err, errLost) || ctx.Err() != nil {
		return errLost
	}
	out := newOutbox()
	d.mu.Lock()
	p.markedGen, p.token, p.known = gen, 0, keys
	if slices.Contains(keys, key) {
		p.token = key
	}
	d.placeLocked(out, p, before)
	if p.token != 0 {
		p.tokens = []uint64{key}
	}
	marked := p.token != 0
	d.mu.Unlock()
	var b backends.Batch
	d.send(&b, out)
	b.Run()
	if !marked {
		return nil
	}
	// Some targets keep the registration of each login for ever. Those of ours
	// that no ghost needs any more go: a path is marked only when it is fenced.
	for _, k := range old {
		if k != key && slices.Contains(keys, k) {
			if err := q.reserveOut(ctx, scsi.Preempt, key, k); errors.Is(err, errLost) {
				return errLost
			}
		}
	}
	return nil
}

// register leaves key, and gives all keys that the LUN knew before and knows then.
func (q prober) register(ctx context.Context, key uint64) (before, after []uint64, err error) {
	var cdb [16]byte
	scsi.PersistentReserveIn{Action: scsi.ReadReservation, AllocationLength: 32}.Encode(&cdb)
	b, err := q.exec(ctx, cdb, 32)
	if err != nil {
		return nil, nil, err
	}
	r, err := scsi.DecodeReservation(b)
	if err != nil {
		return nil, nil, err
	}
	if before, err = q.keys(ctx); err != nil || r.Held {
		return before, nil, err
	}
	if err := q.reserveOut(ctx, scsi.RegisterAndIgnore, 0, key); err != nil {
		return before, nil, err
	}
	after, err = q.keys(ctx)
	return before, after, err
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

func (q prober) reserveOut(ctx context.Context, a scsi.ReserveOutAction, key, actionKey uint64) error {
	list := scsi.ReserveParameters{Key: key, ActionKey: actionKey}.Append(nil)
	var cdb [16]byte
	scsi.PersistentReserveOut{Action: a, ParameterListLength: uint32(len(list))}.Encode(&cdb)
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
			need = append(need, d.m.token(g.path, g.rec.Run, g.rec.Generation))
		}
	}
	for _, p := range d.paths {
		if p.port == pt && p.lun == lun && p.markedGen > 0 {
			need = append(need, d.m.token(p.name, d.m.cfg.Run, p.markedGen))
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

// unmark takes the tokens of pt away, before it logs out for good.
func (pt *port) unmark(ctx context.Context) {
	const limit = time.Second
	for lun, p := range pt.known() {
		d := p.dev
		d.mu.Lock()
		key, live := p.token, p.live
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
