// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"pathgate/internal/buffer"
	wire "pathgate/internal/iscsi"
	"pathgate/internal/stream"
)

// linger is how long answers may take to leave when a connection ends in order.
const linger = 5 * time.Second

// Why a connection ended.
var (
	errLoggedOut  = errors.New("initiator logged out")
	errStopped    = errors.New("stopped")
	errWithdrawn  = errors.New("target was withdrawn")
	errReinstated = errors.New("session was reinstated by another login")
	errSilent     = errors.New("initiator does not answer")
	errOverdue    = errors.New("initiator owes data for too long")
	errProtocol   = errors.New("protocol violation")
)

// conn is one TCP connection, and with it one session once it has logged in. Its
// goroutine runs serve; commands complete on any.
type conn struct {
	srv     *Server
	from    *listener
	nc      net.Conn
	in      *stream.Reader
	out     *stream.Queue
	number  uint64
	addr    netip.Addr
	since   time.Time
	surplus bool     // there are too many connections already
	session *session // guarded by srv.mu until the login has ended

	killed  chan struct{} // closed: the connection is to end at once
	killing sync.Once

	mu    sync.Mutex
	cause error // why it was ended from our side; guarded by mu

	// Owned by the connection's goroutine.
	peer Peer
	recv wire.Framing
	rx   pdu
}

// pdu is the request at hand. data or vec holds its data segment.
type pdu struct {
	bhs     wire.BHS
	ahs     wire.CommandAHS // without the bytes of an extended CDB
	ahsErr  error
	longCDB bool       // there is an extended CDB
	data    []byte     // borrowed from the reader, for requests that carry text
	vec     buffer.Vec // owned, for those that carry a payload
	pad     int        // bytes behind data in the stream
	held    bool       // it waited for its turn; size is what it kept
	size    int
	task    *task // of a SCSI Command that was accepted and not begun
	damaged bool  // the data digest is wrong
}

func newConn(l *listener, nc net.Conn) *conn {
	c := &conn{srv: l.srv, from: l, nc: nc, since: time.Now(), killed: make(chan struct{})}
	c.in = stream.NewReader(nc)
	c.out = stream.NewQueue(nc, c.lose)
	c.peer = Peer{
		Local: nc.LocalAddr(), Remote: nc.RemoteAddr(), PortalGroupTag: l.portal.GroupTag,
		Connection: "iscsi " + remoteName(nc),
	}
	return c
}

func remoteName(nc net.Conn) string {
	if a := nc.RemoteAddr(); a != nil {
		return a.String()
	}
	return "unknown"
}

// discard closes a connection that was not admitted.
func (c *conn) discard() {
	_ = c.nc.Close()
	c.out.Close()
	c.in.Close()
}

// serve is the connection's goroutine.
func (c *conn) serve() {
	defer c.srv.remove(c)
	se, err := c.login()
	if err != nil {
		c.srv.loggedIn(c, nil)
		c.settle()
		c.log(slog.LevelInfo, "login failed", "reason", c.reason(err))
	} else {
		c.log(slog.LevelInfo, "session begins", "type", se.params.SessionType.String())
		err = se.run()
		se.finish(err)
		c.log(slog.LevelInfo, "session ended", "reason", c.reason(err))
	}
	_ = c.nc.Close()
	c.out.Close()
	c.rx.vec.Release()
	c.in.Close()
}

// log writes a line about c, within the quota of the server.
func (c *conn) log(level slog.Level, msg string, args ...any) {
	args = append(args, "peer", remoteName(c.nc))
	if c.peer.Initiator != "" {
		args = append(args, "initiator", c.peer.Initiator, "isid", c.peer.ISID.String())
	}
	if c.session != nil && !c.session.discovery {
		args = append(args, "target", c.session.params.TargetName)
	}
	c.srv.log.LineOf(peerName(c.addr), level, msg, args...)
}

// peerName is who the log takes a connection for.
func peerName(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// reason tells in words why c has ended.
func (c *conn) reason(err error) string {
	if errors.Is(err, io.EOF) {
		return "connection closed by initiator"
	}
	return err.Error()
}

// lose is told that writing has failed.
func (c *conn) lose(err error) { c.kill(err) }

// kill ends the connection now, for the reason cause.
func (c *conn) kill(cause error) {
	c.killing.Do(func() {
		c.mu.Lock()
		c.cause = cause
		c.mu.Unlock()
		close(c.killed)
		_ = c.nc.Close()
	})
}

// stop asks the initiator to leave. One that has not logged in is cut off.
func (c *conn) stop() {
	c.srv.mu.Lock()
	se := c.session
	c.srv.mu.Unlock()
	if se == nil {
		c.kill(errStopped)
		return
	}
	se.askLogout()
}

// why gives the reason of our own for the end of the connection, or err.
func (c *conn) why(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return c.cause
	}
	return err
}

// settle waits, within limits, until the answers have left.
func (c *conn) settle() {
	_ = c.nc.SetWriteDeadline(time.Now().Add(linger))
	c.out.Flush()
	_ = c.out.Drain(0)
}

// timedOut tells whether err is that of a read deadline.
func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
