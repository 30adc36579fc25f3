// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"net"
	"slices"
	"syscall"
	"time"
)

const backlog = 128

// door decides what becomes of new connections. Guarded by Proxy.mu.
//
// Refuse stops listening on the bound socket, so that the kernel answers RST
// and nobody else can take the port. Hang lowers the backlog to zero and fills
// it with a connection of its own, so that the kernel drops every further SYN.
type door struct {
	kind    Kind          // Refuse or Hang while locked
	locked  bool          //
	open    chan struct{} // closed while connections are accepted
	fillers []net.Conn
}

func (d *door) lock(p *Proxy, k Kind) error {
	if d.locked && d.kind == k {
		return nil
	}
	d.unlock(p.ln)
	d.kind, d.locked, d.open, d.fillers = k, true, make(chan struct{}), nil
	p.ln.SetDeadline(time.Unix(1, 0)) // wakes Accept
	call := func(fd int) error { return syscall.Shutdown(fd, syscall.SHUT_RD) }
	if k == Hang {
		call = func(fd int) error { return syscall.Listen(fd, 0) }
	}
	if err := control(p.ln, call); err != nil {
		d.unlock(p.ln)
		return fmt.Errorf("proxy %s: %v: %w", p.addr, k, err)
	}
	p.count.effects[k].times.add(1)
	if k == Hang {
		d.fill(p.addr)
	}
	return nil
}

// fill takes the places of the accept queue until a connection gets no answer.
func (d *door) fill(addr string) {
	for range backlog {
		c, err := net.DialTimeout("tcp", addr, 50*time.Millisecond)
		if err != nil {
			return
		}
		d.fillers = append(d.fillers, c)
	}
}

func (d *door) isFiller(a net.Addr) bool {
	n := len(d.fillers)
	d.fillers = slices.DeleteFunc(d.fillers, func(c net.Conn) bool { return c.LocalAddr().String() == a.String() })
	return len(d.fillers) < n
}

// unlock serves new connections again. The fillers' addresses are kept until
// the next lock, since Accept will return them now.
func (d *door) unlock(ln *net.TCPListener) {
	if !d.locked {
		return
	}
	d.locked = false
	for _, c := range d.fillers {
		c.Close()
	}
	ln.SetDeadline(time.Time{})
	// An error means that the listener is closed: Accept will report it.
	_ = control(ln, func(fd int) error { return syscall.Listen(fd, backlog) })
	close(d.open)
}

// listen binds addr. The port is always bound by number, since the kernel
// keeps only such a port while a socket does not listen.
func listen(addr string) (ln *net.TCPListener, err error) {
	for range 10 { // another process may take a free port between the two calls
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, err
		}
		bound := l.Addr().String()
		if bound == addr {
			return l.(*net.TCPListener), nil
		}
		l.Close()
		if l, err = net.Listen("tcp", bound); err == nil {
			return l.(*net.TCPListener), nil
		}
	}
	return nil, fmt.Errorf("listen on %s: every port was taken at once", addr)
}

func control(ln *net.TCPListener, call func(fd int) error) error {
	raw, err := ln.SyscallConn()
	if err != nil {
		return err
	}
	if cerr := raw.Control(func(fd uintptr) { err = call(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}
