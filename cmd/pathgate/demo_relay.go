// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// demoDialTimeout bounds how long a relay tries to reach the target.
const demoDialTimeout = 5 * time.Second

// relay is a path of the demo: it passes TCP connections on to a portal at a given
// rate, and can be cut. Make it with newRelay. Its methods are safe for concurrent use.
type relay struct {
	address string
	rate    *rate
	work    sync.WaitGroup

	mu     sync.Mutex
	to     string
	l      net.Listener // nil while cut
	conns  map[*net.TCPConn]bool
	closed bool
}

// newRelay listens on listen, an "address:port" with port 0 for any. It carries so many
// bytes per second to the address to and back, all connections and both directions
// together.
func newRelay(listen, to string, bytesPerSecond int64) (*relay, error) {
	r := &relay{address: listen, to: to, rate: newRate(bytesPerSecond), conns: map[*net.TCPConn]bool{}}
	if err := r.listenLocked(); err != nil {
		return nil, err
	}
	r.address = r.l.Addr().String()
	return r, nil
}

// addr gives the address that it listens on, the same all the time.
func (r *relay) addr() string { return r.address }

// lead has connections from now on go to another address.
func (r *relay) lead(to string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.to = to
}

// listenLocked makes the listener.
func (r *relay) listenLocked() error {
	l, err := net.Listen("tcp", r.address)
	if err != nil {
		return fmt.Errorf("relay at %s: %w", r.address, err)
	}
	r.l = l
	r.work.Go(func() { r.accept(l) })
	return nil
}

func (r *relay) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return // cut, or closed
		}
		client := c.(*net.TCPConn)
		if r.add(l, client) {
			r.work.Go(func() { r.pass(l, client) })
		}
	}
}

// add notes c, which came by l; false, and c is reset, when l is no more.
func (r *relay) add(l net.Listener, c *net.TCPConn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.l != l {
		reset(c)
		return false
	}
	r.conns[c] = true
	return true
}

// reset closes c with a TCP reset.
func reset(c *net.TCPConn) {
	_ = c.SetLinger(0) // both fail only when the peer was faster
	_ = c.Close()
}

// pass carries bytes both ways until one side fails or both have ended.
func (r *relay) pass(l net.Listener, client *net.TCPConn) {
	defer r.drop(client)
	r.mu.Lock()
	to := r.to
	r.mu.Unlock()
	c, err := net.DialTimeout("tcp", to, demoDialTimeout)
	if err != nil {
		reset(client)
		return
	}
	server := c.(*net.TCPConn)
	defer r.drop(server)
	if !r.add(l, server) {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.forward(server, client)
	}()
	r.forward(client, server)
	<-done
}

// forward copies until from ends, and ends to likewise.
func (r *relay) forward(to, from *net.TCPConn) {
	if err := r.rate.copy(to, from); err != nil {
		reset(to)
		reset(from)
		return
	}
	_ = to.CloseWrite() // fails when to is gone, which the other way tells
}

func (r *relay) drop(c *net.TCPConn) {
	r.mu.Lock()
	delete(r.conns, c)
	r.mu.Unlock()
	_ = c.Close() // it may be closed already
}

// cut resets every connection and refuses new ones until restore.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.l == nil {
		return
	}
	_ = r.l.Close() // ends accept
	r.l = nil
	for c := range r.conns {
		reset(c)
	}
}

// restore takes connections again, on the same address.
func (r *relay) restore() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.l != nil {
		return nil
	}
	return r.listenLocked()
}

// close cuts for good and waits for what it has running. Twice is safe.
func (r *relay) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cut()
	r.work.Wait()
}
