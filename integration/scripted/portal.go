// SPDX-License-Identifier: Apache-2.0

package scripted

import (
	"net"
	"sync"
)

// portal is one address of a target and its connections.
type portal struct {
	Portal
	t     *Target
	index int

	mu      sync.Mutex
	l       net.Listener
	stopped chan struct{} // not nil: stopped; closed by cont
	conns   map[*conn]bool
}

func (p *portal) address() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.Address
}

func (p *portal) listen() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.l != nil {
		return nil
	}
	l, err := net.Listen("tcp", p.Address)
	if err != nil {
		return err
	}
	p.l, p.Address = l, l.Addr().String()
	p.t.wg.Go(func() { p.accept(l) })
	return nil
}

func (p *portal) accept(l net.Listener) {
	for {
		sock, err := l.Accept()
		if err != nil {
			return
		}
		c := newConn(p, sock)
		p.mu.Lock()
		ok := p.l == l
		if ok {
			p.conns[c] = true
		}
		p.mu.Unlock()
		if !ok {
			reset(sock)
			return
		}
		p.t.wg.Go(c.run)
	}
}

func (p *portal) list() (all []*conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		all = append(all, c)
	}
	return all
}

func (p *portal) forget(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *portal) down() {
	p.mu.Lock()
	l := p.l
	p.l = nil
	p.mu.Unlock()
	if l != nil {
		_ = l.Close()
	}
	p.cut()
	p.cont()
}

func (p *portal) cut() int {
	all := p.list()
	for _, c := range all {
		c.end()
	}
	return len(all)
}

func (p *portal) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped == nil {
		p.stopped = make(chan struct{})
	}
}

func (p *portal) cont() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped != nil {
		close(p.stopped)
		p.stopped = nil
	}
}

// gate waits while the portal is stopped; false: c has ended.
func (p *portal) gate(c *conn) bool {
	p.mu.Lock()
	stopped := p.stopped
	p.mu.Unlock()
	if stopped == nil {
		return true
	}
	select {
	case <-stopped:
		return true
	case <-c.gone:
		return false
	}
}
