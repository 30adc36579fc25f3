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

// Reservation is how a LUN is kept from other gateways.
type Reservation struct {
	// AllRegistrants: each path registers a key of its own, and the LUN is reserved
	// as WRITE EXCLUSIVE - ALL REGISTRANTS. Who has no key there may read only.
	// False: no reservation; one of others is respected.
	AllRegistrants bool
	// Key is the gateway's part of the keys, at most MaxGatewayKey; 0: one that is
	// made once and kept in the store. Two gateways with one key do not keep each
	// other out.
	Key uint32
}

// ReservationState is how a LUN stands to its reservation, as seen on a path.
type ReservationState uint8

// States.
const (
	// ReservationNone: the rule asks for none.
	ReservationNone ReservationState = iota
	// ReservationOurs: we hold it.
	ReservationOurs
	// ReservationForeign: somebody else does, or has taken it from us. We have no
	// key there, and change nothing until an administrator preempts.
	ReservationForeign
	// ReservationUnsupported: the target does not do it. No changes either: nothing
	// would keep another gateway from making some.
	ReservationUnsupported
)

var reservationNames = [...]string{"none", "ours", "foreign", "unsupported"}

// String gives the name for people.
func (s ReservationState) String() string {
	if int(s) >= len(reservationNames) {
		return fmt.Sprintf("reservation(%d)", uint8(s))
	}
	return reservationNames[s]
}

// unsupportedState is what a target without persistent reservations means for d.
func unsupportedState(d *Device) ReservationState {
	if d.rule.Reservation.AllRegistrants {
		return ReservationUnsupported
	}
	return ReservationNone
}

// part is what a gateway does next about a reservation.
type part uint8

const (
	partTake   part = iota // register if need be, and reserve
	partJoin               // it is ours: register
	partYield              // it is somebody else's, or becomes it: leave
	partRetype             // it is ours, but of another type: register, and make it right
)

// nextPart decides from what a LUN knows. established tells that a key of ours was
// there before we came, missing that one of a living path has been taken away.
//
// Two gateways that come at the same moment may both find the LUN free. Each
// registers before it reads again, so at least one of them sees the other; the one
// with the higher gateway part leaves.
func nextPart(d *Device, r registrations, established, missing bool) (part, string) {
	var other uint64
	mine := false
	for _, k := range r.keys {
		if d.ours(k) {
			mine = true
		} else if other == 0 || k < other {
			other = k
		}
	}
	switch {
	case missing && other != 0:
		return partYield, fmt.Sprintf("%s has taken the LUN from this gateway", keyOwner(other))
	case r.res.Held && r.res.Type != reserveType && d.ours(r.res.Key) && other == 0:
		// tgtd forgets the type when the key of the holder that it remembers goes.
		return partRetype, ""
	case r.res.Held && r.res.Type != reserveType:
		return partYield, fmt.Sprintf("reserved (%v) by %s", r.res.Type, keyOwner(r.res.Key))
	case r.res.Held && !mine:
		return partYield, fmt.Sprintf("reserved (%v) by %s", r.res.Type, keyOwner(other))
	case other != 0 && !established && r.res.Held:
		return partYield, fmt.Sprintf("reserved (%v) by %s", r.res.Type, keyOwner(other))
	case other != 0 && !established && RegistrationKey(other).Gateway() < d.gatewayKey():
		return partYield, fmt.Sprintf("%s is registered and comes first", keyOwner(other))
	case r.res.Held:
		return partJoin, ""
	}
	return partTake, ""
}

// keyOwner says for people whose key it is.
func keyOwner(key uint64) string {
	k := RegistrationKey(key)
	switch {
	case key == 0:
		return "nobody who is registered"
	case k.Ours():
		return fmt.Sprintf("gateway 0x%05x (key %v)", k.Gateway(), k)
	}
	return fmt.Sprintf("other software (key %v)", k)
}

// takePart registers p and sees to the reservation.
func (pt *port) takePart(ctx context.Context, q prober, p *Path, gen uint64, again bool) (m marking, err error) {
	var r registrations
	d := p.dev
	// One path after the other, so that they are of one mind.
	select {
	case d.reserving <- struct{}{}:
		defer func() { <-d.reserving }()
	case <-ctx.Done():
		return m, ctx.Err()
	}
	if r, err = q.registrations(ctx); err != nil {
		return m, err
	}
	key := p.keyIn(gen)
	established := slices.ContainsFunc(r.keys, d.ours)
	missing := d.taken(p, again, r.keys)
	m = marking{keys: r.keys, res: r.res}
	registered := slices.Contains(r.keys, key)
	for range 6 { // register, reserve, look again
		next, why := nextPart(d, r, established, missing)
		if next == partYield {
			m.state, m.reason = ReservationForeign, why
			m.keys, m.res = r.keys, r.res
			if registered {
				err = q.reserveOut(ctx, scsi.Register, key, 0)
			}
			if conflict(err) {
				err = nil // it is gone already
			}
			return m, err
		}
		if !registered {
			if err := q.reserveOut(ctx, scsi.RegisterAndIgnore, 0, key); err != nil {
				return m, err
			}
			registered = true
		} else if next == partTake {
			if err := q.reserveOut(ctx, scsi.Reserve, key, 0); err != nil && !conflict(err) {
				return m, err
			}
		} else if next == partRetype {
			if err := q.retype(ctx, key, r.res); err != nil && !conflict(err) {
				return m, err
			}
		} else {
			m.state, m.key = ReservationOurs, key
			m.keys, m.res = r.keys, r.res
			return m, nil
		}
		if r, err = q.registrations(ctx); err != nil {
			return m, err
		}
		if !slices.Contains(r.keys, key) {
			missing = true
		}
	}
	return m, errors.New("the reservation is not seen after it was made")
}

// retype makes a reservation of ours one of reserveType: as its holder by a release,
// which the next round follows by Reserve, else by taking it. The path that held it
// then registers anew.
func (q prober) retype(ctx context.Context, key uint64, r scsi.Reservation) error {
	if r.Key == key {
		return q.reserveAs(ctx, scsi.Release, r.Type, key, 0)
	}
	return q.reserveOut(ctx, scsi.Preempt, key, r.Key)
}

// lookAgain has p's registration and the reservation looked at once more.
func (p *Path) lookAgain() {
	p.dev.mu.Lock()
	p.remark = true
	p.dev.mu.Unlock()
	p.port.mu.Lock()
	p.port.attn[p.lun] = true
	p.port.mu.Unlock()
	p.port.wake()
}

// conflict tells that a command was answered with RESERVATION CONFLICT.
func conflict(err error) bool {
	var re backends.ResultError
	return errors.As(err, &re) && re.Result.Class == backends.ReservationConflict
}

// taken tells whether a key that we left there is gone: p's of this login, or that
// of another living path to the same target process.
func (d *Device) taken(p *Path, again bool, keys []uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if again && p.token != 0 && !slices.Contains(keys, p.token) {
		return true
	}
	for _, o := range d.paths {
		if o != p && o.live && o.token != 0 && o.markedGen == o.gen && d.serverOf(o) == d.serverOf(p) && !slices.Contains(keys, o.token) {
			return true
		}
	}
	return false
}

// reserveNote is what was last seen of a device's reservation.
type reserveNote struct {
	at     time.Time
	path   string
	res    scsi.Reservation
	keys   []uint64
	reason string
	told   ReservationState
	beside bool // foreign keys beside ours were told
}

// reservedLocked notes what p has seen, and bars changes where they are not ours to
// make.
func (d *Device) reservedLocked(out *outbox, p *Path, m marking) {
	p.reserved = m.state
	d.reserve.at, d.reserve.path, d.reserve.res, d.reserve.keys = time.Now(), p.name, m.res, m.keys
	if m.state != ReservationNone {
		d.reserve.reason = m.reason
	}
	d.tellReservedLocked(out, p)
}

// stateLocked is the worst that any live path has seen.
func (d *Device) reservationLocked() (s ReservationState) {
	for _, p := range d.paths {
		if p.live && p.health != Disabled && p.health != Quarantined {
			s = max(s, p.reserved)
		}
	}
	return s
}

func (d *Device) tellReservedLocked(out *outbox, p *Path) {
	if !d.rule.Reservation.AllRegistrants {
		return
	}
	n := &d.reserve
	s := d.reservationLocked()
	if s == ReservationNone {
		return // no path: as it was
	}
	d.barred = s == ReservationForeign || s == ReservationUnsupported
	beside := s == ReservationOurs && slices.ContainsFunc(n.keys, func(k uint64) bool { return !d.ours(k) })
	ev := Event{Device: d.name, Path: p.name, Reason: n.reason}
	switch {
	case s != n.told && s == ReservationOurs:
		ev.Kind, ev.Reason = ReservationTaken, "reserved for this gateway, "+reserveType.String()
		out.event(ev)
	case s != n.told && n.told == ReservationOurs:
		ev.Kind = ReservationLost
		out.event(ev)
	case s != n.told:
		ev.Kind = ReservationConflicts
		if s == ReservationUnsupported {
			ev.Reason = "the target does not do what the reservation needs: " + n.reason
		}
		out.event(ev)
	}
	if beside && !n.beside {
		ev.Kind, ev.Reason = ReservationConflicts, "others are registered beside this gateway and may write"
		out.event(ev)
	}
	if s != n.told {
		out.change |= backends.AvailabilityChanged
		out.kickAll(d)
	}
	n.told, n.beside = s, beside
}

// kickAll has the ports of all paths look again.
func (o *outbox) kickAll(d *Device) {
	for _, p := range d.paths {
		o.kick(p.port)
	}
}

// conflictLocked is the row of HAZARDS section 5 for RESERVATION CONFLICT on a LUN
// that we reserve: p's key may be missing, so it is looked after before p is used
// again, and the request is sent once more.
func (d *Device) conflictLocked(b *backends.Batch, out *outbox, a *attempt, res backends.Result, now time.Time) verdict {
	v, p, t := classify(a.req.Op, res), a.path, a.t
	if res.Class != backends.ReservationConflict || !d.rule.Reservation.AllRegistrants || t == nil || t.again {
		return v
	}
	t.again = true
	p.remark, p.proving = true, true
	out.kick(p.port)
	d.pathsChangedLocked(b, out, now)
	return verdict{action: same, tries: 1, reason: backends.ParkBusy}
}
