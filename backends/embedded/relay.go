// SPDX-License-Identifier: Apache-2.0

package embedded

import (
	"fmt"
	"net"
	"sync"
)

// Relay passes TCP connections on to another address, and can be cut: the
// place to break one path of many. Make it with NewRelay. Its methods are safe
// for concurrent use.
type Relay struct {
	address, to string
	rate        *rate
	work        sync.WaitGroup

	mu     sync.Mutex
	l      net.Listener // nil while cut
	conns  map[*net.TCPConn]bool
	passed int
	cuts   int
	closed bool
}

// NewRelay listens on listen, an "address:port" with port 0 for any, and passes
// each connection on to the address to.
func NewRelay(listen, to string) (*Relay, error) { return NewLimitedRelay(listen, to, 0) }

// NewLimitedRelay makes a Relay that carries so many bytes per second, of all its
// connections and both directions together; 0: no limit.
func NewLimitedRelay(listen, to string, bytesPerSecond int64) (*Relay, error) {
	r := &Relay{address: listen, to: to, rate: newRate(bytesPerSecond), conns: map[*net.TCPConn]bool{}}
	if err := r.listen(); err != nil {
		return nil, err
	}
	r.address = r.l.Addr().String()
	return r, nil
}

// Addr gives the address that it listens on, the same all the time.
func (r *Relay) Addr() string { return r.address }

// Passed tells how many connections it has passed on, Cuts how many it reset.
func (r *Relay) Passed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.passed
}

// Cuts tells how many connections were reset by Cut.
func (r *Relay) Cuts() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cuts
}

// listen makes the listener; the caller holds mu, or is alone.
func (r *Relay) listen() error {
	l, err := net.Listen("tcp", r.address)
	if err != nil {
		return fmt.Errorf("relay to %s: %w", r.to, err)
	}
	r.l = l
	r.work.Go(func() { r.accept(l) })
	return nil
}

func (r *Relay) accept(l net.Listener) {
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
func (r *Relay) add(l net.Listener, c *net.TCPConn) bool {
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
func (r *Relay) pass(l net.Listener, client *net.TCPConn) {
	defer r.drop(client)
	c, err := net.DialTimeout("tcp", r.to, startTimeout)
	if err != nil {
		reset(client)
		return
	}
	server := c.(*net.TCPConn)
	defer r.drop(server)
	if !r.add(l, server) {
		return
	}
	r.mu.Lock()
	r.passed++
	r.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.forward(server, client)
	}()
	r.forward(client, server)
	<-done
}

// forward copies until from ends, and ends to likewise.
func (r *Relay) forward(to, from *net.TCPConn) {
	if err := r.rate.copy(to, from); err != nil {
		reset(to)
		reset(from)
		return
	}
	_ = to.CloseWrite() // fails when to is gone, which the other way tells
}

func (r *Relay) drop(c *net.TCPConn) {
	r.mu.Lock()
	delete(r.conns, c)
	r.mu.Unlock()
	_ = c.Close() // it may be closed already
}

// Cut resets every connection and refuses new ones until Restore.
func (r *Relay) Cut() {
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
	r.cuts += len(r.conns) / 2
}

// Restore takes connections again, on the same address.
func (r *Relay) Restore() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed || r.l != nil {
		return nil
	}
	return r.listen()
}

// Close cuts for good and waits for what it has running. Twice is safe.
func (r *Relay) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.Cut()
	r.work.Wait()
	return nil
}
