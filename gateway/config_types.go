// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Default ports: RFC 7143 13.1 (iSCSI well-known port) and NBD proto.md.
const (
	DefaultISCSIPort = 3260
	DefaultNBDPort   = 10809
)

// Portal is where a target listens: an IP address or a host name, and a TCP port.
type Portal struct {
	// Host is an address without brackets, or a name; whoever dials resolves the
	// name once and keeps the answer.
	Host string
	// Port is 1-65535.
	Port uint16
}

// String is "host:port", IPv6 in brackets: the form that dialling takes.
func (p Portal) String() string {
	return net.JoinHostPort(p.Host, strconv.Itoa(int(p.Port)))
}

// AddrPort is the portal's address; ok is false when Host is a name.
func (p Portal) AddrPort() (ap netip.AddrPort, ok bool) {
	a, err := netip.ParseAddr(p.Host)
	return netip.AddrPortFrom(a, p.Port), err == nil
}

// MarshalText is String.
func (p Portal) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// ListenAddr is a local listener, as net.Listen takes it.
type ListenAddr struct {
	// Network is "unix", "tcp", or "systemd" for sockets that are passed to the process;
	// empty for the zero value.
	Network string
	// Address is a socket's absolute path, "ip:port" ("[::]:10809", ":10809"), or the
	// name of the sockets that are passed.
	Address string
}

// String is the form of the configuration: "unix:/path", "ip:port" or "systemd:name".
func (l ListenAddr) String() string {
	if l.Network == "unix" || l.Network == systemdNetwork {
		return l.Network + ":" + l.Address
	}
	return l.Address
}

// MarshalText is String.
func (l ListenAddr) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// Digest says how a header or data digest is negotiated.
type Digest string

// DigestNone offers None only; DigestPrefer offers CRC32C,None; DigestRequire offers
// CRC32C only, so a target without it is refused.
const (
	DigestNone    Digest = "none"
	DigestPrefer  Digest = "prefer"
	DigestRequire Digest = "require"
)

// CacheMode tells what a LUN's write cache survives.
type CacheMode string

// CacheVolatile: lost with the target's power or process. CacheProtected: survives
// both (battery, or a target that keeps its cache in the page cache of its host).
const (
	CacheVolatile  CacheMode = "volatile"
	CacheProtected CacheMode = "protected"
)

// OpenMode says what opening a disk does while what it stands on is missing.
type OpenMode string

// OpenWait holds the client's open until the disk is there or the front-end's bound
// is reached; OpenFail refuses it at once.
const (
	OpenWait OpenMode = "wait"
	OpenFail OpenMode = "fail"
)

// AllPathsDownMode is what happens to requests while a device has no usable path.
type AllPathsDownMode string

// The modes. AllPathsDownAuto, the default, queues for the lesser of
// Timeouts.AllPathsDown and the guest's timeout less Timeouts.GuestMargin.
// AllPathsDownFor queues for a time that the rule gives, AllPathsDownQueue without
// end, AllPathsDownFail not at all.
const (
	AllPathsDownAuto  AllPathsDownMode = "auto"
	AllPathsDownQueue AllPathsDownMode = "queue"
	AllPathsDownFail  AllPathsDownMode = "fail"
	AllPathsDownFor   AllPathsDownMode = "for"
)

// AllPathsDown is a mode with its time.
type AllPathsDown struct {
	Mode AllPathsDownMode
	// For is set with AllPathsDownFor only; positive.
	For time.Duration
}

// Limit is how long a request may wait for a path. Without end: forever is true and
// limit 0; not at all: limit 0. guest is VMConfig.GuestTimeout, 0 when the guest
// never gives up; it shortens only the automatic limit, never to less than 1 s.
func (a AllPathsDown) Limit(t Timeouts, guest time.Duration) (limit time.Duration, forever bool) {
	switch a.Mode {
	case AllPathsDownQueue:
		return 0, true
	case AllPathsDownFail:
		return 0, false
	case AllPathsDownFor:
		return a.For, false
	case AllPathsDownAuto:
	}
	limit = t.AllPathsDown
	if guest > 0 {
		limit = min(limit, max(guest-t.GuestMargin, time.Second))
	}
	return limit, false
}

// String is the form of the configuration.
func (a AllPathsDown) String() string {
	if a.Mode == AllPathsDownFor {
		return a.For.String()
	}
	return string(a.Mode)
}

// MarshalText is String.
func (a AllPathsDown) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// Matches tells whether the rule is for a device with one of these names (identity,
// alias, canonical name). Empty names match nothing but "*".
func (r LUNRule) Matches(names ...string) bool {
	prefix, glob := strings.CutSuffix(r.ID, "*")
	if glob && prefix == "" {
		return true
	}
	for _, n := range names {
		if n == r.ID && n != "" || glob && strings.HasPrefix(n, prefix) {
			return true
		}
	}
	return false
}

// LUNRuleFor gives the first rule that matches one of a device's names (identity,
// alias, canonical name), or the default rule, whose ID is empty.
func (c *Config) LUNRuleFor(names ...string) LUNRule {
	for _, r := range c.LUNs {
		if r.Matches(names...) {
			return r
		}
	}
	return c.defaultLUNRule()
}
