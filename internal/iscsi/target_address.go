// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"net/netip"
	"strconv"
	"strings"
)

// DefaultPort is the TCP port of a TargetAddress that names none. RFC 7143 15 (IANA Considerations).
const DefaultPort = 3260

// TargetAddress is the value of a TargetAddress key: domainname[:port][,portal-group-tag].
// RFC 7143 13.8 (TargetAddress).
type TargetAddress struct {
	Host              string // DNS name, or IP address without brackets
	Port              uint16
	PortalGroupTag    uint16
	HasPortalGroupTag bool // always in a SendTargets response, never in a redirection
}

// ParseTargetAddress reads a TargetAddress value. Whether we may connect there is the caller's decision. CodeText: no
// host, an IPv6 address without brackets or an ill-formed one in them, a zone, a port that is not 1-65535, a tag that is
// not 0-65535, characters that no host name has.
func ParseTargetAddress(s string) (TargetAddress, error) {
	a := TargetAddress{Port: DefaultPort}
	s, tag, hasTag := strings.Cut(s, ",")
	if hasTag {
		v, ok := ParseNumber(tag)
		if !ok || v > 0xffff {
			return TargetAddress{}, fault(CodeText, "portal group tag of TargetAddress is out of range")
		}
		a.PortalGroupTag, a.HasPortalGroupTag = uint16(v), true
	}
	host, port, hasPort, err := splitHost(s)
	if err != nil {
		return TargetAddress{}, err
	}
	if hasPort {
		v, ok := ParseNumber(port)
		if !ok || v == 0 || v > 0xffff {
			return TargetAddress{}, fault(CodeText, "port of TargetAddress is out of range")
		}
		a.Port = uint16(v)
	}
	a.Host = host
	return a, nil
}

func splitHost(s string) (host, port string, hasPort bool, err error) {
	if v6, isV6 := strings.CutPrefix(s, "["); isV6 {
		host, rest, closed := strings.Cut(v6, "]")
		port, hasPort = strings.CutPrefix(rest, ":")
		addr, err := netip.ParseAddr(host)
		if !closed || rest != "" && !hasPort || err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", "", false, fault(CodeText, "ill-formed IPv6 address in TargetAddress")
		}
		return host, port, hasPort, nil
	}
	host, port, hasPort = strings.Cut(s, ":")
	if host == "" || len(host) > 253 {
		return "", "", false, fault(CodeText, "TargetAddress has no host, or a too long one")
	}
	for i := range len(host) {
		c := host[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '-' || c == '_') {
			return "", "", false, fault(CodeText, "ill-formed host in TargetAddress")
		}
	}
	return host, port, hasPort, nil
}

// String returns the wire form. The port is always written.
func (a TargetAddress) String() string {
	host := a.Host
	if strings.IndexByte(host, ':') >= 0 {
		host = "[" + host + "]"
	}
	s := host + ":" + strconv.Itoa(int(a.Port))
	if a.HasPortalGroupTag {
		s += "," + strconv.Itoa(int(a.PortalGroupTag))
	}
	return s
}

// RedirectAddress returns the first TargetAddress of a Login Response whose status class is ClassRedirection.
// CodeMissingParameter: there is none. A portal group tag, which must not be there, is ignored.
// RFC 7143 11.13.5 (Status-Class and Status-Detail).
func RedirectAddress(t Text) (TargetAddress, error) {
	v, ok := t.Get(KeyTargetAddress)
	if !ok {
		return TargetAddress{}, fault(CodeMissingParameter, "redirection without TargetAddress")
	}
	a, err := ParseTargetAddress(v)
	a.PortalGroupTag, a.HasPortalGroupTag = 0, false
	return a, err
}
