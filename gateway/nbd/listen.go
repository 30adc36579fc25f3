// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// acceptPauseMin and Max bound the pause after a failed accept: descriptors
	// have run out, and trying again at once would only burn the processor.
	acceptPauseMin = 5 * time.Millisecond
	acceptPauseMax = time.Second
	// tcpUserTimeout is TCP_USER_TIMEOUT of linux/tcp.h.
	tcpUserTimeout = 0x12
)

// listener is one Serve call.
type listener struct {
	srv   *Server
	ln    net.Listener
	wg    sync.WaitGroup // its connections
	count int            // guarded by srv.mu
}

// Serve accepts clients at ln, which it closes, until ctx ends; then it stops
// their connections (package comment, "Ends") and returns nil when the last one
// has ended. An error tells that ln failed; its connections are stopped too.
// Several Serve calls may run on one Server.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	l := &listener{srv: s, ln: ln}
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
	pause := acceptPauseMin
	for {
		nc, err := l.ln.Accept()
		if err == nil {
			pause = acceptPauseMin
			l.start(nc)
			continue
		}
		if ctx.Err() != nil || !passing(err) {
			return err
		}
		l.srv.log.line(slog.LevelWarn, "accept failed, pausing", "listener", l.ln.Addr().String(), "pause", pause, "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, acceptPauseMax)
	}
}

// passing tells whether a failed accept may work later.
func passing(err error) bool {
	for _, e := range [...]syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.EINTR, syscall.EPROTO, syscall.EPERM,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// start gives nc a goroutine of its own, or closes it when there are too many.
func (l *listener) start(nc net.Conn) {
	c := newConn(l, nc)
	if !l.srv.admit(c) {
		l.srv.log.line(slog.LevelWarn, "connection refused: too many", "peer", remoteName(nc))
		c.discard()
		return
	}
	if tc, ok := nc.(*net.TCPConn); ok && l.srv.cfg.UserTimeout > 0 {
		setUserTimeout(tc, l.srv.cfg.UserTimeout)
	}
	l.wg.Go(c.serve)
}

// setUserTimeout bounds how long sent data may stay unacknowledged. A kernel
// that refuses keeps its own bound, which is only longer.
func setUserTimeout(tc *net.TCPConn, d time.Duration) {
	raw, err := tc.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(d.Milliseconds()))
	})
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
