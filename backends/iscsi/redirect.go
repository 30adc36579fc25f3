// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"net"
	"net/netip"
	"strconv"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

// redirection is where a target sends us.
type redirection struct {
	portal    string // "host:port"; "": nowhere
	permanent bool   // for all time, and not for this session only
}

// redirection gives the portal that a target sends us to, if it may be followed.
// RFC 7143 11.13.5 (Status-Class and Status-Detail).
func (x *exchange) redirection(status wire.LoginStatus, in wire.Text) (to redirection, err error) {
	v, ok := in.Get(wire.KeyTargetAddress)
	if !ok {
		return to, lost(backends.LossProtocol, "redirected without an address")
	}
	a, err := wire.ParseTargetAddress(v)
	if err != nil {
		return to, err
	}
	ap, ok := addrPort(a)
	if !ok || !x.from.allowed(ap.Addr()) {
		return to, lost(backends.LossDenied, "redirected to %q, which is not in the allowed networks", v)
	}
	return redirection{ap.String(), status == wire.LoginTargetMovedPermanently}, nil
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
