// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"pathgate/backends"
)

// maxTargets bounds what one portal can make us do (B40).
const maxTargets = 1024

// errTooManyTargets: a portal tells of ever other targets.
var errTooManyTargets = errors.New("more than 1024 targets at one portal")

// discoverAll starts what finds the targets: for each portal of each target
// spec over each of its adapters, in the order of the configuration.
func (m *Manager) discoverAll() {
	var before <-chan struct{}
	for i := range m.cfg.Targets {
		spec := &m.cfg.Targets[i]
		for _, portal := range spec.Portals {
			for j := range m.cfg.Adapters {
				a := &m.cfg.Adapters[j]
				if len(spec.Adapters) > 0 && !slices.Contains(spec.Adapters, a.Name) {
					continue
				}
				done := make(chan struct{})
				s := &seeker{m: m, spec: spec, adapter: a, portal: portal, before: before, done: done, now: make(chan struct{}, 1)}
				before = done
				if spec.Name != "" && !spec.Discover {
					_ = s.use(backends.TargetPortal{Target: spec.Name, Portal: portal})
					close(done)
					continue
				}
				m.mu.Lock()
				m.seekers = append(m.seekers, s)
				m.mu.Unlock()
				m.wg.Go(func() { s.run(m.work) })
			}
		}
	}
}

// seeker asks one portal for targets over one adapter, again and again.
type seeker struct {
	m       *Manager
	spec    *Target
	adapter *Adapter
	portal  string
	before  <-chan struct{} // closed after the first outcome of the one before
	done    chan struct{}   // closed after ours
	now     chan struct{}   // ask at once

	// What the last good answer told of, by target and portal; nil: there was none
	// yet. Guarded by m.mu.
	last map[backends.TargetPortal]bool
}

func (s *seeker) run(ctx context.Context) {
	first, failing := true, false
	wait := s.m.cfg.Timers.DiscoverFail
	for {
		list, err := s.ask(ctx)
		if ctx.Err() != nil {
			break
		}
		if first {
			s.awaitTurn(ctx)
		}
		told := map[backends.TargetPortal]bool{}
		answered := err == nil
		for _, tp := range list {
			if s.wants(tp) {
				told[backends.TargetPortal{Target: tp.Target, Portal: tp.Portal}] = true
				if e := s.use(tp); e != nil && err == nil {
					err = e
				}
			}
		}
		if answered {
			s.m.listed(s, told)
		}
		if first {
			close(s.done)
			first = false
		}
		if err != nil && !failing {
			s.m.event(Event{Kind: DiscoveryFailed, Path: s.adapter.Name + " " + s.portal, Reason: err.Error()})
		}
		failing = err != nil
		pause := s.m.cfg.Timers.Discover
		if failing {
			pause = min(wait, pause)
			wait = min(2*wait, s.m.cfg.Timers.Discover)
		} else {
			wait = s.m.cfg.Timers.DiscoverFail
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-s.now:
		}
		timer.Stop()
		if ctx.Err() != nil {
			break
		}
	}
	if first {
		close(s.done)
	}
}

func (s *seeker) ask(ctx context.Context) ([]backends.TargetPortal, error) {
	ctx, cancel := context.WithTimeout(ctx, s.m.cfg.Timers.Login)
	defer cancel()
	c := s.adapter.Connector
	if o := s.spec.Connectors[s.adapter.Name]; o != nil {
		c = o
	}
	list, err := c.Discover(ctx, s.portal)
	return s.places(list), err
}

// awaitTurn waits a little for the portals that come before.
func (s *seeker) awaitTurn(ctx context.Context) {
	if s.before == nil {
		return
	}
	timer := time.NewTimer(firstWait)
	defer timer.Stop()
	select {
	case <-s.before:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// places is where sessions would go: each target at the portal that was asked,
// whatever address it knows itself by, and with Discover its other portals too.
func (s *seeker) places(list []backends.TargetPortal) []backends.TargetPortal {
	var out []backends.TargetPortal
	seen := map[backends.TargetPortal]bool{}
	add := func(tp backends.TargetPortal) {
		k := backends.TargetPortal{Target: tp.Target, Portal: tp.Portal}
		if !seen[k] && len(out) < maxTargets {
			seen[k] = true
			out = append(out, tp)
		}
	}
	for _, tp := range list {
		at := backends.TargetPortal{Target: tp.Target, Portal: s.portal}
		if tp.Portal == s.portal {
			at.GroupTag = tp.GroupTag
		}
		add(at)
	}
	if s.spec.Discover {
		for _, tp := range list {
			if tp.Portal != s.portal && s.allowed(tp.Portal) {
				add(tp)
			}
		}
	}
	return out
}

func (s *seeker) wants(tp backends.TargetPortal) bool {
	return tp.Target != "" && (s.spec.Name == "" || s.spec.Name == tp.Target)
}

// allowed tells whether an advertised portal may be used. Names are not
// resolved: who answers for a name is not known.
func (s *seeker) allowed(portal string) bool {
	if slices.Contains(s.spec.Portals, portal) {
		return true
	}
	ap, err := netip.ParseAddrPort(portal)
	if err != nil || ap.Port() == 0 {
		return false
	}
	for _, n := range s.spec.AllowedNetworks {
		if n.Contains(ap.Addr().Unmap()) {
			return true
		}
	}
	return false
}

func (s *seeker) use(tp backends.TargetPortal) error {
	pt, err := s.m.ensurePort(s.adapter, s.spec, tp)
	if err == nil && (s.spec.Name == "" || s.spec.Discover) {
		pt.mu.Lock()
		pt.found = true
		pt.mu.Unlock()
	}
	return err
}

// listed takes what s was told, and notes which ports nobody tells of any more. A
// portal that does not answer says nothing, so what it told last holds.
func (m *Manager) listed(s *seeker, told map[backends.TargetPortal]bool) {
	m.mu.Lock()
	s.last = told
	var seekers []*seeker
	for _, o := range m.seekers {
		if o.adapter == s.adapter {
			seekers = append(seekers, o)
		}
	}
	gone := map[*port]bool{}
	for _, pt := range m.ports {
		if pt.adapter == s.adapter {
			at := backends.TargetPortal{Target: pt.target, Portal: pt.portal}
			gone[pt] = !slices.ContainsFunc(seekers, func(o *seeker) bool { return o.last[at] })
		}
	}
	m.mu.Unlock()
	for pt, gone := range gone {
		pt.mu.Lock()
		switch {
		case !gone || !pt.found:
			pt.unlisted = time.Time{}
		case pt.unlisted.IsZero():
			pt.unlisted = time.Now()
		}
		pt.mu.Unlock()
		pt.wake()
	}
}
