// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"fmt"
	"net/netip"
	"slices"
	"sync"
)

// Links knows the network interfaces of this host and their addresses, and tells
// the nexuses of an adapter when its interface goes down, loses its carrier or the
// address that it sends from. One is enough for a process: it is shared by all
// connectors through Config.Links. Make it with NewLinks. Safe for concurrent use.
type Links struct {
	stop    chan struct{}
	stopped chan struct{}
	failed  func(error)

	mu       sync.Mutex
	blind    bool // nothing is known: everything counts as up
	hosts    hostLinks
	watchers []*linkWatch
}

// linkWatch is one who is told that something has changed.
type linkWatch struct{ changed func() }

// hostLinks is the interfaces of a host, by index, at one moment.
type hostLinks map[int]hostLink

type hostLink struct {
	name     string
	up       bool // by the administrator
	running  bool // with a carrier
	loopback bool
	prefixes []netip.Prefix
}

// fault tells why nothing can leave from an adapter that is bound to an interface
// or has an address (the other one is zero); "" when it can. local is where a
// connection of it comes from; the zero value: there is none.
func (h hostLinks) fault(iface string, addr, local netip.Addr) string {
	local = local.Unmap().WithZone("")
	if iface != "" {
		for _, l := range h {
			if l.name == iface {
				return l.fault(local)
			}
		}
		return "interface " + iface + " does not exist"
	}
	if !addr.IsValid() {
		return ""
	}
	addr = addr.Unmap().WithZone("")
	for _, l := range h {
		if l.has(addr) {
			return l.fault(addr)
		}
	}
	return fmt.Sprintf("no interface has the address %v", addr)
}

// fault is hostLinks.fault for the interface that an adapter uses. Without local
// any address will do.
func (l hostLink) fault(local netip.Addr) string {
	switch {
	case !l.up:
		return "interface " + l.name + " is down"
	case !l.running:
		return "interface " + l.name + " has no carrier"
	case local.IsValid() && !l.has(local):
		return fmt.Sprintf("interface %s has lost the address %v", l.name, local)
	case len(l.prefixes) == 0:
		return "interface " + l.name + " has no address"
	}
	return ""
}

// has tells whether connections can come from addr. On a loopback interface that
// goes for all of a network.
func (l hostLink) has(addr netip.Addr) bool {
	return slices.ContainsFunc(l.prefixes, func(p netip.Prefix) bool {
		return p.Addr() == addr || l.loopback && p.Contains(addr)
	})
}

// equal tells whether both say the same of every interface.
func (h hostLinks) equal(o hostLinks) bool {
	if len(h) != len(o) {
		return false
	}
	for i, a := range h {
		b, ok := o[i]
		if !ok || a.name != b.name || a.up != b.up || a.running != b.running || !slices.Equal(a.prefixes, b.prefixes) {
			return false
		}
	}
	return true
}

// set takes what was read, and tells everybody if it is news.
func (l *Links) set(h hostLinks) {
	l.mu.Lock()
	same := !l.blind && l.hosts.equal(h)
	l.hosts, l.blind = h, false
	list := slices.Clone(l.watchers)
	l.mu.Unlock()
	if same {
		return
	}
	for _, w := range list {
		w.changed()
	}
}

// lose has everything count as up from now on, since nothing is told any more.
func (l *Links) lose(err error) {
	l.mu.Lock()
	was := l.blind
	l.blind, l.hosts = true, nil
	list := slices.Clone(l.watchers)
	l.mu.Unlock()
	if was {
		return
	}
	if l.failed != nil {
		l.failed(err)
	}
	for _, w := range list {
		w.changed()
	}
}

// watch has changed called after each change, on a goroutine of its own and with no
// lock held, until stop is called; it may be running still then. A nil Links never
// tells anything.
func (l *Links) watch(changed func()) (stop func()) {
	if l == nil {
		return func() {}
	}
	w := &linkWatch{changed}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watchers = append(l.watchers, w)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.watchers = slices.DeleteFunc(l.watchers, func(o *linkWatch) bool { return o == w })
	}
}

// linkFault tells why nothing can leave from the adapter; "" when it can, or when
// that is not known.
func (c *Config) linkFault(local netip.Addr) string {
	l := c.Links
	if l == nil {
		return ""
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.blind {
		return ""
	}
	return l.hosts.fault(c.Interface, c.SourceAddr, local)
}
