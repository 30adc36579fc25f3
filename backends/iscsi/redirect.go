// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"net"
	"net/netip"
	"strconv"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

// redirection gives the portal that a target sends us to, if it may be followed.
// RFC 7143 11.13.5 (Status-Class and Status-Detail).
func (x *exchange) redirection(in wire.Text) (string, error) {
	v, ok := in.Get(wire.KeyTargetAddress)
	if !ok {
		return "", lost(backends.LossProtocol, "redirected without an address")
	}
	a, err := wire.ParseTargetAddress(v)
	if err != nil {
		return "", err
	}
	ap, ok := addrPort(a)
	if !ok || !x.from.allowed(ap.Addr()) {
		return "", lost(backends.LossDenied, "redirected to %q, which is not in the allowed networks", v)
	}
	return ap.String(), nil
}

// addrPort gives the address as numbers. False: it is a name, which nobody could
// hold against a list of networks, or it has no usable port.
func addrPort(a wire.TargetAddress) (netip.AddrPort, bool) {
	ip, err := netip.ParseAddr(a.Host)
	if err != nil || a.Port == 0 || ip.IsUnspecified() || ip.IsMulticast() {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(ip.Unmap(), a.Port), true
}

// samePortal tells whether portal, "host:port" as configured, is ap.
func samePortal(portal string, ap netip.AddrPort) bool {
	host, port, err := net.SplitHostPort(portal)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap() == ap.Addr() && port == strconv.Itoa(int(ap.Port()))
}
