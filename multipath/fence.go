// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pathgate/backends"
)

// fencing is how far a port has got with reinstating its lost session over
// another way (HAZARDS section 4 rule 6(b)). It belongs to the port's goroutine.
type fencing struct {
	since   time.Time
	tried   int // routes of this round
	rounds  int
	notTill time.Time
	until   time.Time // of the login under way
	foreign []string  // portals of routes that lead to another target
	told    bool      // that no way fences
}

const maxFenceRounds = 3 // doublings of FenceRetry

// reinstate logs the lost session in again, so that it can be fenced: over its
// own way if that works, else over each other live one to the same portal group.
func (pt *port) reinstate(ctx context.Context, s snapshot, ghosts map[*Device]map[uint16]int) time.Duration {
	now := time.Now()
	f := &pt.fence
	if f.since.IsZero() {
		pt.fenceStart(now, ghosts)
	}
	if s.trying && now.Before(f.until) {
		return f.until.Sub(now)
	}
	if now.Before(f.notTill) {
		return f.notTill.Sub(now)
	}
	// The session logs in by itself over its own way. Only where that has just
	// worked, or was not tried yet, is it worth waiting for.
	switch s.loss.Class {
	case 0:
		if left := f.since.Add(pt.m.cfg.Timers.FenceLogin).Sub(now); left > 0 {
			return left
		}
	case backends.LossReset, backends.LossProtocol, backends.LossLogout, backends.LossRelogin, backends.LossClosed:
		if left := s.lostAt.Add(pt.m.cfg.Timers.OwnRoute).Sub(now); left > 0 {
			return left
		}
	case backends.LossConnect, backends.LossRefused, backends.LossDenied, backends.LossSilent, backends.LossLocal:
	}
	routes := pt.m.routesFor(pt, s)
	if f.tried < len(routes) {
		r := routes[f.tried]
		f.tried++
		f.until = now.Add(pt.m.cfg.Timers.FenceLogin + time.Second)
		pt.mu.Lock()
		pt.trying = true
		pt.mu.Unlock()
		pt.nexus.Relogin(r)
		return pt.m.cfg.Timers.FenceLogin + time.Second
	}
	if pt.preemptAll(ctx, s.gen+1, ghosts) {
		return atOnce
	}
	pt.noWay(s, len(routes), ghosts)
	wait := pt.m.cfg.Timers.FenceRetry << min(f.rounds, maxFenceRounds)
	if f.tried > 0 {
		pt.nexus.Relogin(backends.Route{}) // let it try its own way meanwhile
	}
	f.tried, f.rounds, f.notTill = 0, f.rounds+1, now.Add(wait)
	return wait
}

// fenceStart notes when the ghosts began to wait.
func (pt *port) fenceStart(now time.Time, ghosts map[*Device]map[uint16]int) {
	pt.fence.since = now
	for d, luns := range ghosts {
		n := 0
		for _, k := range luns {
			n += k
		}
		pt.m.event(Event{Kind: FenceStart, Device: d.name, Path: pt.name(), Count: n, Held: d.heldWrites(), Method: fenceMethod})
	}
}

const fenceMethod = "relogin+lun-reset"

// fenceAll resets each LUN that has ghosts of earlier logins of pt.
func (pt *port) fenceAll(ctx context.Context, s snapshot, ghosts map[*Device]map[uint16]int) time.Duration {
	if pt.fence.since.IsZero() {
		pt.fenceStart(time.Now(), ghosts)
	}
	if pt.preemptAll(ctx, s.gen, pt.byKeyOnly(ghosts, s)) {
		return atOnce
	}
	if !s.own && (!s.tagKnown || pt.loginTag() != s.tag) {
		// Another portal group: our ISID has reinstated nothing there.
		pt.nexus.Relogin(backends.Route{})
		return pt.m.cfg.Timers.FenceRetry
	}
	failed := map[uint16]bool{}
	for d, luns := range ghosts {
		for lun, n := range luns {
			if !d.mayReset() {
				failed[lun] = true
			} else if err := pt.fenceLUN(ctx, d, lun, s.gen, n); err != nil {
				failed[lun] = true
				pt.fenceFailed(ctx, s, d, lun, n, err)
			}
		}
	}
	if len(failed) == 0 {
		return atOnce
	}
	pt.fencedInVain(s, failed)
	if s.own {
		return atOnce // the other LUNs are proved meanwhile
	}
	// Not over this way. The next one is tried once the own way has failed.
	pt.nexus.Relogin(backends.Route{})
	return pt.m.cfg.Timers.FenceRetry
}

// fenceFailed tells that the n ghosts of d on lun are not fenced.
func (pt *port) fenceFailed(ctx context.Context, s snapshot, d *Device, lun uint16, n int, err error) {
	if errors.Is(err, errForeign) {
		pt.fence.foreign = append(pt.fence.foreign, pt.loginRoute().Portal)
	}
	if err = pt.noAnswer(ctx, s.gen, err); pt.quiet.tells(s.gen) {
		pt.heldOn(d, lun, n, fenceMethod, err.Error())
	}
}

func (pt *port) loginRoute() backends.Route {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	return pt.login.Route
}

func (pt *port) loginTag() uint16 {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	return pt.login.GroupTag
}

// fenceLUN proves that lun is d's LUN, and resets it. An answer with response 0
// proves that nothing sent by earlier logins runs any more: their unread bytes
// died with the login, and the reset has waited for the rest.
func (pt *port) fenceLUN(ctx context.Context, d *Device, lun uint16, gen uint64, n int) error {
	q := pt.prober(lun)
	f, err := q.identify(ctx)
	if err != nil {
		return err
	}
	if f.identity.ID != d.identity.ID {
		if p := pt.known()[lun]; p != nil {
			pt.refuse(p, fmt.Sprintf("identity %s instead of %s", f.identity.ID, d.identity.ID))
		}
		return fmt.Errorf("the LUN has the identity %s: no reset of it can fence anything", f.identity.ID)
	}
	if !pt.state().own {
		if err := pt.sameUnit(ctx, q, d, lun, gen); err != nil {
			return err
		}
	}
	tag := pt.loginTag()
	r, err := d.resetOver(ctx, pt, q.sess, gen)
	if err != nil {
		return err
	}
	switch r {
	case backends.TMComplete:
		d.fence(pt, lun, gen, n, fenceMethod, func(g *ghost) bool { return !g.strayIn(tag) })
		return nil
	case backends.TMNoLUN:
		if p := pt.known()[lun]; p != nil {
			pt.refuse(p, "LOGICAL UNIT RESET: the LUN does not exist")
		}
	case backends.TMNoTask, backends.TMRefused, backends.TMDataOwed, backends.TMTimeout, backends.TMLost:
	}
	return fmt.Errorf("LOGICAL UNIT RESET: %v", r)
}

// errRelogin: what answered the reset may be another logical unit than the one that was
// identified.
var errRelogin = errors.New("the session was lost before the LOGICAL UNIT RESET was answered")

// resetOver sends a LOGICAL UNIT RESET over sess, a session of via whose LUN was
// identified in the login gen. Dispatch to the target stops for it, for ResetGap at
// most. Its answer counts only in that login: the next one may lead elsewhere (H5).
func (d *Device) resetOver(ctx context.Context, via *port, sess backends.Session, gen uint64) (backends.TMResponse, error) {
	// One after the other: on tgtd the second function that waits for a command
	// takes the place of the first, which is then never answered (rule 9).
	select {
	case d.fencing <- struct{}{}:
		defer func() { <-d.fencing }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	same := func(p *Path) bool { return p.port.target == via.target }
	d.hold(ctx, same, d.drainLimit())
	t := &backends.TaskManagement{Function: backends.LUNReset, Timeout: d.timers.Reset}
	done := make(chan struct{})
	t.Done = func(*backends.Batch, *backends.TaskManagement) { close(done) }
	var b backends.Batch
	sess.TMF(&b, t)
	b.Run()
	// Others wait for so long at most. What they send from then on may be ended by
	// the reset too, and is sent again.
	gap := time.NewTimer(d.timers.ResetGap - d.drainLimit())
	defer gap.Stop()
	select {
	case <-done:
	case <-gap.C:
		d.unhold(same)
		<-done
	}
	d.resetDone(via, t.Response)
	d.unhold(same)
	if t.Response == backends.TMComplete && via.state().gen != gen {
		return 0, errRelogin
	}
	return t.Response, nil
}

// drainLimit is the part of ResetGap that draining may take.
func (d *Device) drainLimit() time.Duration {
	return min(d.timers.ResetDrain, d.timers.ResetGap*3/5)
}

// hold stops the dispatch on the paths that which names, and gives what is in
// flight there a moment to end.
func (d *Device) hold(ctx context.Context, which func(*Path) bool, limit time.Duration) {
	var b backends.Batch
	out := newOutbox()
	now := time.Now()
	d.mu.Lock()
	for _, p := range d.paths {
		if p.live && which(p) {
			p.held = true
		}
	}
	d.pathsChangedLocked(&b, out, now)
	done := make(chan struct{})
	d.drained = done
	d.drainedLocked()
	d.mu.Unlock()
	d.send(&b, out)
	b.Run()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
	}
	d.mu.Lock()
	if d.drained == done {
		d.drained = nil
	}
	d.mu.Unlock()
}

// drainedLocked ends the wait of hold when nothing is in flight on held paths.
func (d *Device) drainedLocked() {
	for _, p := range d.paths {
		if p.held && p.first != nil {
			return
		}
	}
	close(d.drained)
	d.drained = nil
}

// unhold lets the dispatch go on.
func (d *Device) unhold(which func(*Path) bool) {
	var b backends.Batch
	out := newOutbox()
	now := time.Now()
	d.mu.Lock()
	for _, p := range d.paths {
		if which(p) {
			p.held = false
		}
	}
	d.pathsChangedLocked(&b, out, now)
	d.pumpLocked(&b, out, now)
	d.mu.Unlock()
	d.send(&b, out)
	b.Run()
}

// swallowFor is how long a unit attention of our own reset may be on its way: it
// comes with the next command. A later one is taken for somebody else's reset, and
// nothing goes to the path before its proof.
const swallowFor = 5 * time.Second

// resetDone expects the side effects of our own reset on the healthy paths to
// the same target: a unit attention each, and tasks that end with 40h or never.
func (d *Device) resetDone(pt *port, r backends.TMResponse) {
	var b backends.Batch
	out := newOutbox()
	now := time.Now()
	d.mu.Lock()
	for _, p := range d.paths {
		if p.port.target != pt.target || !p.live {
			continue
		}
		if r == backends.TMComplete && p.port != pt {
			p.swallow = now.Add(swallowFor)
		}
		p.sweepAt, p.sweepOf = now.Add(sweepDelay), now
		d.dueLocked(out, p.sweepAt)
	}
	d.mu.Unlock()
	d.send(&b, out)
	b.Run()
}

// fence lets go the ghosts on pt of logins before gen that dead names, as method has
// proved.
func (d *Device) fence(pt *port, lun uint16, gen uint64, n int, method string, dead func(*ghost) bool) {
	var b backends.Batch
	out := newOutbox()
	now := time.Now()
	d.mu.Lock()
	d.countLocked(method, true)
	held := d.heldWritesLocked()
	mine := func(g *ghost) bool { return g.port == pt && g.lun == lun && g.gen < gen && g.over == "" }
	d.fencedLocked(&b, out, func(g *ghost) bool { return mine(g) && dead(g) }, method, now)
	for _, p := range d.paths {
		if p.port == pt && p.lun == lun && !slices.ContainsFunc(d.ghosts, mine) {
			p.fenced = max(p.fenced, gen)
		}
	}
	if len(d.ghosts) == 0 {
		d.takenAway = nil
	}
	d.pumpLocked(&b, out, now)
	if d.rule.Reservation.AllRegistrants {
		out.kickAll(d) // keys that were kept for the proof may go
	}
	out.event(Event{
		Kind: FenceDone, Device: d.name, Path: pt.pathName(lun), Method: method,
		Count: n, Held: held, Duration: now.Sub(pt.fence.since),
	})
	d.mu.Unlock()
	d.send(&b, out)
	b.Run()
}

func (d *Device) heldWrites() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.heldWritesLocked()
}

// anyGhost is for ghostsOn.
func anyGhost(*ghost) bool { return true }

// ghostsOn gives the ghosts of logins before gen on pt that want names, by device and
// LUN.
func (m *Manager) ghostsOn(pt *port, gen uint64, want func(*ghost) bool) map[*Device]map[uint16]int {
	var all map[*Device]map[uint16]int
	for _, d := range m.Devices() {
		if luns := d.ghostsOn(pt, gen, want); luns != nil {
			if all == nil {
				all = map[*Device]map[uint16]int{}
			}
			all[d] = luns
		}
	}
	return all
}

// routesFor gives the other ways to pt's target over which a login with pt's
// ISID reinstates pt's session: those to the same portal group that are logged
// in now. A way of another adapter and portal shares the least with what broke,
// so it comes first.
func (m *Manager) routesFor(pt *port, s snapshot) []backends.Route {
	if !s.tagKnown {
		return nil
	}
	type way struct {
		r      backends.Route
		shared int
	}
	var ways []way
	for _, o := range m.portList() {
		if o == pt || o.target != pt.target {
			continue
		}
		os := o.state()
		if !os.up || !os.own || os.tag != s.tag || !m.mayFence(pt, o) {
			continue
		}
		w := way{r: backends.Route{Connector: o.connector, Portal: o.portal}}
		if o.adapter == pt.adapter {
			w.r.Connector = nil
			w.shared++
		}
		if o.portal == pt.portal {
			w.r.Portal = ""
			w.shared++
		}
		if slices.Contains(pt.fence.foreign, w.r.Portal) {
			continue
		}
		ways = append(ways, w)
	}
	slices.SortStableFunc(ways, func(a, b way) int { return a.shared - b.shared })
	routes := make([]backends.Route, len(ways))
	for i, w := range ways {
		routes[i] = w.r
	}
	return routes
}
