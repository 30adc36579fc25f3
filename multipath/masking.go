// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pathgate/backends"
)

// A masked path is given no request from the step on in which its rule comes into
// force. It leaves its device when nothing of it is left to wait for: what is in
// flight has ended, what may still run at the target is fenced, what its target has in
// a cache that no other path leads to is flushed, and its registration key is taken
// away. Then the LUN gets no command any more, and the port only remembers its number.
// A rule that has gone brings it back by a scan, like a new one.

// errMasked: the LUN is masked; it is for control flow.
var errMasked = errors.New("masked")

// partRetry is how often a path that cannot leave yet is looked at again, beside the
// ends of its requests.
const partRetry = 100 * time.Millisecond

// maskedLUN is what a port remembers of a LUN that is masked and no path any more.
type maskedLUN struct {
	rule   int
	since  time.Time
	facts  ClaimFacts // Known: as it was at the last INQUIRY
	device string     // canonical name of the device that it was a path of; may be empty
}

// SetClaims puts other rules in force, all at once: when it returns no path that they
// mask is given a new request. Paths that they do not mask any more come back by scans.
func (m *Manager) SetClaims(rules ClaimRules) {
	m.claims.Store(&rules)
	for _, pt := range m.portList() {
		pt.reclaim()
	}
}

// Claims gives the rules in force.
func (m *Manager) Claims() ClaimRules {
	if r := m.claims.Load(); r != nil {
		return *r
	}
	return ClaimRules{}
}

// claimFacts is what is known of lun without asking it.
func (pt *port) claimFacts(lun uint16) ClaimFacts {
	portal, err := claimPortal(pt.portal)
	if err != nil {
		portal = pt.portal
	}
	return ClaimFacts{Adapter: pt.adapter.Name, Portal: portal, Target: pt.target, Path: pt.pathName(lun), LUN: lun}
}

// with adds what INQUIRY has told, if it has.
func (c ClaimFacts) with(f *facts) ClaimFacts {
	if f.identity.ID != "" {
		c.Known, c.Identity, c.Vendor, c.Product, c.Revision = true, f.identity.ID, f.vendor, f.product, f.revision
	}
	return c
}

// decide gives the rules' word on lun; f is what it has told, or nil.
func (pt *port) decide(lun uint16, f *facts) (Claim, ClaimFacts) {
	c := pt.claimFacts(lun)
	if f != nil {
		c = c.with(f)
	}
	return pt.m.Claims().Decide(&c), c
}

// masks tells that lun must not be sent anything: its path p is on its way out, or it
// is certain without asking that a rule masks it. p is nil for a LUN that is no path.
func (pt *port) masks(ctx context.Context, p *Path, lun uint16) bool {
	claim, known := pt.decide(lun, nil)
	if p != nil {
		if claim.Action == ClaimMask {
			pt.mask(p, claim.Rule)
		}
		return p.maskedBy() != 0
	}
	if claim.Action != ClaimMask {
		return false
	}
	pt.hide(lun, maskedLUN{rule: claim.Rule, facts: known}, true)
	pt.forgetKeys(ctx, lun)
	return true
}

// claim holds what lun has told against the rules: errMasked, or nil.
func (pt *port) claim(ctx context.Context, lun uint16, f *facts) error {
	claim, known := pt.decide(lun, f)
	if claim.Action != ClaimMask {
		pt.forgetKeys(ctx, lun)
		pt.show(lun)
		return nil
	}
	if p := pt.known()[lun]; p != nil {
		pt.mask(p, claim.Rule)
	} else {
		pt.hide(lun, maskedLUN{rule: claim.Rule, facts: known, device: pt.m.deviceOf(pt, &known)}, true)
	}
	return errMasked
}

// maskJoinedLocked masks a new path that the rules in force mask: they may have
// changed since its LUN was asked. Caller holds the locks of port and device, so that
// either this or reclaim sees the other one's work.
func (pt *port) maskJoinedLocked(b *backends.Batch, out *outbox, p *Path, f *facts) {
	if claim, _ := pt.decide(p.lun, f); claim.Action == ClaimMask {
		p.dev.maskLocked(b, out, p, claim.Rule, time.Now())
	}
}

// reclaim applies rules that are new to what is known of each LUN, and has the port
// find out the rest.
func (pt *port) reclaim() {
	var lists []todo
	var b backends.Batch
	now := time.Now()
	pt.mu.Lock()
	for lun, p := range pt.paths {
		d, out := p.dev, newOutbox()
		d.mu.Lock()
		claim, _ := pt.decide(lun, &p.facts)
		switch {
		case claim.Action == ClaimMask:
			d.maskLocked(&b, out, p, claim.Rule, now)
		case p.mask != 0:
			// It was on its way out: what it has given up by now is made anew.
			p.mask, p.proving = 0, true
			pt.attn[lun] = true
			d.pathsChangedLocked(&b, out, now)
			out.event(Event{Kind: PathUnmasked, Device: d.name, Path: p.name})
		}
		d.pumpLocked(&b, out, now)
		d.mu.Unlock()
		lists = append(lists, todo{d, out})
	}
	var shown []uint16
	for lun, h := range pt.masked {
		claim, known := pt.decide(lun, nil)
		if claim.Action == ClaimAsk && h.facts.Known {
			known.Known, known.Identity = true, h.facts.Identity
			known.Vendor, known.Product, known.Revision = h.facts.Vendor, h.facts.Product, h.facts.Revision
			claim = pt.m.Claims().Decide(&known)
		}
		if claim.Action == ClaimMask {
			h.rule = claim.Rule
		} else if claim.Action == ClaimUse {
			shown = append(shown, lun)
		}
	}
	pt.again = true
	pt.mu.Unlock()
	sendAll(&b, lists)
	b.Run()
	for _, lun := range shown {
		pt.show(lun)
	}
	pt.wake()
}

// mask takes p out of use for good.
func (pt *port) mask(p *Path, rule int) {
	var b backends.Batch
	out := newOutbox()
	now := time.Now()
	d := p.dev
	d.mu.Lock()
	d.maskLocked(&b, out, p, rule, now)
	d.pumpLocked(&b, out, now)
	d.mu.Unlock()
	d.send(&b, out)
	b.Run()
}

func (d *Device) maskLocked(b *backends.Batch, out *outbox, p *Path, rule int, now time.Time) {
	was := p.mask
	p.mask = rule
	if was == 0 {
		out.event(Event{Kind: PathMasked, Device: d.name, Path: p.name, Reason: maskedBy(rule)})
		d.pathsChangedLocked(b, out, now)
		out.kick(p.port)
	}
}

func maskedBy(rule int) string { return fmt.Sprintf("masked by rule %d", rule) }

func (p *Path) maskedBy() int {
	p.dev.mu.Lock()
	defer p.dev.mu.Unlock()
	return p.mask
}

// maskReasonLocked tells people why p is masked, and what it still waits for.
func (p *Path) maskReasonLocked() string {
	why := maskedBy(p.mask)
	switch {
	case p.inflight > 0:
		why += fmt.Sprintf("; it leaves when %d requests have ended", p.inflight)
	case p.dev.hasGhostLocked(p.name):
		why += "; it leaves when its old writes are fenced"
	}
	return why
}

// hide remembers that lun is masked. tell: that is told, if it was not masked before.
func (pt *port) hide(lun uint16, h maskedLUN, tell bool) {
	pt.mu.Lock()
	was := pt.masked[lun]
	if was != nil {
		h.since = was.since
		if !h.facts.Known {
			h.facts, h.device = was.facts, was.device
		}
	} else {
		h.since = time.Now()
	}
	pt.masked = keep(pt.masked, lun, &h)
	delete(pt.told, lun)
	pt.mu.Unlock()
	if was == nil && tell {
		pt.m.event(Event{Kind: PathMasked, Device: h.device, Path: pt.pathName(lun), Reason: maskedBy(h.rule)})
	}
}

// keep is m with v for lun; most ports have no masked LUN, and no map.
func keep[T any](m map[uint16]T, lun uint16, v T) map[uint16]T {
	if m == nil {
		m = map[uint16]T{}
	}
	m[lun] = v
	return m
}

// show forgets that lun was masked, and tells it.
func (pt *port) show(lun uint16) {
	pt.mu.Lock()
	h := pt.masked[lun]
	delete(pt.masked, lun)
	pt.mu.Unlock()
	if h != nil {
		pt.m.event(Event{Kind: PathUnmasked, Device: h.device, Path: pt.pathName(lun)})
	}
}

// forgetMasked forgets masked LUNs that a scan has not found any more.
func (pt *port) forgetMasked(seen map[uint16]bool) {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	for lun := range pt.masked {
		if !seen[lun] {
			delete(pt.masked, lun)
		}
	}
}

// directory is the LUN that is asked for the list of LUNs: 0 has to answer whether
// there is a logical unit or not (SPC-4 REPORT LUNS), so it gets that even if masked.
func (pt *port) directory(first uint16) uint16 {
	if claim, _ := pt.decide(first, nil); claim.Action == ClaimMask {
		return 0
	}
	return first
}

// part takes the masked paths out of their devices that have nothing to wait for any
// more, and gives when to look again: wait, or earlier if some are left.
func (pt *port) part(ctx context.Context, wait time.Duration) time.Duration {
	for _, p := range pt.known() {
		if p.maskedBy() == 0 || pt.withdraw(ctx, p) {
			continue
		}
		if wait == 0 || wait > partRetry {
			wait = partRetry
		}
	}
	return wait
}

// withdraw takes p out of its device, and tells whether it could. It is the port's
// goroutine that calls it, so nothing is proved or fenced here meanwhile.
func (pt *port) withdraw(ctx context.Context, p *Path) bool {
	d := p.dev
	d.mu.Lock()
	quiet := p.first == nil && !d.hasGhostLocked(p.name)
	flush := quiet && p.live && d.lastToCacheLocked(p)
	d.mu.Unlock()
	if !quiet {
		return false
	}
	q := pt.prober(p.lun)
	if flush && !pt.flushBefore(ctx, q, p) {
		return false
	}
	left, done := pt.dropKeys(ctx, q, p)
	return done && pt.remove(p, left, flush)
}

// remove is the end of withdraw: p goes, unless the rules have changed their mind, or
// another path to the same cache has gone meanwhile and it is p now that has to flush
// it. It tells whether there is nothing left to do.
func (pt *port) remove(p *Path, keysLeft, flushed bool) bool {
	d, m := p.dev, pt.m
	var b backends.Batch
	out := newOutbox()
	now := time.Now()
	m.adopting.Lock()
	pt.mu.Lock()
	d.mu.Lock()
	known := pt.claimFacts(p.lun).with(&p.facts)
	rule, old := p.mask, p.opens
	stays := !flushed && p.live && d.lastToCacheLocked(p)
	gone := rule != 0 && p.first == nil && !stays
	if gone {
		// What an administrator has decided holds when it comes back.
		m.disabled[p.name] = p.health == Disabled
		server := d.serverOf(p)
		delete(pt.paths, p.lun)
		delete(pt.attn, p.lun)
		d.leaveLocked(&b, out, p, now)
		if server.slots == 0 {
			d.endFlushesLocked(&b, out, server, now)
		}
		if keysLeft {
			pt.keys = keep(pt.keys, p.lun, d.gatewayKey())
		}
	}
	d.mu.Unlock()
	pt.mu.Unlock()
	m.adopting.Unlock()
	d.send(&b, out)
	b.Run()
	delete(pt.next, p.lun)
	if gone {
		pt.hide(p.lun, maskedLUN{rule: rule, facts: known, device: d.name}, false)
	}
	if gone {
		m.dropRecords(p.name, old)
	}
	return !stays
}

// quieterLocked tells those who wait for paths to have nothing in flight that one
// attempt on p has ended.
func (d *Device) quieterLocked(out *outbox, p *Path) {
	if d.drained != nil {
		d.drainedLocked()
	}
	if p.mask != 0 && p.first == nil {
		out.kick(p.port) // it may leave now
	}
}

// wakeFencers has the ports that can fence what an earlier run left look at it. One
// whose path is masked has scanned before there was a device, and found nothing to do.
func (d *Device) wakeFencers() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, g := range d.ghosts {
		if g.port != nil {
			g.port.wake()
		}
	}
}

// deviceOf gives the name of the device that a LUN of pt would be a path of; "" when
// there is none.
func (m *Manager) deviceOf(pt *port, f *ClaimFacts) string {
	for _, d := range m.Devices() {
		if d.identity.ID == f.Identity && (d.key == f.Identity || d.key == f.Identity+"@"+pt.target) {
			return d.name
		}
	}
	return ""
}
