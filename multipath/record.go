// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"maps"
	"slices"
	"time"

	"pathgate/backends"
)

// open records that p is in use in the login gen, before it is: see GhostRecord. The
// record of an earlier login goes when nothing of that can run any more. Its key is on
// the LUN first, and those of earlier logins go after that: a record whose key nobody
// knows could be fenced over p's own portal only.
func (pt *port) open(p *Path, gen uint64) error {
	d := p.dev
	d.mu.Lock()
	n := len(p.opens)
	rec := p.openRecordLocked(gen, time.Now())
	d.mu.Unlock()
	if n > 0 && p.opens[n-1].Generation == gen {
		return nil
	}
	if err := pt.m.cfg.Store.PutGhosts(rec); err != nil {
		pt.m.event(Event{Kind: StoreFailed, Device: d.name, Path: p.name, Reason: err.Error()})
		return err
	}
	var old []GhostRecord
	d.mu.Lock()
	if p.first == nil && !d.hasGhostLocked(p.name) {
		old, p.opens = p.opens, nil
	}
	p.opens = append(p.opens, rec)
	d.mu.Unlock()
	pt.m.dropRecords(p.name, old)
	return nil
}

func (p *Path) openRecordLocked(gen uint64, now time.Time) GhostRecord {
	return GhostRecord{
		Device: p.dev.key, Path: p.name, Whole: true, Run: p.dev.m.cfg.Run, Generation: gen,
		Target: p.port.target, Portal: p.port.portal, Tagged: true, GroupTag: p.tag, ITT: openITT, Time: now,
	}
}

// retire removes the records of paths that nothing can come from any more: the
// session is gone, and everything on it has ended or was fenced.
func (pt *port) retire() {
	for _, p := range pt.known() {
		d := p.dev
		var old []GhostRecord
		d.mu.Lock()
		if !p.live && p.first == nil && !d.hasGhostLocked(p.name) {
			old, p.opens = p.opens, nil
		}
		d.mu.Unlock()
		pt.m.dropRecords(p.name, old)
	}
}

// dropRecords removes records of a path. One that stays makes the next run fence it
// for nothing.
func (m *Manager) dropRecords(path string, list []GhostRecord) {
	if len(list) == 0 {
		return
	}
	if err := m.cfg.Store.DeleteGhosts(slices.Clone(list)...); err != nil {
		m.event(Event{Kind: StoreFailed, Path: path, Reason: err.Error()})
	}
}

// revive makes the ports of sessions that an earlier run has left: where a portal does
// not answer, nothing but the records tells of its targets.
func (m *Manager) revive() {
	m.adopting.Lock()
	all := slices.Concat(slices.Collect(maps.Values(m.earlier))...)
	m.adopting.Unlock()
	lost := map[string]bool{}
	for _, rec := range all {
		if rec.Target == "" || m.reviveOne(rec) || lost[rec.Device+" "+rec.Path] {
			continue
		}
		lost[rec.Device+" "+rec.Path] = true
		m.event(Event{
			Kind: FenceFailed, Device: rec.Device, Path: rec.Path, Count: 1,
			Reason: rec.Target + " at " + rec.Portal + " is not configured any more, and an earlier run has left writes there: those that overlap wait until it is",
		})
	}
}

// reviveOne is for one record, and tells whether the configuration has its portal. If
// not, its range stays held.
func (m *Manager) reviveOne(rec GhostRecord) bool {
	name, _, _, _ := parsePath(rec.Path)
	a := slices.IndexFunc(m.cfg.Adapters, func(a Adapter) bool { return a.Name == name })
	if a < 0 {
		return false
	}
	tp := backends.TargetPortal{Target: rec.Target, Portal: rec.Portal}
	for i := range m.cfg.Targets {
		s := &seeker{m: m, spec: &m.cfg.Targets[i], adapter: &m.cfg.Adapters[a]}
		listed := slices.Contains(s.spec.Portals, rec.Portal) || s.spec.Discover && s.allowed(rec.Portal)
		if !listed || !s.wants(tp) || len(s.spec.Adapters) > 0 && !slices.Contains(s.spec.Adapters, name) {
			continue
		}
		pt, _ := m.portOf(rec.Path)
		if pt == nil && s.use(tp) == nil {
			if pt, _ = m.portOf(rec.Path); pt != nil {
				pt.firstOver() // its names are known: others need not wait for it
			}
		}
		if pt != nil && rec.Tagged {
			pt.tagged(rec.GroupTag)
		}
		return pt != nil
	}
	return false
}

// tagged notes the portal group that pt was in when an earlier run logged in.
func (pt *port) tagged(tag uint16) {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	if !pt.tagKnown {
		pt.tag, pt.tagKnown = tag, true
	}
}
