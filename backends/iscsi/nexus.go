// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

// nexus is one initiator port logged in to one target portal. Its goroutine, run,
// does everything but Submit, Exec and TMF; the methods tell it what is wanted.
type nexus struct {
	cfg      *Config
	home     *Connector
	target   backends.TargetPortal
	handler  backends.NexusHandler
	kick     chan struct{} // wanted has changed
	done     chan struct{} // run has returned
	ctx      context.Context
	cancel   context.CancelFunc
	conn     atomic.Pointer[conn] // nil: down
	logoutOK atomic.Bool          // the last session ended by our Logout

	// Owned by run.
	generation uint64
	isid       wire.ISID
	hasISID    bool
	groupTag   uint16
	hasTag     bool
	backoff    backoff
	noLink     bool // it waits for the adapter's link and not for a time

	mu       sync.Mutex
	sessions map[uint16]*session
	route    backends.Route
	turn     uint64 // counts Relogin calls; an attempt of an older turn is void
	attempt  context.CancelFunc
	closed   bool
}

// Session implements backends.Nexus.
func (n *nexus) Session(lun uint16) backends.Session {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.sessions[lun]
	if s == nil {
		s = newSession(n, lun)
		n.sessions[lun] = s
	}
	return s
}

// known gives the session on lun, if it was ever asked for.
func (n *nexus) known(lun uint16) *session {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sessions[lun]
}

// Relogin implements backends.Nexus. A later call replaces an earlier one whose
// outcome has not been told; then only the last one's is.
func (n *nexus) Relogin(route backends.Route) {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return
	}
	n.route = route
	n.turn++
	n.interruptLocked()
	n.mu.Unlock()
	if c := n.conn.Load(); c != nil {
		c.fail(lost(backends.LossRelogin, "dropped for a new login"))
	}
}

// Logout implements backends.Nexus.
func (n *nexus) Logout() {
	if c := n.conn.Load(); c != nil {
		c.mu.Lock()
		c.leave.at = time.Now()
		c.wakeWatch()
		c.mu.Unlock()
	}
}

// interruptLocked ends an attempt or a pause of run.
func (n *nexus) interruptLocked() {
	if n.attempt != nil {
		n.attempt()
	}
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// Close implements backends.Nexus. Its error tells that the target has not
// confirmed the logout, so that it cannot be known what still runs there.
func (n *nexus) Close(ctx context.Context) error {
	n.mu.Lock()
	first := !n.closed
	n.closed = true
	n.interruptLocked()
	n.mu.Unlock()
	c := n.conn.Load()
	if c != nil && first {
		var b backends.Batch
		c.mu.Lock()
		c.sendLogoutLocked(&b, backends.LossClosed)
		c.mu.Unlock()
		b.Run()
	}
	timer := time.NewTimer(n.cfg.Timeouts.FenceLogin)
	defer timer.Stop()
	select {
	case <-n.done:
	case <-timer.C:
	case <-ctx.Done():
	}
	if c := n.conn.Load(); c != nil {
		c.fail(lost(backends.LossClosed, "closed without an answer to the logout"))
	}
	n.cancel()
	<-n.done
	if c != nil && !n.logoutOK.Load() {
		return fmt.Errorf("%s at %s: logout was not confirmed", n.target.Target, n.target.Portal)
	}
	return nil
}

// wanted is what run has to do next.
type wanted struct {
	route  backends.Route
	turn   uint64
	closed bool
}

// begin gives what is wanted, and a context for an attempt that Relogin and Close
// end.
func (n *nexus) begin() (wanted, context.Context) {
	n.mu.Lock()
	defer n.mu.Unlock()
	limit := n.cfg.Timeouts.Login
	if !n.route.Own() {
		limit = n.cfg.Timeouts.FenceLogin
	}
	var ctx context.Context
	ctx, n.attempt = context.WithTimeout(n.ctx, limit)
	return wanted{n.route, n.turn, n.closed}, ctx
}

// current tells whether w is still what is wanted.
func (n *nexus) current(w wanted) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.turn == w.turn && !n.closed
}

// run logs in, serves, and logs in again, until Close.
func (n *nexus) run() {
	defer close(n.done)
	defer n.cancel()
	defer n.cfg.Links.watch(n.linkChanged)()
	var b backends.Batch
	for {
		w, ctx := n.begin()
		if w.closed {
			n.attempt()
			return
		}
		started := time.Now()
		out, err := n.login(ctx, w.route)
		n.attempt()
		switch {
		case err == nil && n.current(w):
			n.serve(&b, out, w, started)
		case err == nil:
			abort(out.sock)
			continue
		case !n.current(w):
			continue
		default:
			err = n.linkCause(w.route, err)
			n.handler.Down(&b, n, n.loss(lossClass(err), err, 0, w))
			b.Run()
		}
		if !n.pause(w) {
			return
		}
	}
}

// loss describes a loss and sets the pause that follows it.
func (n *nexus) loss(class backends.LossClass, err error, generation uint64, w wanted) backends.Loss {
	l := backends.Loss{
		Class: class, Generation: generation, Route: w.route,
		Err: fmt.Errorf("%s at %s: %w", n.target.Target, n.portal(w.route), err),
	}
	var refused *refusal
	l.Gone = errors.As(err, &refused) && (refused.status == wire.LoginNotFound || refused.status == wire.LoginTargetRemoved)
	n.backoff.last, n.noLink = 0, false
	if w.route.Own() && n.current(w) && !n.awaitLink(class) {
		n.backoff.last = n.backoff.next(class, isAbsent(err))
		l.Retry = n.backoff.last
	}
	return l
}

func (n *nexus) portal(r backends.Route) string {
	if r.Portal != "" {
		return r.Portal
	}
	return n.target.Portal
}

// pause waits until it is time for the next attempt. False: the nexus is closed.
func (n *nexus) pause(w wanted) bool {
	var timer <-chan time.Time // nil: for ever
	if n.backoff.last > 0 {
		t := time.NewTimer(n.backoff.last)
		defer t.Stop()
		timer = t.C
	}
	for n.current(w) {
		if n.linkIsBack() {
			return true
		}
		select {
		case <-timer:
			return true
		case <-n.kick:
		}
	}
	return !n.isClosed()
}

func (n *nexus) isClosed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.closed
}

// login makes one attempt over route.
func (n *nexus) login(ctx context.Context, route backends.Route) (*loginOutcome, error) {
	if !n.hasISID {
		id, err := n.cfg.ISID(n.target.Target, n.target.GroupTag, n.target.Portal)
		if err != nil {
			return nil, lost(backends.LossLocal, "initiator session id: %w", err)
		}
		n.isid, n.hasISID = id, true
	}
	from, ok := n.from(route)
	if !ok {
		return nil, lost(backends.LossLocal, "a route over an adapter of another kind")
	}
	q := loginRequest{cfg: n.cfg, from: &from.cfg, target: n.target.Target, portal: n.portal(route), isid: n.isid}
	out, err := q.login(ctx)
	if err != nil {
		return nil, err
	}
	p := &out.params
	if !p.HasTargetPortalGroupTag {
		abort(out.sock)
		return nil, lost(backends.LossProtocol, "the target does not tell its portal group")
	}
	if !route.Own() && n.hasTag && p.TargetPortalGroupTag != n.groupTag {
		// A login there reinstates nothing: it would be taken for a fence.
		abort(out.sock)
		return nil, lost(backends.LossDenied, "portal group %d instead of %d", p.TargetPortalGroupTag, n.groupTag)
	}
	if route.Own() || !n.hasTag {
		n.groupTag, n.hasTag = p.TargetPortalGroupTag, true
	}
	return out, nil
}

// serve runs one session from Up until everything of it has ended.
func (n *nexus) serve(b *backends.Batch, out *loginOutcome, w wanted, started time.Time) {
	n.generation++
	c := newConn(n, out.sock, out, n.generation, w.route)
	n.logoutOK.Store(false)
	n.conn.Store(c)
	if !n.current(w) {
		// Relogin or Close came between, and may not have seen c.
		if n.isClosed() {
			c.fail(lost(backends.LossClosed, "closed during the login"))
		} else {
			c.fail(lost(backends.LossRelogin, "dropped for a new login"))
		}
	}
	c.watch.Go(c.runTimers)
	c.checkLink() // what has changed during the login told nobody
	moved := ""
	if out.moved {
		moved = out.portal
	}
	n.handler.Up(b, n, backends.Login{
		Generation: n.generation,
		Route:      w.route,
		Moved:      moved,
		GroupTag:   out.params.TargetPortalGroupTag,
		Took:       time.Since(started),
		Keys:       describe(&out.params, out.portal),
	})
	b.Run()
	up := time.Now()
	cause := c.read(b)
	c.finish(b, cause, func(b *backends.Batch, l lossError) {
		if errors.Is(l.err, errLoggedOut) {
			n.logoutOK.Store(true)
		}
		n.backoff.reset(time.Since(up))
		n.handler.Down(b, n, n.loss(l.class, l.err, c.generation, w))
	})
	n.conn.Store(nil)
}

// describe lists the negotiated values for people.
func describe(p *wire.Params, portal string) []string {
	return []string{
		"Portal=" + portal,
		"HeaderDigest=" + p.HeaderDigest.String(),
		"DataDigest=" + p.DataDigest.String(),
		fmt.Sprintf("InitialR2T=%v", p.InitialR2T),
		fmt.Sprintf("ImmediateData=%v", p.ImmediateData),
		fmt.Sprintf("FirstBurstLength=%d", p.FirstBurstLength),
		fmt.Sprintf("MaxBurstLength=%d", p.MaxBurstLength),
		fmt.Sprintf("MaxRecvDataSegmentLength=%d", p.MaxRecvDataSegmentLength),
		fmt.Sprintf("MaxSendDataSegmentLength=%d", p.MaxSendDataSegmentLength),
		fmt.Sprintf("MaxOutstandingR2T=%d", p.MaxOutstandingR2T),
	}
}
