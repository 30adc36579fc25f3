// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"pathgate/backends"
	"pathgate/backends/iscsi"
	wire "pathgate/internal/iscsi"
	"pathgate/multipath"
)

// resolveTimeout bounds the look-up of a portal's host name at the start.
const resolveTimeout = 10 * time.Second

// discoveryTarget stands for the target of a discovery session, which has none.
const discoveryTarget = "discovery"

// makePaths makes the path manager of the configuration's targets.
func (g *Gateway) makePaths(ctx context.Context, epoch uint64) error {
	if len(g.cfg.Targets) == 0 {
		return nil
	}
	g.links = iscsi.NewLinks(func(err error) {
		g.log.Warn("changes of network interfaces are not seen at once: a lost link shows by silence only", "error", err)
	})
	mc := multipath.Config{
		Timers: g.timers(), Rule: g.deviceRule, Alias: g.aliasOf, Store: pathStore{g.store}, Events: (*pathEvents)(g), Run: epoch, Claims: g.claims.Rules(),
	}
	for _, a := range g.cfg.Adapters {
		ma, err := g.adapter(a)
		if err != nil {
			return err
		}
		mc.Adapters = append(mc.Adapters, ma)
	}
	for i := range g.cfg.Targets {
		t, err := g.target(ctx, &g.cfg.Targets[i])
		if err != nil {
			return fmt.Errorf("targets[%d]: %w", i, err)
		}
		mc.Targets = append(mc.Targets, t)
	}
	m, err := multipath.New(mc)
	if err != nil {
		return err
	}
	g.paths = m
	return nil
}

// adapter turns one adapter of the configuration over.
func (g *Gateway) adapter(a AdapterConfig) (multipath.Adapter, error) {
	k, err := g.connector(a, nil)
	if err != nil {
		return multipath.Adapter{}, err
	}
	return multipath.Adapter{Name: a.Name, Connector: k, Bandwidth: uint64(a.Bandwidth)}, nil
}

func (g *Gateway) timers() multipath.Timers {
	t := g.cfg.Timeouts
	return multipath.Timers{
		Command: t.Command, Request: t.Request, Abort: t.Abort, Reset: t.Reset, ResetDrain: t.ResetDrain,
		Login: t.Login, FenceLogin: t.FenceLogin, Failback: t.Failback, GroupSwitch: t.GroupSwitch, Drain: t.Drain,
		Rescan: t.Rescan, Reclaim: t.Reclaim, Gone: t.TargetGone,
		Probe: t.Checker, Check: t.Checker, CheckMax: t.CheckerMax,
	}
}

// target turns one entry of the configuration over, with a connector of its own
// for each adapter, since entries differ in secrets and digests.
func (g *Gateway) target(ctx context.Context, c *TargetConfig) (multipath.Target, error) {
	t := multipath.Target{
		Name: c.Name, Discover: c.Discover, AllowedNetworks: c.AllowedNetworks, Adapters: c.Adapters,
		Connectors: map[string]backends.Connector{}, FirstLUN: c.LUNRange.First, LastLUN: c.LUNRange.Last,
		Bandwidth: uint64(c.Bandwidth),
	}
	for _, p := range c.Portals {
		s, err := resolvePortal(ctx, p)
		if err != nil {
			return t, err
		}
		t.Portals = append(t.Portals, s)
	}
	for _, a := range g.cfg.Adapters {
		if !slices.Contains(c.Adapters, a.Name) {
			continue
		}
		k, err := g.connector(a, c)
		if err != nil {
			return t, err
		}
		t.Connectors[a.Name] = k
	}
	return t, nil
}

// resolvePortal gives "address:port". A name is looked up once: what it says
// later is not followed, for a name is no identity.
func resolvePortal(ctx context.Context, p Portal) (string, error) {
	if _, ok := p.AddrPort(); ok {
		return p.String(), nil
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", p.Host)
	if err != nil {
		return "", fmt.Errorf("portal %s: %w", p, err)
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	return netip.AddrPortFrom(addrs[0].Unmap(), p.Port).String(), nil
}

// connector makes the initiator of an adapter for one target entry; nil: for none.
func (g *Gateway) connector(a AdapterConfig, c *TargetConfig) (*iscsi.Connector, error) {
	t := g.cfg.Timeouts
	ic := iscsi.Config{
		InitiatorName: g.cfg.Initiator, Alias: "pathgate", Adapter: a.Name,
		SourceAddr: a.Address, Interface: a.Interface, Links: g.links,
		ISID: func(target string, _ uint16, portal string) ([6]byte, error) {
			// The group tag is told by the login that the ISID is needed for, so
			// it cannot be part of the key; the portal stands for it.
			return g.store.ISID(ISIDKey{Adapter: a.Name, Target: cmp.Or(target, discoveryTarget), Portal: portal})
		},
		Timeouts: iscsi.Timeouts{
			NOPInterval: t.NOPInterval, NOPTimeout: t.NOPTimeout,
			Login: t.Login, FenceLogin: t.FenceLogin, Command: t.Command,
		},
	}
	if c != nil {
		ic.HeaderDigest, ic.DataDigest = digestMode(c.HeaderDigest), digestMode(c.DataDigest)
		ic.AllowedNetworks = c.AllowedNetworks
		ic.FirstLUN, ic.LastLUN = c.LUNRange.First, c.LUNRange.Last
		if c.CHAP != nil {
			chap, err := readCHAP(c.CHAP)
			if err != nil {
				return nil, err
			}
			ic.CHAP = func(string) *iscsi.CHAP { return chap }
		}
	}
	return iscsi.New(ic)
}

func digestMode(d Digest) iscsi.DigestMode {
	switch d {
	case DigestPrefer:
		return iscsi.DigestPrefer
	case DigestRequire:
		return iscsi.DigestRequire
	case DigestNone:
	}
	return iscsi.DigestNone
}

func readCHAP(c *CHAPConfig) (*iscsi.CHAP, error) {
	secret, err := c.Secret.Read()
	if err != nil {
		return nil, err
	}
	chap := &iscsi.CHAP{User: c.User, Secret: wire.NewSecret(secret), MutualUser: c.MutualUser}
	if c.MutualSecret.File != "" {
		if secret, err = c.MutualSecret.Read(); err != nil {
			return nil, err
		}
		chap.MutualSecret = wire.NewSecret(secret)
	}
	return chap, nil
}

// deviceRule gives the rule of a device that is known by these names.
func (g *Gateway) deviceRule(names ...string) multipath.Rule {
	names = append(names[:len(names):len(names)], g.aliasesOf(names...)...)
	r := g.cfg.LUNRuleFor(names...)
	rule := multipath.Rule{Selector: r.Selector, CacheProtected: r.Cache == CacheProtected, Quiesce: r.QuiesceTime}
	rule.Marginal = r.Marginal.rule()
	r.Fence.rule(&rule)
	r.Failback.rule(&rule)
	rule.ExclusivePreferred = r.ExclusivePreferred
	r.Reservation.rule(&rule)
	limit, forever := r.AllPathsDown.Limit(g.cfg.Timeouts, 0) // a disk's requests bring their own
	rule.AllPathsDown = multipath.AllPathsDown{Fail: !forever && limit == 0, For: limit}
	return rule
}

// pathStore is the path manager's view of the store.
type pathStore struct{ *Store }

// TargetNumber gives the number of a target name on a portal.
func (s pathStore) TargetNumber(target, portal string) (int, error) {
	return s.Store.TargetNumber(TargetKey{Target: target, Portal: portal})
}

// PutGhosts keeps ghosts.
func (s pathStore) PutGhosts(list ...multipath.GhostRecord) error {
	return s.Store.PutGhosts(storedGhosts(list)...)
}

// DeleteGhosts drops them.
func (s pathStore) DeleteGhosts(list ...multipath.GhostRecord) error {
	return s.Store.DeleteGhosts(storedGhosts(list)...)
}

// Ghosts gives all that are kept.
func (s pathStore) Ghosts() ([]multipath.GhostRecord, error) {
	stored, err := s.Store.Ghosts()
	var list []multipath.GhostRecord
	for _, g := range stored {
		list = append(list, multipath.GhostRecord{
			Device: g.Device, Path: g.Path, Whole: g.Whole, Offset: g.Offset, Length: g.Length,
			Target: g.Target, Portal: g.Portal, Tagged: g.Tagged, GroupTag: g.GroupTag,
			Run: g.Epoch, Generation: g.Generation, ITT: g.ITT, CmdSN: g.CmdSN, Time: g.Time,
		})
	}
	return list, err
}

func storedGhosts(list []multipath.GhostRecord) []GhostRecord {
	stored := make([]GhostRecord, 0, len(list))
	for _, g := range list {
		stored = append(stored, GhostRecord{
			Device: g.Device, Path: g.Path, Whole: g.Whole, Offset: g.Offset, Length: g.Length,
			Target: g.Target, Portal: g.Portal, Tagged: g.Tagged, GroupTag: g.GroupTag,
			Epoch: g.Run, Generation: g.Generation, ITT: g.ITT, CmdSN: g.CmdSN, Time: g.Time,
		})
	}
	return stored
}
