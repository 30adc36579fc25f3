// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"net/netip"

	"pathgate/backends"
)

// linkChanged is told that interfaces or addresses of this host have changed. A
// session whose adapter has lost its link ends at once; an attempt to log in is
// given up, or made.
func (n *nexus) linkChanged() {
	if c := n.conn.Load(); c != nil {
		c.checkLink()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	k, ok := n.from(n.route)
	if n.attempt != nil && ok && k.cfg.linkFault(netip.Addr{}) != "" {
		n.attempt()
	}
	select {
	case n.kick <- struct{}{}:
	default:
	}
}

// from gives the adapter that a route leaves from; false: it is of another kind.
func (n *nexus) from(r backends.Route) (*Connector, bool) {
	if r.Connector == nil {
		return n.home, true
	}
	k, ok := r.Connector.(*Connector)
	return k, ok
}

// checkLink ends the session if its adapter has lost its link, or the address that
// the connection comes from.
func (c *conn) checkLink() {
	var local netip.Addr
	if ap, err := netip.ParseAddrPort(c.sock.LocalAddr().String()); err == nil {
		local = ap.Addr()
	}
	if why := c.from.linkFault(local); why != "" {
		c.fail(lost(backends.LossLocal, "%s", why))
	}
}

// linkCause replaces the error of an attempt that a lost link has ended.
func (n *nexus) linkCause(r backends.Route, err error) error {
	if k, ok := n.from(r); ok {
		if why := k.cfg.linkFault(netip.Addr{}); why != "" {
			return lost(backends.LossLocal, "%s", why)
		}
	}
	return err
}

// awaitLink decides, after a loss of class on the nexus's own way, whether to wait
// for the adapter's link in place of a time. What comes then is a first attempt.
func (n *nexus) awaitLink(class backends.LossClass) bool {
	n.noLink = class == backends.LossLocal && n.cfg.Links != nil
	if n.noLink {
		n.backoff.pause = 0
		// If the link is there, the loss has another reason, and time may heal it.
		n.noLink = n.cfg.linkFault(netip.Addr{}) != ""
	}
	return n.noLink
}

// linkIsBack tells, once, that the link that was waited for is there.
func (n *nexus) linkIsBack() bool {
	if !n.noLink || n.cfg.linkFault(netip.Addr{}) != "" {
		return false
	}
	n.noLink = false
	return true
}
