// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	wire "pathgate/internal/iscsi"
)

// DigestMode says how a digest is negotiated.
type DigestMode uint8

const (
	// DigestNone offers none.
	DigestNone DigestMode = iota
	// DigestPrefer uses CRC32C where the target has it.
	DigestPrefer
	// DigestRequire uses CRC32C, or the login fails.
	DigestRequire
)

// String gives the word of the configuration.
func (m DigestMode) String() string {
	switch m {
	case DigestNone:
		return "none"
	case DigestPrefer:
		return "prefer"
	case DigestRequire:
		return "require"
	}
	return fmt.Sprintf("digest(%d)", uint8(m))
}

// offer is what the login offers, in order.
func (m DigestMode) offer() []wire.Digest {
	switch m {
	case DigestPrefer:
		return []wire.Digest{wire.DigestCRC32C, wire.DigestNone}
	case DigestRequire:
		return []wire.Digest{wire.DigestCRC32C}
	case DigestNone:
	}
	return []wire.Digest{wire.DigestNone}
}

// CHAP is what one needs to log in to a target that authenticates.
type CHAP struct {
	// User and Secret prove us to the target. Secret has at least 12 bytes.
	User   string
	Secret wire.Secret
	// MutualUser and MutualSecret have the target prove itself; both or none.
	// MutualSecret differs from Secret. MutualUser is the name that the target
	// must give.
	MutualUser   string
	MutualSecret wire.Secret
	// Algorithms in order of preference; empty: SHA3-256, SHA-256, SHA-1, MD5.
	Algorithms []wire.CHAPAlgorithm
}

// Timeouts are the initiator's timers. All must be positive: defaults are the
// configuration's.
type Timeouts struct {
	// NOPInterval is the silence after which a NOP-Out is sent, NOPTimeout how
	// long its answer, or any other byte, may take before the session is lost.
	NOPInterval, NOPTimeout time.Duration
	// Login bounds an attempt from dialling to full feature phase; FenceLogin
	// does so on a foreign route, and bounds a logout.
	Login, FenceLogin time.Duration
	// Command is the Exec deadline of commands that name none.
	Command time.Duration
}

// Config is one adapter: who we are, and from where we dial. The zero value is
// not usable; New checks it.
type Config struct {
	// InitiatorName is ours, an iqn., eui. or naa. name; Alias is for people.
	InitiatorName, Alias string
	// Adapter names the adapter in errors.
	Adapter string
	// SourceAddr is the local address of connections; the zero value leaves it
	// to the kernel. Interface binds them to a network interface; "": to none.
	SourceAddr netip.Addr
	Interface  string

	// Links tells when the adapter has lost its link or its address: its sessions
	// end at once, and no login is tried before it is back. Nil: nobody tells.
	Links *Links

	// ISID gives the initiator session id for a target portal. It is asked once
	// for each nexus, with the group tag that the TargetPortal has (0 before the
	// first login), and has to return the same ISID for the same target and
	// portal for ever, whatever the tag: so an ISID is never in use twice in one
	// portal group, although the group is known only after the login, and a
	// session can be reinstated after a restart.
	ISID func(target string, groupTag uint16, portal string) ([6]byte, error)

	// CHAP gives the credentials for a target; nil, or a nil result: none. For
	// discovery sessions target is "".
	CHAP func(target string) *CHAP

	// HeaderDigest and DataDigest are offered at login.
	HeaderDigest, DataDigest DigestMode

	// AllowedNetworks bounds where login redirections and advertised portals may
	// lead. Empty: nowhere but to the portal that was asked.
	AllowedNetworks []netip.Prefix

	// FirstLUN and LastLUN are the logical units that may be used. A session on
	// another one refuses everything. Both 0: no bound.
	FirstLUN, LastLUN uint16

	Timeouts Timeouts

	// Jitter gives a number below n, which spreads the attempts to log in; nil:
	// math/rand. A simulation that has to repeat gives its own.
	Jitter func(n int64) int64

	// Dial replaces TCP, for tests and tunnels; nil: TCP with the bindings
	// above. ctx carries the deadline.
	Dial func(ctx context.Context, portal string) (net.Conn, error)
}

func (c *Config) validate() error {
	t := c.Timeouts
	switch {
	case c.ISID == nil:
		return errors.New("initiator: no ISID source")
	case t.NOPInterval <= 0 || t.NOPTimeout <= 0 || t.Login <= 0 || t.FenceLogin <= 0 || t.Command <= 0:
		return errors.New("initiator: every timeout has to be positive")
	case c.FirstLUN > c.LastLUN:
		return fmt.Errorf("initiator: LUN range %d-%d", c.FirstLUN, c.LastLUN)
	}
	if err := wire.ValidateName(c.InitiatorName); err != nil {
		return fmt.Errorf("initiator name %q: %w", c.InitiatorName, err)
	}
	return nil
}

func (c *Config) lunAllowed(lun uint16) bool {
	return c.LastLUN == 0 || lun >= c.FirstLUN && lun <= c.LastLUN
}

// allowed tells whether a redirection or an advertised portal may be followed.
func (c *Config) allowed(a netip.Addr) bool {
	a = a.Unmap()
	for _, p := range c.AllowedNetworks {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
