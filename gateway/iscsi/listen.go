// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	wire "pathgate/internal/iscsi"
	"pathgate/internal/netserve"
)

// Portal says what a listener is. RFC 7143 4.4.1 (iSCSI Architecture Model).
type Portal struct {
	// GroupTag is the target portal group tag, 1 to 65535. Portals with the same
	// tag lead to the same target port: a nexus is the same over all of them.
	GroupTag uint16
	// Advertise are the addresses that SendTargets tells for it; their tags are those
	// of the portal. Empty: that of the listener; of one on all addresses, the one that
	// the asking initiator came to.
	Advertise []wire.TargetAddress
}

// listener is one Serve call.
type listener struct {
	srv    *Server
	ln     net.Listener
	portal Portal
	wg     sync.WaitGroup // its connections
}

// Serve accepts initiators at ln, which it closes, until ctx ends; then it asks
// them to log out, and returns nil when the last one has gone (Config.DrainTimeout).
// An error tells that ln failed; its connections are stopped too. Several Serve
// calls may run on one Server: one for each portal.
func (s *Server) Serve(ctx context.Context, ln net.Listener, p Portal) error {
	if p.GroupTag == 0 {
		_ = ln.Close()
		return errors.New("iscsi target: portal group tag 0")
	}
	l := &listener{srv: s, ln: ln, portal: p}
	s.mu.Lock()
	s.portals = append(s.portals, l)
	s.mu.Unlock()
	detach := context.AfterFunc(ctx, func() { _ = ln.Close() })
	err := netserve.Accept(ctx, ln, l.start, func(err error, pause time.Duration) {
		s.log.Line(slog.LevelWarn, "accept failed, pausing", "portal", ln.Addr().String(), "pause", pause, "error", err)
	})
	if detach() {
		_ = ln.Close()
	}
	s.mu.Lock()
	s.portals = slices.DeleteFunc(s.portals, func(x *listener) bool { return x == l })
	s.mu.Unlock()
	l.drain()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("iscsi target: accept at %s: %w", ln.Addr(), err)
}

// start gives nc a goroutine of its own, or closes it when there are too many.
func (l *listener) start(nc net.Conn) {
	c := newConn(l, nc)
	if !l.srv.admit(c) {
		l.srv.log.LineOf(peerName(addrOf(nc.RemoteAddr())), slog.LevelWarn, "connection refused: too many", "peer", c.peer.Connection)
		c.discard()
		return
	}
	netserve.SetUserTimeout(nc, l.srv.cfg.UserTimeout)
	l.wg.Go(c.serve)
}

// drain stops the connections of l and waits for their end.
func (l *listener) drain() {
	var conns []*conn
	l.srv.mu.Lock()
	for c := range l.srv.conns {
		if c.from == l {
			conns = append(conns, c)
		}
	}
	l.srv.mu.Unlock()
	for _, c := range conns {
		c.stop()
	}
	t := time.AfterFunc(l.srv.cfg.DrainTimeout, func() {
		for _, c := range conns {
			c.kill(errStopped)
		}
	})
	l.wg.Wait()
	t.Stop()
}

// advertised gives the addresses of l for a peer that came to local.
func (l *listener) advertised(local net.Addr) []wire.TargetAddress {
	list := slices.Clone(l.portal.Advertise)
	if len(list) == 0 {
		own, ok := l.ln.Addr().(*net.TCPAddr)
		if !ok {
			return nil
		}
		ap := own.AddrPort()
		if asked, ok := local.(*net.TCPAddr); ok && ap.Addr().IsUnspecified() {
			ap = netip.AddrPortFrom(asked.AddrPort().Addr(), ap.Port())
		}
		list = []wire.TargetAddress{{Host: ap.Addr().Unmap().WithZone("").String(), Port: ap.Port()}}
	}
	for i := range list {
		list[i].PortalGroupTag, list[i].HasPortalGroupTag = l.portal.GroupTag, true
	}
	return list
}
