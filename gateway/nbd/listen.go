// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"pathgate/internal/netserve"
)

// listener is one Serve call.
type listener struct {
	srv   *Server
	ln    net.Listener
	sec   Security
	wg    sync.WaitGroup // its connections
	count int            // guarded by srv.mu
}

// Serve accepts clients at ln, which it closes, until ctx ends; then it stops
// their connections (package comment, "Ends") and returns nil when the last one
// has ended. An error tells that ln failed; its connections are stopped too.
// Several Serve calls may run on one Server.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	return s.ServeSecure(ctx, ln, Security{})
}

// ServeSecure is Serve for a listener with TLS.
func (s *Server) ServeSecure(ctx context.Context, ln net.Listener, sec Security) error {
	l := &listener{srv: s, ln: ln, sec: sec}
	detach := context.AfterFunc(ctx, func() { ln.Close() })
	err := l.accept(ctx)
	if detach() {
		ln.Close()
	}
	l.drain()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("nbd: accept at %s: %w", ln.Addr(), err)
}

// accept runs until the listener fails or ctx ends.
func (l *listener) accept(ctx context.Context) error {
	return netserve.Accept(ctx, l.ln, l.start, func(err error, pause time.Duration) {
		l.srv.log.Line(slog.LevelWarn, "accept failed, pausing", "listener", l.ln.Addr().String(), "pause", pause, "error", err)
	})
}

// unixSendBuffer is what may wait in the kernel for a client of a unix socket, in bytes,
// as the kernel counts, which doubles it and bounds it by net.core.wmem_max. What it has
// otherwise is less than a reply of 256 KiB: each of those would wait for the client to read,
// and be written in several pieces. TCP chooses for itself, up to twice as much.
const unixSendBuffer = 1 << 20

// start gives nc a goroutine of its own, or closes it when there are too many.
func (l *listener) start(nc net.Conn) {
	c := newConn(l, nc)
	if !l.srv.admit(c) {
		l.srv.log.LineOf(l.peer(c.addr), slog.LevelWarn, "connection refused: too many", "peer", remoteName(nc))
		c.discard()
		return
	}
	netserve.SetUserTimeout(nc, l.srv.cfg.UserTimeout)
	if u, ok := nc.(*net.UnixConn); ok {
		_ = u.SetWriteBuffer(unixSendBuffer) // as it is, it works too
	}
	l.wg.Go(c.serve)
}

// peer is who the log takes a client of l for.
func (l *listener) peer(a netip.Addr) string {
	if !a.IsValid() {
		return l.ln.Addr().String()
	}
	return a.String()
}

// drain stops the connections of l and waits for their end.
func (l *listener) drain() {
	conns := l.conns()
	for _, c := range conns {
		c.stop()
	}
	t := time.AfterFunc(l.srv.cfg.DrainTimeout, func() {
		for _, c := range conns {
			c.kill()
		}
	})
	l.wg.Wait()
	t.Stop()
}

func (l *listener) conns() []*conn {
	l.srv.mu.Lock()
	defer l.srv.mu.Unlock()
	var list []*conn
	for c := range l.srv.conns {
		if c.from == l {
			list = append(list, c)
		}
	}
	return list
}

func sortConns(list []*conn) {
	slices.SortFunc(list, func(a, b *conn) int { return int(a.number) - int(b.number) })
}
