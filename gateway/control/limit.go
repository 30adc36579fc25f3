// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"net"
	"sync"
	"syscall"
)

// limitListener closes connections beyond a number at once: a client that waits is
// told nothing, one that is closed can say why it failed.
type limitListener struct {
	net.Listener
	slots chan struct{}
}

func (l *limitListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			return &limitConn{Conn: c, from: l}, nil
		default:
			c.Close()
		}
	}
}

type limitConn struct {
	net.Conn
	from *limitListener
	once sync.Once
}

func (c *limitConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { <-c.from.slots })
	return err
}

// peer is the process at the other end of a unix socket.
type peer struct {
	pid, uid int
}

type peerKey struct{}

// withPeer finds the client of a connection out (unix(7), SO_PEERCRED).
func withPeer(ctx context.Context, nc net.Conn) context.Context {
	if lc, ok := nc.(*limitConn); ok {
		nc = lc.Conn
	}
	uc, ok := nc.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *syscall.Ucred
	if raw.Control(func(fd uintptr) {
		cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}) != nil || err != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, peer{pid: int(cred.Pid), uid: int(cred.Uid)})
}

// peerOf gives the client, or -1 and -1 when it is not known.
func peerOf(ctx context.Context) peer {
	if p, ok := ctx.Value(peerKey{}).(peer); ok {
		return p
	}
	return peer{-1, -1}
}
