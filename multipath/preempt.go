// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// What fences over another path, where the lost session cannot be logged in again
// (HAZARDS section 4 rule 6(c)). design.md tells what each half of it proves.
const (
	preemptResetMethod = "preempt+lun-reset"
	preemptAbortMethod = "preempt-and-abort"
)

// mayReset tells whether LOGICAL UNIT RESET may fence (rule 12).
func (d *Device) mayReset() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.mayResetLocked()
}

func (d *Device) mayResetLocked() bool {
	switch d.rule.FenceReset {
	case FenceAlways:
		return true
	case FenceNever:
		return false
	case FenceAuto:
	}
	return !d.sharedLocked()
}

// sharedLocked tells whether hosts use the LUN that are not this gateway.
func (d *Device) sharedLocked() bool {
	return d.rule.Shared || slices.ContainsFunc(d.paths, func(p *Path) bool { return p.foreign })
}

// mayPreempt tells whether taking the key of a lost path away may fence.
func (d *Device) mayPreempt() bool {
	return d.rule.Reservation.AllRegistrants && (d.rule.FenceAbort || d.mayReset())
}

// toFence gives the ghosts on pt that something may fence. What nothing may is told
// once; its ranges stay held, and the path is used for all else meanwhile.
func (pt *port) toFence(s snapshot) map[*Device]map[uint16]int {
	gen := s.gen
	if !s.up {
		gen++ // those of the session that was lost
	}
	ghosts := pt.m.ghostsOn(pt, gen, anyGhost)
	for d := range pt.helpless {
		if ghosts[d] == nil {
			delete(pt.helpless, d)
		}
	}
	for d, all := range ghosts {
		left, why := d.fenceable(pt, gen, s)
		if why == "" {
			continue
		}
		if ghosts[d] = left; left == nil {
			delete(ghosts, d)
		}
		if !pt.helpless[d] {
			pt.helpless[d] = true
			pt.unfenceable(d, all, why)
		}
	}
	return ghosts
}

// fenceable gives the ghosts of d on pt that something may fence, and why not all of
// them; "" when it is all.
func (d *Device) fenceable(pt *port, gen uint64, s snapshot) (luns map[uint16]int, why string) {
	reset := d.mayReset()
	if !reset && !d.mayPreempt() {
		return nil, "LOGICAL UNIT RESET is off here, since others use the LUN or the rule says so"
	}
	stray := d.ghostsOn(pt, gen, func(g *ghost) bool { return s.up && g.strayIn(s.loginTag) })
	for lun := range stray {
		if h, _ := d.helper(pt, d.ghostTokens(pt, lun, gen)); d.mayPreempt() && h != nil {
			delete(stray, lun) // by key
		}
	}
	if len(stray) == 0 {
		return nil, ""
	}
	return d.ghostsOn(pt, gen, func(g *ghost) bool { return !g.strayIn(s.loginTag) }),
		fmt.Sprintf("the portal is in group %d now, where a login replaces no session of its old group", s.loginTag)
}

// unfenceable tells of ghosts that nothing here fences.
func (pt *port) unfenceable(d *Device, luns map[uint16]int, why string) {
	for lun, n := range luns {
		pt.heldOn(d, lun, n, "", why+": writes that overlap wait")
	}
}

// byKeyOnly gives the ghosts of LUNs that must not be reset, and those that a login to
// that portal group does not reach.
func (pt *port) byKeyOnly(ghosts map[*Device]map[uint16]int, s snapshot) map[*Device]map[uint16]int {
	some := map[*Device]map[uint16]int{}
	for d, luns := range ghosts {
		stray := d.ghostsOn(pt, s.gen, func(g *ghost) bool { return g.strayIn(s.loginTag) })
		if !d.mayReset() || stray != nil {
			some[d] = luns
		}
	}
	return some
}

// errNoHelper: no path can take the lost one's key away.
var errNoHelper = errors.New("no living path shares registrations with the lost one")

// preemptAll fences what it can over other paths, and tells whether that was
// anything.
func (pt *port) preemptAll(ctx context.Context, gen uint64, ghosts map[*Device]map[uint16]int) (any bool) {
	for d, luns := range ghosts {
		if !d.mayPreempt() {
			continue
		}
		for lun, n := range luns {
			method, err := pt.preempt(ctx, d, lun, gen)
			switch {
			case err == nil:
				d.fence(pt, lun, gen, n, method, anyGhost)
				any = true
			case !errors.Is(err, errNoHelper):
				pt.heldOn(d, lun, n, method, err.Error())
			}
		}
	}
	return any
}

// preempt takes the keys of the ghosts of d on lun of pt away, over another path,
// and has what runs at the target end.
func (pt *port) preempt(ctx context.Context, d *Device, lun uint16, gen uint64) (method string, err error) {
	need := d.ghostTokens(pt, lun, gen)
	h, login := d.helper(pt, need)
	if h == nil {
		return preemptResetMethod, errNoHelper
	}
	q := prober{sess: h.sess, timeout: d.timers.Reset}
	slices.Sort(need)
	need = slices.Compact(need)
	left := d.notTaken(need) // an earlier attempt may have got no further than that
	own, err := d.guarded(ctx, q, h, left, true)
	if err != nil {
		return preemptResetMethod, err
	}
	d.setPreempted(pt, lun)
	action, method := scsi.Preempt, preemptResetMethod
	if d.rule.FenceAbort {
		action, method = scsi.PreemptAndAbort, preemptAbortMethod
	}
	for _, k := range left {
		err := q.reserveOut(ctx, action, own, k)
		if refused(err) && action == scsi.PreemptAndAbort && d.mayReset() {
			action, method = scsi.Preempt, preemptResetMethod
			err = q.reserveOut(ctx, action, own, k)
		}
		if err != nil {
			return method, err
		}
		d.setTaken(k)
	}
	if _, err := d.guarded(ctx, q, h, need, false); err != nil {
		h.lookAgain() // the next attempt finds it put right
		return method, err
	}
	if action == scsi.PreemptAndAbort && len(left) > 0 {
		return method, nil
	}
	if !d.mayReset() {
		return method, errors.New("the key is gone, and what had begun to run cannot be waited for")
	}
	r, err := d.resetOver(ctx, h.port, h.sess, login)
	if err == nil && r != backends.TMComplete {
		err = fmt.Errorf("LOGICAL UNIT RESET: %v", r)
	}
	return method, err
}

// helper finds a living path over which keys can be taken away, and which was seen
// to know one of them, and the login in which it was proved.
func (d *Device) helper(pt *port, keys []uint64) (h *Path, login uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range d.paths {
		if h.port == pt || !h.live || h.okGen != h.gen || !h.health.Carries() || h.token == 0 || h.reserved != ReservationOurs {
			continue
		}
		for _, p := range d.paths {
			if p.port == pt && p.togetherLocked(h) {
				return h, h.gen
			}
		}
		if slices.ContainsFunc(keys, func(k uint64) bool { return slices.Contains(h.known, k) }) {
			return h, h.gen
		}
	}
	return nil, 0
}

// guarded looks whether the LUN behind h is reserved as we do it, with h's key, and
// knows all of keys (there) or none of them. It gives h's key.
func (d *Device) guarded(ctx context.Context, q prober, h *Path, keys []uint64, there bool) (own uint64, err error) {
	d.mu.Lock()
	own = h.token
	d.mu.Unlock()
	r, err := q.registrations(ctx)
	if err != nil {
		return own, err
	}
	if !r.res.Held || r.res.Type != reserveType || !slices.Contains(r.keys, own) {
		return own, errors.New("the LUN is not reserved by this gateway: a command without a key would be carried out")
	}
	for _, k := range keys {
		if slices.Contains(r.keys, k) == there {
			continue
		}
		if there {
			return own, errForeign
		}
		return own, fmt.Errorf("the target still knows the key %v", RegistrationKey(k))
	}
	return own, nil
}

// setPreempted notes that only the reservation keeps what the lost session has sent
// from running.
func (d *Device) setPreempted(pt *port, lun uint16) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, p := range d.paths {
		if p.port == pt && p.lun == lun {
			p.preempted = !p.live
		}
	}
}

// setTaken notes that a key of ours was taken away.
func (d *Device) setTaken(key uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.takenAway = append(d.takenAway, key)
}

// notTaken gives those of keys that were not taken away.
func (d *Device) notTaken(keys []uint64) (left []uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, k := range keys {
		if !slices.Contains(d.takenAway, k) {
			left = append(left, k)
		}
	}
	return left
}

// refused tells that a target does not know a service action.
func refused(err error) bool {
	var re backends.ResultError
	return errors.As(err, &re) && re.Result.Sense.Valid && scsi.SenseKey(re.Result.Sense.Key) == scsi.IllegalRequest
}

// tidy takes the keys of lost paths away that nothing needs any more. The first
// living path of each device that shares registrations with a lost one does it.
func (pt *port) tidy(ctx context.Context) {
	for lun, p := range pt.known() {
		d := p.dev
		key, dead := d.deadKeys(p)
		for o, k := range dead {
			q := prober{sess: pt.nexus.Session(lun), timeout: pt.m.cfg.Timers.Scan}
			if err := q.reserveOut(ctx, scsi.Preempt, key, k); err != nil && !conflict(err) {
				continue // with the next proof of the path it is an orphan
			}
			d.mu.Lock()
			if o.token == k {
				o.token = 0
			}
			d.mu.Unlock()
			p.lookAgain() // the reservation may not be as it was
		}
	}
}

// deadKeys gives the keys that are p's task to take away, by path, and p's own.
func (d *Device) deadKeys(p *Path) (own uint64, dead map[*Path]uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.rule.Reservation.AllRegistrants {
		return 0, nil
	}
	for _, o := range d.paths {
		if o.live || o.token == 0 || o.first != nil || d.hasGhostLocked(o.name) || d.tidierLocked(o) != p {
			continue
		}
		if dead == nil {
			dead = map[*Path]uint64{}
		}
		dead[o] = o.token
	}
	return p.token, dead
}

func (d *Device) tidierLocked(o *Path) *Path {
	for _, p := range d.paths {
		if p != o && p.live && p.health.Carries() && p.reserved == ReservationOurs && p.markedGen == p.gen && p.togetherLocked(o) {
			return p
		}
	}
	return nil
}
