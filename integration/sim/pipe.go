// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// socketBuffer is how much one direction takes before a writer waits, in bytes.
const socketBuffer = 256 << 10

// pipe is one direction of a connection. Guarded by Network.mu.
type pipe struct {
	l       *link
	arrived []byte // the reader's
	onWay   []byte // held by the network
	ended   bool   // the writer has closed
	endHeld bool   // its end is behind onWay
	reset   bool   // what has arrived is read, then ECONNRESET
	dead    bool   // the reader has closed: nothing arrives any more
	lost    bool   // bytes were swallowed
	more    chan struct{}
	room    chan struct{}
}

func newPipe(l *link) *pipe {
	return &pipe{l: l, more: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// putLocked takes bytes from the writer.
func (p *pipe) putLocked(b []byte) {
	switch {
	case p.dead:
	case p.l.mute:
		p.lost = true
	case p.l.hold || len(p.onWay) > 0:
		p.onWay = append(p.onWay, b...)
	default:
		p.arrived = append(p.arrived, b...)
		poke(p.more)
	}
}

// endLocked is the writer's close.
func (p *pipe) endLocked(reset bool) {
	if !p.ended {
		p.endHeld = p.l.hold || p.l.mute
	}
	p.ended = true
	p.reset = p.reset || reset
	poke(p.more)
	poke(p.room)
}

// releaseLocked lets go what was held.
func (p *pipe) releaseLocked() {
	if !p.dead {
		p.arrived = append(p.arrived, p.onWay...)
	}
	p.onWay, p.endHeld = nil, false
	poke(p.more)
}

// stopLocked is the reader's close: what has arrived dies.
func (p *pipe) stopLocked() {
	p.dead = true
	p.arrived, p.onWay = nil, nil
	poke(p.more)
	poke(p.room)
}

// takeLocked gives the reader what there is. wait: nothing yet.
func (p *pipe) takeLocked(b []byte) (n int, wait bool, err error) {
	switch {
	case p.dead:
		return 0, false, net.ErrClosed
	case len(p.arrived) > 0:
		n = copy(b, p.arrived)
		p.arrived = p.arrived[n:]
		poke(p.room)
		return n, false, nil
	case !p.ended || p.endHeld:
		return 0, true, nil
	case p.reset:
		return 0, false, syscall.ECONNRESET
	}
	return 0, false, io.EOF
}

// conn is one end of a connection. It implements net.Conn.
type conn struct {
	l             *link
	in, out       *pipe
	local, remote net.Addr
	readBy        time.Time // deadlines, guarded by Network.mu
	writeBy       time.Time
	closed        bool
	owner         *Target // whose process reads; nil: ours
}

type address string

func (address) Network() string  { return "sim" }
func (a address) String() string { return string(a) }

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// wait blocks until ch, or until by.
func wait(ch <-chan struct{}, by time.Time) error {
	if by.IsZero() {
		<-ch
		return nil
	}
	t := time.NewTimer(time.Until(by))
	defer t.Stop()
	select {
	case <-ch:
		return nil
	case <-t.C:
		return os.ErrDeadlineExceeded
	}
}

// Read implements net.Conn.
func (c *conn) Read(b []byte) (int, error) {
	mu := &c.l.n.mu
	for {
		mu.Lock()
		if c.owner != nil && c.owner.stopped != nil {
			stopped := c.owner.stopped
			mu.Unlock()
			<-stopped
			continue
		}
		n, again, err := c.in.takeLocked(b)
		by := c.readBy
		mu.Unlock()
		if !again {
			return n, err
		}
		if err := wait(c.in.more, by); err != nil {
			return 0, err
		}
	}
}

// Write implements net.Conn.
func (c *conn) Write(b []byte) (n int, err error) {
	mu := &c.l.n.mu
	for n < len(b) {
		mu.Lock()
		p := c.out
		switch {
		case c.closed:
			err = net.ErrClosed
		case p.reset || c.in.reset && c.in.ended && !c.in.endHeld:
			err = syscall.ECONNRESET
		}
		room := min(socketBuffer-len(p.arrived)-len(p.onWay), len(b)-n)
		if err == nil && room > 0 {
			p.putLocked(b[n : n+room])
			n += room
		}
		by := c.writeBy
		mu.Unlock()
		if err == nil && room <= 0 {
			err = wait(p.room, by)
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Close implements net.Conn: an abortive end, as the initiator's.
func (c *conn) Close() error {
	c.l.n.mu.Lock()
	defer c.l.n.mu.Unlock()
	c.closeLocked(true)
	return nil
}

func (c *conn) closeLocked(reset bool) {
	if c.closed {
		return
	}
	c.closed = true
	c.out.endLocked(reset)
	c.in.stopLocked()
}

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t) // cannot fail
	return c.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error {
	c.l.n.mu.Lock()
	defer c.l.n.mu.Unlock()
	c.readBy = t
	poke(c.in.more)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.l.n.mu.Lock()
	defer c.l.n.mu.Unlock()
	c.writeBy = t
	poke(c.out.room)
	return nil
}
