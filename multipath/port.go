// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"context"
	"strconv"
	"sync"
	"time"

	"pathgate/backends"
)

// port is one adapter at one target portal: the nexus that all paths through it
// share, and the goroutine that does its control work one step after another:
// fence, scan, prove. It implements backends.NexusHandler.
type port struct {
	m           *Manager
	adapter     *Adapter
	connector   backends.Connector
	spec        *Target
	target      string
	portal      string
	number      int
	nexusNumber int // in registration keys
	kick        chan struct{}
	nexus       backends.Nexus
	first       chan struct{} // closed after the first scan, or failed login

	mu       sync.Mutex
	up       bool
	login    backends.Login // the last one
	tag      uint16         // target portal group; counts if tagKnown
	tagKnown bool
	loss     backends.Loss
	lostAt   time.Time
	awayAt   time.Time // its own session is lost since; zero: it is there, or never was
	awayBy   backends.LossClass
	protocol []time.Time // recent losses since the target broke the protocol
	failing  bool        // LoginFailed was told
	trying   bool        // a login over another route is under way
	paths    map[uint16]*Path
	leave    time.Duration     // the target wants us to log out within that time; 0: no
	scanned  uint64            // generation of the last complete scan
	scanAt   time.Time         // when it ended
	asked    bool              // by an operator: the next scan takes what it finds
	denied   int               // logins in a row that were told that there is no such target
	deniedAt time.Time         // the last one
	found    bool              // by SendTargets
	unlisted time.Time         // since then SendTargets does not tell of it; zero: it does
	ended    bool              // taken out
	again    bool              // scan again
	attn     map[uint16]bool   // LUNs with a unit attention that asks for a proof
	sized    map[uint16]bool   // of them, those about capacity
	waiters  []chan struct{}   // closed after the next scan
	moved    string            // where the target was found that has moved for good, as told
	told     map[uint16]string // what is wrong with LUNs that are no paths
	masked   map[uint16]*maskedLUN
	keys     map[uint16]uint32   // whose registrations paths left behind, see forgetKeys
	fence    fencing             // of the goroutine only
	helpless map[*Device]bool    // those with ghosts that nothing here fences, as told; likewise
	next     map[uint16]probeDue // when paths that fail are proved again; likewise
	leaving  map[*Device]bool    // those whose paths logout holds; likewise
	leaveGen uint64              // the login that it ends; likewise
	quiet    quiet               // LUNs that do not answer; likewise
	asleep   time.Time           // when to scan for LUNs that were not ready; likewise; zero: none was
}

type probeDue struct {
	at  time.Time
	gen uint64
}

// name is adapter and target number: the name of a path less the LUN.
func (pt *port) name() string { return pt.adapter.Name + ":" + strconv.Itoa(pt.number) }

func (pt *port) pathName(lun uint16) string { return pt.name() + ":" + strconv.Itoa(int(lun)) }

// wake has the goroutine look at everything again.
func (pt *port) wake() {
	select {
	case pt.kick <- struct{}{}:
	default:
	}
}

// drop ends the session, for a command on it that cannot be ended otherwise, and
// logs in again.
func (pt *port) drop() { pt.nexus.Relogin(backends.Route{}) }

// Up implements backends.NexusHandler.
func (pt *port) Up(b *backends.Batch, _ backends.Nexus, l backends.Login) {
	var lists []todo
	pt.mu.Lock()
	pt.up, pt.login, pt.failing, pt.trying, pt.leave = true, l, false, false, 0
	pt.denied = 0
	moved := l.Moved != "" && l.Moved != pt.moved
	pt.moved = l.Moved
	if l.Route.Own() {
		pt.awayAt = time.Time{}
		pt.tag, pt.tagKnown = l.GroupTag, true
		now := time.Now()
		for _, p := range pt.paths {
			d, out := p.dev, newOutbox()
			d.mu.Lock()
			p.live, p.gen, p.swallow = true, l.Generation, time.Time{}
			p.tag, p.preempted = l.GroupTag, false
			p.proving = true // whatever its health: nothing goes there before
			d.pathsChangedLocked(b, out, now)
			d.mu.Unlock()
			lists = append(lists, todo{d, out})
		}
	}
	pt.mu.Unlock()
	if moved {
		pt.m.event(Event{Kind: TargetMoved, Path: pt.name(), Reason: pt.target + " is not at " + pt.portal + " any more but at " + l.Moved})
	}
	sendAll(b, lists)
	pt.wake()
}

// todo is an outbox and its device, for after the locks.
type todo struct {
	d   *Device
	out *outbox
}

func sendAll(b *backends.Batch, list []todo) {
	for _, t := range list {
		t.d.send(b, t.out)
	}
}

const (
	protocolWindow = time.Minute
	protocolLimit  = 3
)

// Down implements backends.NexusHandler.
func (pt *port) Down(b *backends.Batch, _ backends.Nexus, loss backends.Loss) {
	now := time.Now()
	var lists []todo
	pt.mu.Lock()
	was := pt.up
	first := !pt.failing && !was
	pt.up, pt.trying, pt.loss, pt.leave = false, false, loss, 0
	gone := pt.deniedLocked(loss, now)
	pt.awayLocked(loss, was, now)
	pt.failing = pt.failing || !was
	if was {
		pt.lostAt = now
	}
	e := EventLost
	if loss.Class == backends.LossProtocol && was && pt.brokenLocked(now) {
		e = EventRefused
	}
	if loss.Class == backends.LossDenied && loss.Route.Own() { // another way's answer is not this one's
		e = EventRefused
	}
	for _, p := range pt.paths {
		d, out := p.dev, newOutbox()
		d.mu.Lock()
		d.pathLostLocked(b, out, p, e, loss, now)
		if gone {
			p.noLUN = true
			d.checkGoneLocked(b, out, now)
		}
		d.pumpLocked(b, out, now)
		d.mu.Unlock()
		lists = append(lists, todo{d, out})
	}
	pt.mu.Unlock()
	sendAll(b, lists)
	if !was {
		pt.firstOver()
	}
	if first && loss.Class != backends.LossClosed && loss.Class != backends.LossRelogin {
		reason := loss.Class.String()
		if loss.Err != nil {
			reason = loss.Err.Error()
		}
		pt.m.event(Event{Kind: LoginFailed, Path: pt.name(), Loss: loss.Class, Reason: reason})
	}
	pt.wake()
}

// firstOver notes the first outcome.
func (pt *port) firstOver() {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	select {
	case <-pt.first:
	default:
		close(pt.first)
	}
}

// brokenLocked tells that the target broke the protocol for the third time in a
// window.
func (pt *port) brokenLocked(now time.Time) bool {
	recent := pt.protocol[:0]
	for _, t := range pt.protocol {
		if now.Sub(t) < protocolWindow {
			recent = append(recent, t)
		}
	}
	pt.protocol = append(recent, now)
	return len(pt.protocol) >= protocolLimit
}

// Async implements backends.NexusHandler.
func (pt *port) Async(_ *backends.Batch, _ backends.Nexus, a backends.AsyncEvent) {
	switch a.Kind {
	case backends.AsyncLogout, backends.AsyncRenegotiate:
		pt.mu.Lock()
		pt.leave = max(a.Within, leaveDrain)
		pt.mu.Unlock()
		pt.wake()
	case backends.AsyncTasksEnded:
		pt.mu.Lock()
		p := pt.paths[a.LUN]
		pt.mu.Unlock()
		if p != nil {
			p.sweep(time.Now())
		}
	}
}

// UnitAttention implements backends.NexusHandler.
func (pt *port) UnitAttention(b *backends.Batch, s backends.Session, sense backends.Sense) {
	why := attentionOf(sense)
	if why == attnNothing {
		return
	}
	now := time.Now()
	pt.mu.Lock()
	p := pt.paths[s.LUN()]
	if why == attnSpace {
		pt.mu.Unlock()
		p.spaceLow(now)
		return
	}
	if why == attnAccess && p != nil {
		if out := p.askGroups(now); out != nil {
			pt.mu.Unlock()
			p.dev.send(b, out)
			return
		}
	}
	var list []todo
	swallowed := false
	if p != nil {
		d, out := p.dev, newOutbox()
		d.mu.Lock()
		p.remark = p.remark || why == attnReserve
		if why == attnReset && now.Before(p.swallow) {
			p.swallow = time.Time{} // of our own reset: checked too, but nothing waits for it
			swallowed = true
		} else if why == attnReserve && !d.rule.Reservation.AllRegistrants {
			swallowed = true // the token is looked after, and nothing waits for that
		} else if p.health.Carries() && !p.proving {
			p.proving = true
			d.pathsChangedLocked(b, out, now)
		}
		d.mu.Unlock()
		list = append(list, todo{d, out})
	}
	if why == attnLUNs && !swallowed {
		pt.again = true
	}
	pt.attn[s.LUN()] = true
	if why == attnCapacity {
		pt.sized[s.LUN()] = true
	}
	pt.mu.Unlock()
	sendAll(b, list)
	pt.wake()
}

// snapshot is a port's state at the beginning of a step.
type snapshot struct {
	up, own, tagKnown, trying, again bool
	leave                            time.Duration
	due                              time.Duration // until the next scan
	gone                             time.Duration // until a login that found no target is tried again; 0: not
	gen, scanned                     uint64
	tag, loginTag                    uint16 // of the last own login, and of the last one
	loss                             backends.Loss
	lostAt                           time.Time
}

func (pt *port) state() snapshot {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	t := &pt.m.cfg.Timers
	s := snapshot{
		up: pt.up, own: pt.login.Route.Own(), tagKnown: pt.tagKnown, trying: pt.trying, again: pt.again,
		gen: pt.login.Generation, scanned: pt.scanned, tag: pt.tag, loginTag: pt.login.GroupTag, loss: pt.loss, lostAt: pt.lostAt, leave: pt.leave,
		due: time.Until(pt.scanAt.Add(t.Rescan)),
	}
	if pt.denied == 1 {
		s.gone = max(time.Until(pt.deniedAt.Add(t.Gone)), 1)
	}
	return s
}

// run is the port's goroutine: it looks at what is and does the next thing,
// until there is nothing to do; then it waits for a change.
func (pt *port) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		wait := pt.part(ctx, pt.step(ctx))
		if pt.isEnded() {
			break
		}
		if wait < 0 {
			continue
		}
		var fire <-chan time.Time
		if wait > 0 {
			timer.Reset(wait)
			fire = timer.C
		}
		select {
		case <-ctx.Done():
		case <-pt.kick:
		case <-fire:
		}
	}
	pt.left()
	pt.release()
}

// atOnce has run call step again; 0 waits for a change.
const atOnce = -1

// step does one thing, and tells when to look again.
func (pt *port) step(ctx context.Context) time.Duration {
	s := pt.state()
	if s.leave == 0 || s.gen != pt.leaveGen {
		pt.left()
	}
	ghosts := pt.toFence(s)
	switch {
	case !s.up && len(ghosts) == 0:
		return pt.idle(s)
	case !s.up:
		return pt.reinstate(ctx, s, ghosts)
	case s.leave > 0:
		return pt.logout(ctx, s)
	case pt.fenceDue(s, ghosts):
		return pt.fenceAll(ctx, s, ghosts)
	case !s.own:
		pt.fence = fencing{}
		pt.nexus.Relogin(backends.Route{})
		return 0
	}
	if len(ghosts) == 0 {
		pt.fence = fencing{}
	} else {
		s.due = min(s.due, max(time.Until(pt.quiet.until), time.Millisecond))
	}
	if s.scanned != s.gen || s.again || s.due <= 0 {
		return pt.scan(ctx, s.gen)
	}
	pt.tidy(ctx)
	return sooner(pt.laterDue(pt.proveDue(ctx, s.gen)), s.due)
}

// sooner is the lesser of two waits; 0 waits for a change.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// leaveDrain is what a logout that the target asks for may take for draining,
// where the target gives no more.
const leaveDrain = time.Second

// logout does what the target asks for: it drains, and logs out; the session comes
// back by itself. What has ended leaves no ghost. Its paths are held until then.
func (pt *port) logout(ctx context.Context, s snapshot) time.Duration {
	if pt.leaving != nil {
		return 0 // the logout is on its way
	}
	pt.leaving, pt.leaveGen = map[*Device]bool{}, s.gen
	for _, p := range pt.known() {
		pt.leaving[p.dev] = true
	}
	var wg sync.WaitGroup
	for d := range pt.leaving {
		wg.Go(func() { d.hold(ctx, pt.mine, min(s.leave, pt.m.cfg.Timers.Command)) })
	}
	wg.Wait()
	pt.nexus.Logout()
	return 0
}

// mine tells whether p is one of pt's.
func (pt *port) mine(p *Path) bool { return p.port == pt }

// left ends the hold of logout, with the session.
func (pt *port) left() {
	for d := range pt.leaving {
		d.unhold(pt.mine)
	}
	pt.leaving = nil
}

// release lets those go who wait for a scan.
func (pt *port) release() {
	pt.mu.Lock()
	for _, c := range pt.waiters {
		close(c)
	}
	pt.waiters = nil
	pt.mu.Unlock()
}

// sweep has what was sent on p before now and stays without an answer aborted
// and sent again: somebody's reset may have ended it silently.
func (p *Path) sweep(now time.Time) {
	var b backends.Batch
	out := newOutbox()
	d := p.dev
	d.mu.Lock()
	p.sweepAt, p.sweepOf = now.Add(sweepDelay), now
	d.dueLocked(out, p.sweepAt)
	d.mu.Unlock()
	d.send(&b, out)
	b.Run()
}

// sweepDelay is how long answers that were on their way may take after a reset.
const sweepDelay = 250 * time.Millisecond
