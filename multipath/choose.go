// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"pathgate/backends"
)

// demandLocked is what t wants a path for.
func (d *Device) demandLocked(t *task, avoid PathSet, now time.Time) Demand {
	o := t.req.Origin
	q := Demand{Now: now, VM: d.vms.of(o, now), Bytes: t.req.Length, Tried: avoid}
	if o != nil {
		q.Priority = o.Priority.Now()
	}
	return q
}

// usedLocked notes that a request of o goes to p.
func (d *Device) usedLocked(p *Path, o *backends.Origin, now time.Time) {
	if v := d.vms.of(o, now); v != nil {
		v.used(p.slot, now)
	}
}

// offerLocked tells the selector what is new about the paths of set, which are in
// use from now on, and which of the others it has no more.
func (d *Device) offerLocked(set PathSet) {
	all := d.standingsLocked()
	for _, p := range d.paths {
		switch was := d.inUse.Has(p.slot); {
		case set.Has(p.slot):
			if l := d.lineLocked(p, all); !was || l != p.line {
				p.line = l
				d.sel.Add(l)
			}
		case was:
			d.sel.Remove(p.slot)
		}
	}
}

// lineLocked is what the selector is told of p.
func (d *Device) lineLocked(p *Path, all []standing) Line {
	return Line{
		Slot: p.slot, Weight: d.selection.weight(p.name, p.slot, all),
		Name: p.name, Adapter: p.port.adapter.Name, Portal: p.port.portal,
	}
}

// weight is what was set for a path, or, where nothing is for any path, its bandwidth
// against the highest one. A path whose bandwidth is not known has the mean of the
// others.
func (s *Selection) weight(name string, slot int, all []standing) uint32 {
	for _, w := range s.Weights {
		if matchPath(w.Path, name) {
			return w.Weight
		}
	}
	mean := meanLimit(all)
	if len(s.Weights) > 0 || mean == 0 {
		return 1
	}
	highest := mean
	for i := range all {
		highest = max(highest, all[i].limit())
	}
	return uint32(max(cmp.Or(all[slot].limit(), mean)*MaxPathWeight/highest, 1))
}

// groupAccessLocked is what a path's access counts as when paths are grouped.
func (d *Device) groupAccessLocked(a Access) Access {
	if a == NonOptimized && d.selection.UseNonOptimized {
		return Optimized
	}
	return a
}

// ErrSelection is under every error about a Selection that is not valid.
var ErrSelection = errors.New("not a valid selection")

// SetSelector has the device's paths selected by s from now on, also after a restart:
// it returns when that is kept. Requests that are in flight count for the new selector
// as for the old one. Nil goes back to the device's rule. An error that is
// ErrSelection has a SelectionFault for each fault; nothing has changed then.
func (d *Device) SetSelector(s *Selection) error {
	next := d.rule.Selector.Normal()
	if s != nil {
		if err := s.Validate(); err != nil {
			return fmt.Errorf("%w: %w", ErrSelection, err)
		}
		next = s.Normal()
		s = &next
	}
	d.selecting.Lock()
	defer d.selecting.Unlock()
	if err := d.m.cfg.Store.PutSelection(d.key, s); err != nil {
		return fmt.Errorf("keep the selector of %s: %w", d.name, err)
	}
	var b backends.Batch
	out := newOutbox()
	now := time.Now()
	d.mu.Lock()
	was := d.selection
	d.selection, d.selectionSet = next, s != nil
	d.sel = next.newSelector(&d.vms)
	all := d.standingsLocked()
	for _, p := range d.paths {
		if d.inUse.Has(p.slot) {
			p.line = d.lineLocked(p, all)
			d.sel.Add(p.line)
		}
		for a := p.first; a != nil; a = a.next {
			d.sel.Start(p.slot, a.bytes)
		}
	}
	out.event(Event{Kind: SelectorChanged, Device: d.name, Reason: fmt.Sprintf("%s, was %s", next, was)})
	d.pathsChangedLocked(&b, out, now) // the group may be another one
	d.pumpLocked(&b, out, now)
	d.mu.Unlock()
	d.send(&b, out)
	b.Run()
	return nil
}

// Selection gives how the paths are selected, and whether that was set by SetSelector
// or comes from the device's rule.
func (d *Device) Selection() (s Selection, set bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.selection, d.selectionSet
}

// selectionOf gives the Selection of a new device: the one that was set, if it is
// valid still, else that of its rule.
func (m *Manager) selectionOf(key string, r *Rule) (s Selection, set bool, err error) {
	if err := r.Selector.Validate(); err != nil {
		return s, false, fmt.Errorf("%w: %w", ErrSelection, err)
	}
	kept, set, err := m.cfg.Store.Selection(key)
	if err != nil {
		return s, false, fmt.Errorf("selector of %s: %w", key, err)
	}
	if set && kept.Validate() == nil {
		return kept.Normal(), true, nil
	}
	return r.Selector.Normal(), false, nil
}
