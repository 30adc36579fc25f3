// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"fmt"
	"net"
	"time"
)

func (p *Proxy) acceptLoop() {
	for {
		p.mu.Lock()
		open := p.door.open
		p.mu.Unlock()
		select {
		case <-open:
		case <-p.ctx.Done():
			return
		}
		client, err := p.ln.AcceptTCP()
		if p.ctx.Err() != nil {
			if err == nil {
				client.Close()
			}
			return
		}
		if err != nil {
			// The door was locked under Accept, or descriptors ran out.
			select {
			case <-time.After(time.Millisecond):
			case <-p.ctx.Done():
				return
			}
			continue
		}
		p.mu.Lock()
		if p.door.isFiller(client.RemoteAddr()) {
			client.Close()
			p.mu.Unlock()
			continue
		}
		p.last++
		c := newConn(p, p.last, client)
		p.conns[c.id] = c
		p.mu.Unlock()
		p.count.connections.add(1)
		p.count.active.add(1)
		p.run.Go(func() {
			c.serve()
			p.mu.Lock()
			delete(p.conns, c.id)
			p.mu.Unlock()
			p.count.active.add(-1)
		})
	}
}

// connect reaches the target for a new connection. While a black hole towards
// the target is in force it waits, as the SYN of a lost network does.
func (c *conn) connect() (*net.TCPConn, error) {
	for {
		st := c.proxy.state.Load()
		if f := st.find(BlackHole, c.id, ToTarget); f == nil {
			break
		}
		// From here on the client's bytes count as lost: the connection ends on Clear.
		if !c.lost.Swap(true) {
			c.proxy.count.effects[BlackHole].hit(0)
		}
		select {
		case <-st.changed:
		case <-c.done:
			return nil, net.ErrClosed
		}
	}
	if c.lost.Load() {
		return nil, net.ErrClosed
	}
	ctx, cancel := context.WithTimeout(c.proxy.ctx, c.proxy.opts.DialTimeout)
	defer cancel()
	t, err := new(net.Dialer).DialContext(ctx, "tcp", c.proxy.opts.Target)
	if err != nil {
		c.proxy.count.dialErrors.add(1)
		return nil, fmt.Errorf("connect to target: %w", err)
	}
	return t.(*net.TCPConn), nil
}
