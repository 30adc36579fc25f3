// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"errors"
	"net"
	"slices"
	"sync"
	"syscall"
)

// Network is adapters, links and portals. Make it with NewNetwork.
type Network struct {
	mu      sync.Mutex
	portals map[string]*Target
	links   map[[2]string]*link // by adapter and portal
	inOrder []*link             // of links, as they were made
	count   Counts
}

// Counts are what has happened on a network.
type Counts struct {
	Logins, Resets, Aborts int
	Writes                 int // that changed a medium
	Late                   int // of those whose connection had ended by then
}

// link is what lies between an adapter and a portal. Guarded by Network.mu.
type link struct {
	n          *Network
	adapter    string
	portal     string
	refuse     bool
	mute, hold bool
	conns      []*pair
}

// pair are both ends of a connection.
type pair struct{ ours, theirs *conn }

// NewNetwork makes an empty one.
func NewNetwork() *Network {
	return &Network{portals: map[string]*Target{}, links: map[[2]string]*link{}}
}

// Counts gives what has happened.
func (n *Network) Counts() Counts {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.count
}

func (n *Network) linkLocked(adapter, portal string) *link {
	k := [2]string{adapter, portal}
	if n.links[k] == nil {
		n.links[k] = &link{n: n, adapter: adapter, portal: portal}
		n.inOrder = append(n.inOrder, n.links[k])
	}
	return n.links[k]
}

// Dialer gives what connects from an adapter, for iscsi.Config.Dial.
func (n *Network) Dialer(adapter string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, portal string) (net.Conn, error) {
		n.mu.Lock()
		t := n.portals[portal]
		l := n.linkLocked(adapter, portal)
		switch {
		case t == nil:
			n.mu.Unlock()
			return nil, errors.New("sim: no such portal")
		case l.refuse || t.dead:
			n.mu.Unlock()
			return nil, syscall.ECONNREFUSED
		case l.mute || l.hold:
			n.mu.Unlock()
			<-ctx.Done() // SYN without an answer
			return nil, ctx.Err()
		}
		up, down := newPipe(l), newPipe(l)
		p := &pair{
			ours:   &conn{l: l, in: down, out: up, local: address(adapter), remote: address(portal)},
			theirs: &conn{l: l, in: up, out: down, local: address(portal), remote: address(adapter)},
		}
		l.conns = append(slices.DeleteFunc(l.conns, func(p *pair) bool { return p.ours.closed && p.theirs.closed }), p)
		t.acceptLocked(p.theirs)
		n.mu.Unlock()
		return p.ours, nil
	}
}

// each calls f for the links of a portal, from one adapter or from all ("").
func (n *Network) each(adapter, portal string, f func(*link)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.inOrder {
		if l.portal == portal && (adapter == "" || l.adapter == adapter) {
			f(l)
		}
	}
}

// Reset ends the connections from an adapter ("": all) to a portal with RST on both
// sides. What the target has received is read.
func (n *Network) Reset(adapter, portal string) {
	n.each(adapter, portal, (*link).resetLocked)
}

func (l *link) resetLocked() {
	for _, p := range l.conns {
		for _, c := range []*conn{p.ours, p.theirs} {
			if !c.closed {
				c.in.endLocked(true)
				c.in.endHeld = false // the middle tells both ends itself
			}
		}
	}
	l.conns = nil
}

// HalfClose has the target see FIN, while we see nothing.
func (n *Network) HalfClose(adapter, portal string) {
	n.each(adapter, portal, func(l *link) {
		for _, p := range l.conns {
			p.theirs.in.endLocked(false)
		}
	})
}

// Refuse has new connections refused, until it is taken back.
func (n *Network) Refuse(adapter, portal string, on bool) {
	n.each(adapter, portal, func(l *link) { l.refuse = on })
}

// Mute has all packets vanish. When it is taken back, connections that lost some
// are reset.
func (n *Network) Mute(adapter, portal string, on bool) {
	n.each(adapter, portal, func(l *link) {
		l.mute = on
		if on {
			return
		}
		for _, p := range l.conns {
			if p.ours.out.lost || p.theirs.out.lost || p.ours.closed {
				p.theirs.in.endLocked(true)
				p.theirs.in.endHeld = false
				p.ours.in.endLocked(true)
				p.ours.in.endHeld = false
			}
		}
	})
}

// Hold keeps all that is sent, and the ends of connections, until it is taken back;
// then it all arrives.
func (n *Network) Hold(adapter, portal string, on bool) {
	n.each(adapter, portal, func(l *link) {
		l.hold = on
		for _, p := range l.conns {
			if !on {
				p.ours.in.releaseLocked()
				p.theirs.in.releaseLocked()
			}
		}
	})
}
