// SPDX-License-Identifier: Apache-2.0

// Package port finds free TCP ports for test hosts that cannot be told to take
// "any port" and report it.
package port

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
)

// Ports below the kernel's ephemeral range (32768 and up), so that no outgoing
// connection takes one between the look here and the bind of the host.
const (
	lowest  = 15000
	highest = 32000
)

// Free returns an address of ip with a port that nobody listens on at the
// moment. Another process may take it before the caller's does: whoever starts
// a host tries again with another port when its bind fails. Safe for concurrent
// use.
func Free(ip netip.Addr) (netip.AddrPort, error) {
	var last error
	for range 64 {
		ap := netip.AddrPortFrom(ip, uint16(lowest+rand.IntN(highest-lowest)))
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(ap))
		if err != nil {
			last = err
			continue
		}
		if err := l.Close(); err != nil {
			return netip.AddrPort{}, err
		}
		return ap, nil
	}
	return netip.AddrPort{}, errors.Join(errors.New("no free port on "+ip.String()), last)
}

// Resolve parses "ip:port" and, when the port is 0, chooses a free one.
func Resolve(addr string) (netip.AddrPort, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil || ap.Port() != 0 {
		return ap, err
	}
	return Free(ap.Addr())
}
