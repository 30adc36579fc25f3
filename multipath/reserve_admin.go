// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// ReservationInfo is a device's reservation at one moment, for people.
type ReservationInfo struct {
	Device, Identity, Alias string
	// AllRegistrants: the rule asks for a reservation.
	AllRegistrants bool
	State          ReservationState
	Reason         string
	// Held tells that the LUN is reserved at all, with Type, by Holder where the
	// type has one.
	Held   bool
	Type   string
	Holder RegistrationKey
	// Gateway is our part of the keys.
	Gateway uint32
	Keys    []KeyInfo
	// Path is that over which this was read, at Read.
	Path string
	Read time.Time
}

// KeyInfo is a registration.
type KeyInfo struct {
	Key  RegistrationKey
	Ours bool
	Path string // ours: of which path; "" for one of an earlier login or run
}

// Errors of reservation commands.
var (
	// ErrNoReservation: the rule of the device asks for no reservation.
	ErrNoReservation = errors.New("its rule asks for no reservation")
	// ErrNoLivePath: no path can carry the command.
	ErrNoLivePath = errors.New("no path is up")
	// ErrNoSuchKey: nobody else has registered it.
	ErrNoSuchKey = errors.New("no such key is registered by others")
)

// Reservations gives the reservations of all devices as they were last seen. It
// does not wait for any path.
func (m *Manager) Reservations() (list []ReservationInfo) {
	for _, d := range m.Devices() {
		list = append(list, d.reservation())
	}
	return list
}

// Reservation reads the reservation of the device of that name over a living path,
// with a deadline of its own; without one, it gives what was last seen.
func (m *Manager) Reservation(ctx context.Context, name string) (ReservationInfo, error) {
	d, _, err := m.find(name)
	if err == nil && d == nil {
		err = ErrNotFound
	}
	if err != nil {
		return ReservationInfo{}, fmt.Errorf("device %s: %w", name, err)
	}
	if p := d.livePath(); p != nil {
		q := prober{sess: p.sess, timeout: readLimit}
		if r, err := q.registrations(ctx); err == nil {
			d.mu.Lock()
			d.reserve.at, d.reserve.path, d.reserve.res, d.reserve.keys = time.Now(), p.name, r.res, r.keys
			d.mu.Unlock()
		}
	}
	return d.reservation(), nil
}

// readLimit bounds the wait of somebody who looks.
const readLimit = time.Second

func (d *Device) reservation() ReservationInfo {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := &d.reserve
	i := ReservationInfo{
		Device: d.name, Identity: d.identity.ID, Alias: d.rule.Alias, AllRegistrants: d.rule.Reservation.AllRegistrants,
		State: d.reservationLocked(), Reason: n.reason, Held: n.res.Held, Holder: RegistrationKey(n.res.Key),
		Gateway: d.gatewayKey(), Path: n.path, Read: n.at,
	}
	if n.res.Held {
		i.Type = n.res.Type.String()
	}
	for _, k := range n.keys {
		key := KeyInfo{Key: RegistrationKey(k), Ours: d.ours(k)}
		for _, p := range d.paths {
			if k == p.token {
				key.Path = p.name
			}
		}
		i.Keys = append(i.Keys, key)
	}
	return i
}

// livePath gives a path that can carry commands, nil for none.
func (d *Device) livePath() *Path {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := slices.IndexFunc(d.paths, func(p *Path) bool { return p.live && p.health.Carries() })
	if i < 0 {
		return nil
	}
	return d.paths[i]
}

// Preempted is what Preempt has done.
type Preempted struct {
	Keys []RegistrationKey // taken away
	// Reset: a LOGICAL UNIT RESET has ended what was running. Aborted: the target
	// was told to end it by PREEMPT AND ABORT. With neither, commands of the one
	// that had the keys may still run.
	Reset, Aborted bool
}

// Preempt takes the registrations of others at the device away, and the LUN with
// them: all, or those of one gateway, or one key. It is an administrator's word that
// they are dead, or are to write no more.
func (m *Manager) Preempt(ctx context.Context, name string, key RegistrationKey, gateway uint32) (done Preempted, err error) {
	d, _, err := m.find(name)
	if err == nil && d == nil {
		err = ErrNotFound
	}
	if err == nil && !d.rule.Reservation.AllRegistrants {
		err = ErrNoReservation
	}
	var p *Path
	if err == nil {
		if p = d.livePath(); p == nil {
			err = ErrNoLivePath
		}
	}
	if err == nil {
		done, err = d.takeFrom(ctx, p, func(k uint64) bool {
			return key != 0 && k == uint64(key) || gateway != 0 && RegistrationKey(k).Gateway() == gateway || key == 0 && gateway == 0
		})
	}
	if err != nil {
		return done, fmt.Errorf("device %s: %w", name, err)
	}
	return done, d.awaitReserved(ctx)
}

// takeFrom preempts the keys of others that which names, over p.
func (d *Device) takeFrom(ctx context.Context, p *Path, which func(uint64) bool) (done Preempted, err error) {
	select {
	case d.reserving <- struct{}{}:
		defer func() { <-d.reserving }()
	case <-ctx.Done():
		return done, ctx.Err()
	}
	q := prober{sess: p.sess, timeout: d.timers.Reset}
	d.mu.Lock()
	own, login := p.keyIn(p.gen), p.gen
	d.mu.Unlock()
	if keys, err := q.keys(ctx); err != nil {
		return done, err
	} else if !slices.Contains(keys, own) {
		if err := q.reserveOut(ctx, scsi.RegisterAndIgnore, 0, own); err != nil {
			return done, err
		}
	}
	for range 4 { // others may come meanwhile
		r, err := q.registrations(ctx)
		if err != nil {
			return done, err
		}
		n := len(done.Keys)
		for _, k := range r.keys {
			if d.ours(k) || !which(k) || slices.Contains(done.Keys[n:], RegistrationKey(k)) {
				continue
			}
			done.Keys = append(done.Keys, RegistrationKey(k))
			if err := d.takeKey(ctx, q, own, k, &done); err != nil {
				return done, err
			}
		}
		if len(done.Keys) == n {
			break
		}
	}
	if len(done.Keys) == 0 {
		return done, ErrNoSuchKey
	}
	d.mu.Lock()
	for _, o := range d.paths {
		o.foreign = o.foreign && d.rule.FenceReset == FenceNever // until it is looked at again
	}
	reset := d.mayResetLocked()
	d.mu.Unlock()
	if reset {
		t, err := d.resetOver(ctx, p.port, p.sess, login)
		done.Reset = err == nil && t == backends.TMComplete
	}
	return done, nil
}

// takeKey takes one key away, with the commands of its nexus where the target does
// that.
func (d *Device) takeKey(ctx context.Context, q prober, own, k uint64, done *Preempted) error {
	err := q.reserveOut(ctx, scsi.PreemptAndAbort, own, k)
	done.Aborted = err == nil
	if refused(err) {
		err = q.reserveOut(ctx, scsi.Preempt, own, k)
	}
	if conflict(err) {
		err = nil // it has gone by itself; the next look tells
	}
	return err
}

// awaitReserved has all paths register, and waits until the LUN is ours.
func (d *Device) awaitReserved(ctx context.Context) error {
	const every = 10 * time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, d.timers.Reset)
	defer cancel()
	out := newOutbox()
	d.mu.Lock()
	paths := slices.Clone(d.paths)
	for _, p := range paths {
		p.remark = true
	}
	d.mu.Unlock()
	for _, p := range paths {
		p.port.mu.Lock()
		p.port.attn[p.lun] = true
		p.port.mu.Unlock()
		out.kick(p.port)
	}
	var b backends.Batch
	d.send(&b, out)
	b.Run()
	for {
		d.mu.Lock()
		s, reason := d.reservationLocked(), d.reserve.reason
		d.mu.Unlock()
		if s == ReservationOurs {
			return nil
		}
		if !sleep(ctx, every) {
			return fmt.Errorf("device %s: the LUN is not ours yet: %s", d.name, reason)
		}
	}
}
