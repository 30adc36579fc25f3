// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"net"
	"syscall"
)

// Process is an initiator that can be killed. Make it with Network.Process.
type Process struct {
	n *Network

	// Guarded by n.mu.
	killed bool
	conns  []net.Conn
}

// Process makes one.
func (n *Network) Process() *Process { return &Process{n: n} }

// Dialer is Network.Dialer of the process's own: it connects nowhere once the process
// was killed.
func (p *Process) Dialer(adapter string) func(context.Context, string) (net.Conn, error) {
	dial := p.n.Dialer(adapter)
	return func(ctx context.Context, portal string) (net.Conn, error) {
		if p.dead() {
			return nil, syscall.ENETDOWN
		}
		c, err := dial(ctx, portal)
		if err == nil && !p.keep(c) {
			_ = c.Close()
			return nil, syscall.ENETDOWN
		}
		return c, err
	}
}

// Kill closes all connections, as the kernel does for a process that has died: what it
// had been given is on its way.
func (p *Process) Kill() {
	p.n.mu.Lock()
	conns := p.conns
	p.killed, p.conns = true, nil
	p.n.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

func (p *Process) dead() bool {
	p.n.mu.Lock()
	defer p.n.mu.Unlock()
	return p.killed
}

func (p *Process) keep(c net.Conn) bool {
	p.n.mu.Lock()
	defer p.n.mu.Unlock()
	p.conns = append(p.conns, c)
	return !p.killed
}
