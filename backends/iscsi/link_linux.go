// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	// linkReads bounds how often a table that changes while it is read is read again.
	linkReads = 8
	// linkRetry is the wait before netlink is tried again after it has failed.
	linkRetry = 10 * time.Second
	// linkBuffer is the most changes that wait in a subscription; they are hints
	// only, so that more of them block nothing but the kernel's own queue.
	linkBuffer = 64
)

// NewLinks begins to watch. When netlink cannot be used, or fails later, failed is
// told so once, everything counts as up, and it is tried again from time to time.
// Close ends it.
func NewLinks(failed func(error)) *Links {
	l := &Links{stop: make(chan struct{}), stopped: make(chan struct{}), failed: failed, hosts: hostLinks{}}
	// The first look comes before anybody asks.
	sub, err := subscribeLinks()
	if err == nil {
		err = l.read()
	}
	if err != nil {
		l.lose(err)
	}
	go l.run(sub)
	return l
}

// Close ends the watching, and returns when nothing of it runs any more. Once; a nil
// Links has nothing to end.
func (l *Links) Close() {
	if l == nil {
		return
	}
	close(l.stop)
	<-l.stopped
}

// run reads everything anew after each change, so that nothing depends on the
// order of events, or on all of them coming. sub may be nil.
func (l *Links) run(sub *linkSubscription) {
	defer close(l.stopped)
	for {
		if sub != nil {
			l.follow(sub)
			sub.close()
		}
		select {
		case <-l.stop:
			return
		default:
		}
		var err error
		if sub, err = subscribeLinks(); err == nil {
			if err = l.read(); err == nil {
				continue
			}
			sub.close()
		}
		sub = nil
		l.lose(err)
		select {
		case <-l.stop:
			return
		case <-time.After(linkRetry):
		}
	}
}

// follow serves a subscription until it, or l, ends: the kernel ends it when it
// had more to tell than was read.
func (l *Links) follow(sub *linkSubscription) {
	links, addrs := sub.links, sub.addrs
	for {
		select {
		case <-l.stop:
			return
		case u, ok := <-links:
			if !ok {
				return
			}
			if l.knows(u) {
				continue
			}
		case _, ok := <-addrs:
			if !ok {
				return
			}
		}
		drain(links)
		drain(addrs)
		if l.read() != nil {
			return
		}
	}
}

// drain takes what waits; one look serves for all.
func drain[T any](c <-chan T) {
	for {
		select {
		case _, ok := <-c:
			if !ok {
				return
			}
		default:
			return
		}
	}
}

// knows tells that a link update says nothing new: most are about other things.
func (l *Links) knows(u netlink.LinkUpdate) bool {
	if u.Header.Type != unix.RTM_NEWLINK {
		return false
	}
	now := toLink(u.Link)
	l.mu.Lock()
	defer l.mu.Unlock()
	have, ok := l.hosts[u.Attrs().Index]
	return ok && have.name == now.name && have.up == now.up && have.running == now.running
}

func toLink(k netlink.Link) hostLink {
	a := k.Attrs()
	return hostLink{
		name: a.Name, up: a.RawFlags&unix.IFF_UP != 0, running: a.RawFlags&unix.IFF_RUNNING != 0,
		loopback: a.RawFlags&unix.IFF_LOOPBACK != 0,
	}
}

// read takes all interfaces and addresses as they are now.
func (l *Links) read() error {
	for try := 0; ; try++ {
		h, err := readLinks()
		if err == nil {
			l.set(h)
			return nil
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) || try == linkReads {
			return err
		}
	}
}

func readLinks() (hostLinks, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list of interfaces: %w", err)
	}
	addrs, err := netlink.AddrList(nil, unix.AF_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("list of addresses: %w", err)
	}
	h := hostLinks{}
	for _, k := range links {
		h[k.Attrs().Index] = toLink(k)
	}
	for _, a := range addrs {
		ip, ok := netip.AddrFromSlice(a.IP)
		ones, _ := a.Mask.Size()
		if k, known := h[a.LinkIndex]; ok && known {
			k.prefixes = append(k.prefixes, netip.PrefixFrom(ip.Unmap(), ones))
			h[a.LinkIndex] = k
		}
	}
	return h, nil
}

// linkSubscription is what the kernel tells of interfaces and addresses. Both
// channels are closed when it fails.
type linkSubscription struct {
	links chan netlink.LinkUpdate
	addrs chan netlink.AddrUpdate
	done  chan struct{}
}

func subscribeLinks() (*linkSubscription, error) {
	s := &linkSubscription{
		links: make(chan netlink.LinkUpdate, linkBuffer), addrs: make(chan netlink.AddrUpdate, linkBuffer),
		done: make(chan struct{}),
	}
	if err := netlink.LinkSubscribe(s.links, s.done); err != nil {
		return nil, fmt.Errorf("events of interfaces: %w", err)
	}
	if err := netlink.AddrSubscribe(s.addrs, s.done); err != nil {
		close(s.done)
		for range s.links { // until its reader has ended
		}
		return nil, fmt.Errorf("events of addresses: %w", err)
	}
	return s, nil
}

// close ends it and waits for its readers.
func (s *linkSubscription) close() {
	close(s.done)
	for range s.links {
	}
	for range s.addrs {
	}
}
