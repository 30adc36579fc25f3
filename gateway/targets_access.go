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

// access says who may use a VM's disks over iSCSI.
type access struct {
	cfg *VMISCSIConfig
	// secret and ours are those of cfg.CHAP.
	secret wire.Secret
	ours   wire.Credentials
}

// newAccess reads the secrets and checks them.
func newAccess(cfg *VMISCSIConfig) (access, error) {
	a := access{cfg: cfg}
	if cfg.CHAP == nil {
		return a, nil
	}
	secret, err := cfg.CHAP.Secret.Read()
	if err != nil {
		return a, err
	}
	a.secret = wire.NewSecret(secret)
	if cfg.CHAP.MutualSecret.File != "" {
		if secret, err = cfg.CHAP.MutualSecret.Read(); err != nil {
			return a, err
		}
		a.ours = wire.Credentials{Name: cfg.CHAP.MutualUser, Secret: wire.NewSecret(secret)}
	}
	switch n := a.secret.Len(); {
	case n < wire.MinSecretLength || n > wire.MaxValueLength:
		return a, fmt.Errorf("secret file %s: has %d bytes, want %d to %d", cfg.CHAP.Secret, n, wire.MinSecretLength, wire.MaxValueLength)
	case a.secret.Equal(a.ours.Secret):
		return a, fmt.Errorf("secret files %s and %s: one secret for both directions", cfg.CHAP.Secret, cfg.CHAP.MutualSecret)
	}
	_, err = wire.NewTargetAuth(a.settings())
	return a, err
}

// settings are what a login to the VM's target has to prove.
func (a *access) settings() wire.TargetAuthSettings {
	if a.cfg.CHAP == nil {
		return wire.TargetAuthSettings{}
	}
	return wire.TargetAuthSettings{Required: true, Lookup: a.lookup, CHAP: a.ours}
}

func (a *access) lookup(user string) (wire.Secret, bool) {
	return a.secret, user == a.cfg.CHAP.User
}

// admits tells whether p has a name and an address that may log in.
func (a *access) admits(p *iscsi.Peer) bool {
	if len(a.cfg.Names) > 0 && !slices.Contains(a.cfg.Names, strings.ToLower(p.Initiator)) {
		return false
	}
	addr := peerAddr(p)
	return len(a.cfg.Networks) == 0 ||
		slices.ContainsFunc(a.cfg.Networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// proved tells whether p has proved what it has to.
func (a *access) proved(p *iscsi.Peer) bool { return a.cfg.CHAP == nil || p.User == a.cfg.CHAP.User }

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
	if name != "" {
		t, err := ts.find(p, name)
		if err != nil {
			return wire.TargetAuthSettings{}, err
		}
		return t.access.settings(), nil
	}
	var set wire.TargetAuthSettings
	var users []*access
	free := false
	for _, t := range ts.list {
		switch {
		case !t.access.admits(p):
		case t.access.cfg.CHAP == nil:
			free = true
		default:
			users = append(users, &t.access)
		}
	}
	if len(users) == 0 {
		return set, nil
	}
	set.Required, set.CHAP = !free, users[0].ours
	for _, a := range users[1:] {
		if a.cfg.CHAP.MutualUser != set.CHAP.Name || !a.ours.Secret.Equal(set.CHAP.Secret) {
			set.CHAP = wire.Credentials{} // nobody knows which of ours this initiator expects
		}
	}
	set.Lookup = func(user string) (wire.Secret, bool) {
		for _, a := range users {
			if secret, ok := a.lookup(user); ok {
				return secret, true
			}
		}
		return wire.Secret{}, false
	}
	return set, nil
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
