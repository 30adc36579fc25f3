// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// attention is what a unit attention asks for.
type attention uint8

const (
	attnNothing  attention = iota
	attnReset              // identity, capacity (H5)
	attnIdentity           // identity
	attnCapacity           // capacity (H11)
	attnAccess             // port groups
	attnLUNs               // another list of LUNs
	attnReserve            // registrations or a reservation were taken away
	attnSpace              // nothing, but somebody should know
)

func attentionOf(s backends.Sense) attention {
	t := scsi.Sense{Key: scsi.UnitAttention, ASC: s.ASC, ASCQ: s.ASCQ}
	switch t.Condition() {
	case scsi.ConditionReset:
		return attnReset
	case scsi.ConditionCapacity:
		return attnCapacity
	case scsi.ConditionAccessChanged:
		return attnAccess
	case scsi.ConditionReservation:
		return attnReserve
	case scsi.ConditionSoftThreshold:
		return attnSpace
	case scsi.ConditionIdentity:
		if t.Is(scsi.CodeReportedLUNsChanged) {
			return attnLUNs
		}
		return attnIdentity
	default:
		return attnNothing
	}
}

// lostRetry is when to look again after a question without an answer. Most times
// Down comes first; a target that was only slow keeps its session.
const lostRetry = time.Second

// scan finds the LUNs behind pt and proves each (the patent, par. 0082-0084).
func (pt *port) scan(ctx context.Context, gen uint64) time.Duration {
	pt.mu.Lock()
	if pt.asked {
		for lun := range pt.paths {
			pt.sized[lun] = true
		}
	}
	pt.again, pt.asked = false, false
	urgent := maps.Clone(pt.attn) // out of use until they are proved
	clear(pt.attn)
	pt.mu.Unlock()
	first, last := pt.spec.FirstLUN, pt.spec.LastLUN
	if first == 0 && last == 0 {
		last = defaultLastLUN
	}
	luns, err := pt.prober(pt.directory(first)).luns(ctx, first, last)
	if err != nil && first != 0 {
		luns, err = pt.prober(0).luns(ctx, first, last)
	}
	if errors.Is(err, errLost) {
		if pt.over(ctx, gen) {
			return lostRetry
		}
		// The LUN that was asked for the list hangs, and others may not.
		luns = pt.knownLUNs()
		pt.asleep = time.Now().Add(pt.m.cfg.Timers.Probe)
	}
	if ctx.Err() != nil {
		return lostRetry
	}
	slices.SortStableFunc(luns, func(a, b uint16) int { return cmp.Compare(rank(urgent[a]), rank(urgent[b])) })
	seen := map[uint16]bool{}
	for _, lun := range pt.inOrder(luns) {
		seen[lun] = true
		pt.makeRoom(ctx, lun)
		if errors.Is(pt.prove(ctx, lun, gen), errLost) || ctx.Err() != nil {
			return lostRetry
		}
	}
	pt.forgetMasked(seen)
	// Paths whose LUN is not listed any more say so themselves.
	for _, lun := range pt.knownLUNs() {
		if !seen[lun] {
			if errors.Is(pt.prove(ctx, lun, gen), errLost) {
				return lostRetry
			}
		}
	}
	pt.forget(seen)
	pt.mu.Lock()
	pt.scanned, pt.scanAt = gen, time.Now()
	pt.mu.Unlock()
	pt.firstOver()
	pt.release()
	return atOnce
}

// rank puts what is urgent first.
func rank(urgent bool) int {
	if urgent {
		return 0
	}
	return 1
}

func (pt *port) prober(lun uint16) prober {
	return prober{sess: pt.nexus.Session(lun), timeout: pt.m.cfg.Timers.Scan}
}

// known gives the port's paths.
func (pt *port) known() map[uint16]*Path {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	m := make(map[uint16]*Path, len(pt.paths))
	for l, p := range pt.paths {
		m[l] = p
	}
	return m
}

// tryProve is prove (mute.go), but that it takes a LUN without an answer for a session
// that is lost.
func (pt *port) tryProve(ctx context.Context, lun uint16, gen uint64) (err error) {
	pt.mu.Lock()
	p := pt.paths[lun]
	sized := pt.sized[lun]
	asked := pt.attn[lun]
	delete(pt.sized, lun)
	delete(pt.attn, lun)
	pt.mu.Unlock()
	if pt.masks(ctx, p, lun) || p != nil && p.isLeftAlone() {
		return nil
	}
	defer func() { p.answered(err) }()
	q := pt.prober(lun)
	f, err := pt.ask(ctx, q, lun)
	if errors.Is(err, errLost) || ctx.Err() != nil {
		return errLost
	}
	if errors.Is(err, errMasked) {
		return nil
	}
	asleep := err != nil && f.asleep(err)
	if asleep {
		if p == nil {
			return pt.later(lun, err, pt.m.cfg.Timers.Probe)
		}
		p.remember(&f)
		err = nil
	}
	unread := asleep
	if err != nil {
		pt.wrong(p, lun, err)
		return err
	}
	if p == nil {
		if p, err = pt.m.adopt(pt, lun, f); err != nil {
			pt.wrong(nil, lun, err)
			return err
		}
		if p.dev.ghostsOn(pt, gen, anyGhost) != nil {
			return nil // an earlier run's: fence first, then it is proved
		}
	}
	// Without any word in between, the same session leads to the same unit.
	if why := p.dev.agree(p, &f, sized || !asked && p.provedIn(gen)); why != "" {
		p.note(&f)
		pt.refuse(p, why)
		return nil
	}
	if read, block := p.needsRead(); read && !f.serves() {
		unread = true // not before its group lets it
	} else if read {
		if err := q.testRead(ctx, &f, block); err != nil {
			if errors.Is(err, errLost) || ctx.Err() != nil {
				return errLost
			}
			return pt.fault(p, err)
		}
	}
	if asleep {
		// No token can be left before it is awake, and it is not used before.
	} else if err := pt.mark(ctx, q, p, gen); err != nil {
		return err
	}
	if err := pt.open(p, gen); err != nil {
		return err
	}
	if err := pt.purgeOrphans(ctx, q, p); err != nil {
		return err
	}
	p.sess.SetGeometry(gen, f.geometry())
	pt.reinstated(p, gen, f, unread)
	return nil
}

// ask reads who and how large lun is. INQUIRY is answered without telling of a unit
// attention, which then comes with a later command: what was read before it may be
// out of date (H5).
func (pt *port) ask(ctx context.Context, q prober, lun uint16) (f facts, err error) {
	for range probeAttentions {
		if f, err = q.identify(ctx); err == nil {
			err = pt.claim(ctx, lun, &f)
		}
		if err == nil {
			err = q.measure(ctx, &f)
		}
		pt.mu.Lock()
		again := pt.attn[lun]
		delete(pt.attn, lun)
		pt.mu.Unlock()
		if err != nil || !again {
			return f, err
		}
	}
	return f, errors.New("unit attentions without end")
}

func (d *Device) hasGhostLocked(path string) bool {
	for _, g := range d.ghosts {
		if g.path == path {
			return true
		}
	}
	return false
}

// reinstated takes p into use, if its login is still the one it was proved on.
func (pt *port) reinstated(p *Path, gen uint64, f facts, unread bool) {
	var b backends.Batch
	out := newOutbox()
	now := time.Now()
	d := p.dev
	var grown []*Path
	pt.mu.Lock()
	d.mu.Lock()
	if pt.up && pt.login.Generation == gen && p.gen == gen {
		// One that came since then asks for another proof first.
		p.facts, p.noLUN, p.live, p.unread = f, false, true, unread
		p.swapped, p.okGen = "", gen
		d.lacks.changes = false // f knows
		grown = d.growLocked(p)
		out.change |= d.informLocked()
		// Access first: a path that turns out to be on standby is in no group even
		// for a moment.
		d.groupsLocked(&b, out, f.report, now)
		d.accessLocked(&b, out, p, p.toldLocked(), now)
		p.proving = pt.attn[p.lun]
		p.proved, p.stale = true, false
		if !d.healthLocked(&b, out, p, EventProved, "", now) {
			d.pathsChangedLocked(&b, out, now)
		}
		d.reinstateLocked(&b, out, p, now)
		d.checkGoneLocked(&b, out, now)
	}
	d.pumpLocked(&b, out, now)
	d.mu.Unlock()
	pt.mu.Unlock()
	d.send(&b, out)
	b.Run()
	proveAgain(grown) // at the new size, as far as they were refused
}

// proveAgain has the ports of paths look at what these lead to.
func proveAgain(paths []*Path) {
	for _, o := range paths {
		o.port.mu.Lock()
		o.port.attn[o.lun] = true
		o.port.mu.Unlock()
		o.port.wake()
	}
}

// change applies a health event to p and keeps it out of use until the next
// proof.
func (pt *port) change(p *Path, e HealthEvent, reason string, noLUN bool) {
	var b backends.Batch
	out := newOutbox()
	now := time.Now()
	d := p.dev
	d.mu.Lock()
	p.noLUN = noLUN
	if !d.healthLocked(&b, out, p, e, reason, now) {
		d.pathsChangedLocked(&b, out, now)
	}
	d.checkGoneLocked(&b, out, now)
	out.change |= d.informLocked()
	d.pumpLocked(&b, out, now)
	d.mu.Unlock()
	d.send(&b, out)
	b.Run()
}

func (pt *port) refuse(p *Path, why string) { pt.change(p, EventRefused, why, false) }

func (pt *port) fault(p *Path, err error) error {
	pt.change(p, EventFault, err.Error(), false)
	return err
}

// wrong handles a LUN that could not be proved.
func (pt *port) wrong(p *Path, lun uint16, err error) {
	var re backends.ResultError
	noLU := errors.Is(err, errNoDisk)
	if errors.As(err, &re) {
		s := re.Result.Sense
		noLU = s.Valid && scsi.MakeSenseCode(scsi.SenseKey(s.Key), s.ASC, s.ASCQ) == scsi.CodeLUNotSupported
	}
	switch {
	case p != nil && noLU:
		pt.change(p, EventRefused, "no logical unit: "+err.Error(), true)
	case p != nil && errors.Is(err, scsi.ErrNoIdentity) || p != nil && errors.Is(err, scsi.ErrCapacity):
		pt.refuse(p, err.Error())
	case p != nil:
		_ = pt.fault(p, err)
	case noLU: // nothing there, as at most LUNs
	default:
		pt.mu.Lock()
		known := pt.told[lun] == err.Error()
		pt.told[lun] = err.Error()
		pt.mu.Unlock()
		if !known {
			pt.m.event(Event{Kind: PathQuarantined, Path: pt.pathName(lun), Health: Quarantined, Reason: err.Error()})
		}
	}
}

// isLeftAlone tells that an administrator wants the path neither used nor tried.
func (p *Path) isLeftAlone() bool {
	p.dev.mu.Lock()
	defer p.dev.mu.Unlock()
	return p.health == Disabled || p.kept
}

// needsRead: it has failed before, and answers to inquiries prove little; and where.
func (p *Path) needsRead() (read bool, block uint64) {
	p.dev.mu.Lock()
	defer p.dev.mu.Unlock()
	return p.health == Down || p.health == Quarantined || p.unread, p.testBlockLocked()
}

// proveDue proves the paths that ask for it: after a unit attention at once,
// those that fail from time to time. It tells when the next one is due.
func (pt *port) proveDue(ctx context.Context, gen uint64) time.Duration {
	now := time.Now()
	var wait time.Duration
	known := pt.known()
	for _, lun := range pt.inOrder(slices.Sorted(maps.Keys(known))) {
		if pt.quiet.stuck[lun] {
			continue
		}
		p := known[lun]
		every := pt.patience(lun, pt.interval(p))
		pt.mu.Lock()
		asked := pt.attn[lun]
		pt.mu.Unlock()
		due := pt.next[lun]
		switch {
		case every == 0 && !asked:
			delete(pt.next, lun)
			continue
		case asked || every < 0:
			due.at = now
		case due.gen != gen || due.at.IsZero():
			due = probeDue{now.Add(every), gen}
		}
		if !now.Before(due.at) {
			err := pt.prove(ctx, lun, gen)
			if errors.Is(err, errLost) {
				return lostRetry
			}
			now = time.Now()
			every = pt.patience(lun, pt.interval(p))
			if every == 0 {
				delete(pt.next, lun)
				continue
			}
			// One that still asks was not proved for a reason: not at once again.
			due = probeDue{now.Add(max(every, pt.m.cfg.Timers.Probe/10)), gen}
			if errors.Is(err, errMute) {
				pt.next[lun] = due
				return atOnce // that took long: others may be due
			}
		}
		pt.next[lun] = due
		if left := max(due.at.Sub(now), time.Millisecond); wait == 0 || left < wait {
			wait = left
		}
	}
	return wait
}

// interval tells how often p is proved: 0 not at all, below 0 now.
func (pt *port) interval(p *Path) time.Duration {
	t := &pt.m.cfg.Timers
	p.dev.mu.Lock()
	defer p.dev.mu.Unlock()
	if p.mask != 0 {
		return 0
	}
	switch p.health {
	case Unknown:
		return -1
	case Up, Marginal:
		switch {
		case p.proving:
			return -1
		case p.reserved == ReservationForeign, !p.access.Serves() && !p.facts.hasGroup:
			return t.Probe
		}
		return 0
	case Down:
		if p.kept {
			return 0
		}
		return t.Probe
	case Quarantined:
		return t.SlowProbe
	case Disabled:
	}
	return 0
}
