// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"pathgate/backends"
)

const (
	// settleLost is how long losses are collected before it is said what they have in
	// common: those of one cause come within some milliseconds. Nothing waits for it.
	settleLost = 150 * time.Millisecond
	// settleBack is the same for a return: logins come back with jitter.
	settleBack = 500 * time.Millisecond
)

// incidents tells what broke, once for each failure, and when it is back. Its
// goroutine is the Manager's; open belongs to it.
type incidents struct {
	kick  chan struct{}
	since time.Time    // its making: what first counts from, by the clock that never steps
	first atomic.Int64 // of the losses that were not looked at yet, ns; 0: there is none
	open  map[incidentKey]*openIncident
}

// openIncident is an incident that was told.
type openIncident struct {
	incident
	back time.Time // some of it works again since; zero: nothing does
}

func newIncidents() *incidents {
	return &incidents{kick: make(chan struct{}, 1), since: time.Now(), open: map[incidentKey]*openIncident{}}
}

// lost is changed for a loss: others of the same cause may follow, and are waited for.
func (x *incidents) lost(now time.Time) {
	x.first.CompareAndSwap(0, max(int64(now.Sub(x.since)), 1))
	x.changed()
}

// early tells how long to wait still for losses that belong together.
func (x *incidents) early(now time.Time) time.Duration {
	first := x.first.Load()
	if left := settleLost - (now.Sub(x.since) - time.Duration(first)); first != 0 && left > 0 {
		return left
	}
	x.first.Store(0)
	return 0
}

// changed has the incidents looked at. It may be called with any lock held.
func (x *incidents) changed() {
	select {
	case x.kick <- struct{}{}:
	default:
	}
}

// watchIncidents is the goroutine.
func (m *Manager) watchIncidents(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var fire <-chan time.Time // at the next look; nil: none is due
	var at time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.incidents.kick:
			if next := time.Now().Add(settleLost); fire == nil || next.Before(at) {
				timer.Reset(settleLost)
				fire, at = timer.C, next
			}
		case <-fire:
			fire = nil
			wait := m.incidents.early(time.Now())
			if wait == 0 {
				wait = m.judgeIncidents(time.Now())
			}
			if wait > 0 {
				timer.Reset(wait)
				fire, at = timer.C, time.Now().Add(wait)
			}
		}
	}
}

// judgeIncidents tells what has changed, and when to look again by itself; 0: not.
func (m *Manager) judgeIncidents(now time.Time) (wait time.Duration) {
	facts := m.nexusFacts()
	carries := map[string]bool{}
	for i := range facts {
		for _, p := range facts[i].paths {
			carries[p.name] = p.carries
		}
	}
	found := map[incidentKey]bool{}
	list := deduce(facts)
	for i := range list {
		k := incidentKey{list[i].cause, list[i].object}
		found[k] = true
		if o := m.incidents.open[k]; o != nil {
			o.back = time.Time{}
			continue
		}
		m.openIncident(&list[i])
	}
	for k, o := range m.incidents.open {
		if found[k] {
			continue
		}
		n := 0
		for _, p := range o.paths {
			if carries[p] {
				n++
			}
		}
		switch {
		case n == 0: // not lost any more, and not proved yet
		case o.back.IsZero() && n < len(o.paths):
			o.back = now
			wait = settleBack
		case n < len(o.paths) && now.Sub(o.back) < settleBack:
			wait = max(settleBack-now.Sub(o.back), time.Millisecond)
		default:
			delete(m.incidents.open, k)
			m.mark(o.paths, "")
			m.event(Event{
				Kind: ComponentBack, Cause: o.cause, Object: o.object, Count: n, Duration: now.Sub(o.since),
				Device: deviceOf(&o.incident), Reason: fmt.Sprintf("%s %s back: %d of %s", o.cause.words(), o.object, n, countPaths(len(o.paths))),
			})
		}
	}
	return wait
}

// openIncident tells of i, and forgets those that it explains better.
func (m *Manager) openIncident(i *incident) {
	for k, o := range m.incidents.open {
		if !slices.ContainsFunc(o.paths, func(p string) bool { return !slices.Contains(i.paths, p) }) {
			delete(m.incidents.open, k)
		}
	}
	m.incidents.open[incidentKey{i.cause, i.object}] = &openIncident{incident: *i}
	m.mark(i.paths, i.cause.words()+" "+i.object)
	m.event(Event{
		Kind: ComponentLost, Cause: i.cause, Object: i.object, Count: len(i.paths),
		Device: deviceOf(i), Reason: i.String(),
	})
}

func deviceOf(i *incident) string {
	if i.cause == CauseLUN {
		return i.object
	}
	return ""
}

// mark notes what broke with the paths.
func (m *Manager) mark(names []string, cause string) {
	for _, d := range m.Devices() {
		d.mu.Lock()
		for _, p := range d.paths {
			if slices.Contains(names, p.name) {
				p.cause = cause
			}
		}
		d.mu.Unlock()
	}
}

// nexusFacts is everything at this moment.
func (m *Manager) nexusFacts() []nexusFact {
	var list []nexusFact
	for _, pt := range m.portList() {
		pt.mu.Lock()
		n := nexusFact{
			adapter: pt.adapter.Name, portal: pt.portal, target: pt.target, group: pt.tag, grouped: pt.tagKnown,
			up: pt.up && pt.login.Route.Own(), lostAt: pt.awayAt, loss: pt.awayBy,
		}
		for _, p := range pt.paths {
			d := p.dev
			d.mu.Lock()
			f := pathFact{name: p.name, device: d.name, carries: p.live && p.health.Carries()}
			switch {
			case p.health == Disabled || p.kept:
				d.mu.Unlock()
				continue // not lost, but taken away
			case p.live && (p.health == Down || p.health == Quarantined):
				f.faultAt = p.changed
			}
			if p.facts.hasGroup && len(p.facts.report.groups) > 0 {
				n.group, n.grouped = p.facts.group, true // that of ALUA tells more
			}
			d.mu.Unlock()
			n.paths = append(n.paths, f)
		}
		pt.mu.Unlock()
		list = append(list, n)
	}
	return list
}

// awayLocked notes a loss of the nexus's own session, or a login over its own way
// that failed.
func (pt *port) awayLocked(loss backends.Loss, was bool, now time.Time) {
	own := loss.Route.Own()
	if was {
		own = pt.login.Route.Own()
	}
	if !own || loss.Class == backends.LossClosed || pt.login.Generation == 0 {
		return
	}
	if pt.awayAt.IsZero() {
		pt.awayAt = now
	} else if pt.awayBy == loss.Class {
		return
	}
	pt.awayBy = loss.Class
	pt.m.incidents.lost(now)
}
