// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"pathgate/gateway/iscsi"
	wire "pathgate/internal/iscsi"
)

// access says who may use a VM's disks over iSCSI. Secrets are read at each login, so
// that a new one counts from the next login on, and nobody is logged out for it.
type access struct{ cfg *VMISCSIConfig }

// settings are what a login to the VM's target has to prove.
func (a access) settings() (set wire.TargetAuthSettings, err error) {
	c := a.cfg.CHAP
	if c == nil {
		return set, nil
	}
	secret, err := readTargetSecret(c.Secret)
	if err != nil {
		return set, err
	}
	set.Required = true
	set.Lookup = func(user string) (wire.Secret, bool) { return secret, user == c.User }
	if set.CHAP, err = c.ours(); err != nil {
		return set, err
	}
	if secret.Equal(set.CHAP.Secret) {
		return set, fmt.Errorf("secret files %s and %s: one secret for both directions", c.Secret, c.MutualSecret)
	}
	return set, nil
}

// ours are what proves the gateway; empty: nothing does.
func (c *InitiatorCHAP) ours() (wire.Credentials, error) {
	if c.MutualSecret.File == "" {
		return wire.Credentials{}, nil
	}
	secret, err := readTargetSecret(c.MutualSecret)
	return wire.Credentials{Name: c.MutualUser, Secret: secret}, err
}

// readTargetSecret reads a secret that CHAP can use.
func readTargetSecret(s Secret) (wire.Secret, error) {
	b, err := s.Read()
	if err != nil {
		return wire.Secret{}, err
	}
	if n := len(b); n < wire.MinSecretLength || n > wire.MaxValueLength {
		return wire.Secret{}, fmt.Errorf("secret file %s: has %d bytes, want %d to %d", s, n, wire.MinSecretLength, wire.MaxValueLength)
	}
	return wire.NewSecret(b), nil
}

// admits tells whether p has a name and an address that may log in.
func (a access) admits(p *iscsi.Peer) bool {
	if len(a.cfg.Names) > 0 && !slices.Contains(a.cfg.Names, strings.ToLower(p.Initiator)) {
		return false
	}
	addr := peerAddr(p)
	return len(a.cfg.Networks) == 0 ||
		slices.ContainsFunc(a.cfg.Networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// proved tells whether p has proved what it has to.
func (a access) proved(p *iscsi.Peer) bool { return a.cfg.CHAP == nil || p.User == a.cfg.CHAP.User }

// peerAddr is where p comes from; the zero Addr, which is in no network, if that is
// not known.
func peerAddr(p *iscsi.Peer) netip.Addr {
	if t, ok := p.Remote.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// find gives the target called name if p may know of it. Any case of letters is
// the same name (RFC 7143 4.2.7.1).
func (ts *targets) find(p *iscsi.Peer, name string) (*vmTarget, error) {
	t := ts.byName[strings.ToLower(name)]
	if t == nil {
		return nil, fmt.Errorf("%w: %q", iscsi.ErrNotFound, name)
	}
	if !t.access.admits(p) {
		return nil, fmt.Errorf("%w: %s at %v may not use it", iscsi.ErrNotFound, p.Initiator, peerAddr(p))
	}
	return t, nil
}

// Authentication tells what p has to prove. For discovery any user of a VM that p
// may use will do; it must be one if all those VMs want one.
func (ts *targets) Authentication(p *iscsi.Peer, name string) (wire.TargetAuthSettings, error) {
	if name == "" {
		return ts.discovery(p)
	}
	t, err := ts.find(p, name)
	if err != nil {
		return wire.TargetAuthSettings{}, err
	}
	if err := ts.moved(t, p); err != nil {
		return wire.TargetAuthSettings{}, err
	}
	set, err := t.access.settings()
	if err != nil {
		err = fmt.Errorf("%w: %v", iscsi.ErrUnavailable, err)
	}
	return set, err
}

func (ts *targets) discovery(p *iscsi.Peer) (set wire.TargetAuthSettings, err error) {
	var users []*InitiatorCHAP
	free := false
	for _, t := range ts.list {
		c := t.access.cfg.CHAP
		switch {
		case !t.access.admits(p):
		case c == nil:
			free = true
		default:
			users = append(users, c)
		}
	}
	if len(users) == 0 {
		return set, nil
	}
	set.Required = !free
	set.Own = func(user string) wire.Credentials { return oursFor(users, user) }
	set.Lookup = func(user string) (wire.Secret, bool) {
		i := slices.IndexFunc(users, func(c *InitiatorCHAP) bool { return c.User == user })
		secret, err := readTargetSecret(users[max(i, 0)].Secret) // an unknown name takes as long
		return secret, i >= 0 && err == nil
	}
	return set, nil
}

// oursFor is what proves the gateway to a user at a discovery: what it is for the VMs of
// that user that have one. Empty where they differ, since nobody knows which of them the
// initiator expects.
func oursFor(users []*InitiatorCHAP, user string) (ours wire.Credentials) {
	var first *InitiatorCHAP
	for _, c := range users {
		switch {
		case c.User != user || c.MutualSecret.File == "":
		case first == nil:
			first = c
		case c.MutualUser != first.MutualUser || c.MutualSecret != first.MutualSecret:
			return ours
		}
	}
	if first == nil {
		return ours
	}
	ours, err := first.ours()
	if err != nil {
		return wire.Credentials{}
	}
	return ours
}

// List gives the targets that p may log in to, in the order of the configuration.
func (ts *targets) List(p *iscsi.Peer) (names []string) {
	for _, t := range ts.list {
		if t.access.admits(p) && t.access.proved(p) {
			names = append(names, t.target.Name())
		}
	}
	return names
}
