// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"cmp"
	"slices"
	"time"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// portGroup is a target port group of a device (SPC-4 REPORT TARGET PORT GROUPS),
// as its target told of it last. All its ports share one state, so a report
// over one path is news for the paths of all groups in it.
type portGroup struct {
	id        uint16
	access    Access
	preferred bool // PREF: the target would rather be used through it
	supported scsi.AccessStates
	status    uint8     // why it is as it is: scsi.StatusBySetPortGroups ...
	since     time.Time // of access
	limit     time.Time // in transition: when it counts as failed
	failed    bool      // the transition took longer; until another state is told
}

// groupReport is what one REPORT TARGET PORT GROUPS brought.
type groupReport struct {
	sent       time.Time // when it was asked for: an older one is no news
	groups     []scsi.PortGroup
	transition time.Duration // IMPLICIT TRANSITION TIME; 0: not told
}

// preference is what PREF adds to a priority, as in multipath-tools' alua
// prioritizer: more than the states are apart.
const preference = 80

// transitionTime bounds a transition for which the target tells no time, as in
// Linux' scsi_dh_alua.
const transitionTime = 60 * time.Second

// priorityOf ranks a path by its access state and its group's PREF bit. The bit
// raises what is optimized only if exclusive, as with exclusive_pref_bit of
// multipath-tools: optimized groups with and without it are used together else.
// 0: never used.
func priorityOf(a Access, preferred, exclusive bool) int {
	n := a.Priority()
	if preferred && n > 0 && (a != Optimized || exclusive) {
		n += preference
	}
	return n
}

// groupLocked gives the group of that id; nil: no target has told of it.
func (d *Device) groupLocked(id uint16) *portGroup {
	i, ok := slices.BinarySearchFunc(d.groups, id, func(g *portGroup, id uint16) int { return cmp.Compare(g.id, id) })
	if !ok {
		return nil
	}
	return d.groups[i]
}

// portGroup is the group that p ends in; nil: it is in none, or not told of.
func (p *Path) portGroupLocked() *portGroup {
	if !p.facts.hasGroup {
		return nil
	}
	return p.dev.groupLocked(p.facts.group)
}

// priorityLocked is p's place among the paths: that of its group. A path in no
// group counts by its access alone.
func (p *Path) priorityLocked() int {
	g := p.portGroupLocked()
	return priorityOf(p.dev.groupAccessLocked(p.access), g != nil && g.preferred, p.dev.rule.ExclusivePreferred)
}

// groupsLocked takes what a target tells of its groups, for all paths that end
// in them. A report that was asked for before the last one is not taken.
func (d *Device) groupsLocked(b *backends.Batch, out *outbox, r groupReport, now time.Time) {
	if len(r.groups) == 0 || r.sent.Before(d.reported) {
		return
	}
	d.reported, d.transition = r.sent, r.transition
	limit := cmp.Or(r.transition, transitionTime)
	told := false
	for i := range r.groups {
		told = d.groupTold(out, &r.groups[i], limit, now) || told
	}
	d.groups = slices.DeleteFunc(d.groups, func(g *portGroup) bool { return d.droppedLocked(g, r.groups) })
	changed := false
	for _, p := range d.paths {
		if g := p.portGroupLocked(); g != nil && p.reportedIn(r.groups) {
			changed = d.setAccessLocked(out, p, reportEvent(g.access), now) || changed
		}
	}
	if changed || told {
		d.pathsChangedLocked(b, out, now)
	}
	d.moveGroupLocked(out, now)
	d.watchGroupsLocked(out, now)
}

// droppedLocked tells that g is not in a report any more, and no path ends in it: one
// of another target with the same identity is in that target's report only.
func (d *Device) droppedLocked(g *portGroup, report []scsi.PortGroup) bool {
	return !slices.ContainsFunc(report, func(r scsi.PortGroup) bool { return r.ID == g.id }) &&
		!slices.ContainsFunc(d.paths, func(p *Path) bool { return p.inGroup(g.id) })
}

// groupTold notes what the target says of one group; it tells whether that is
// something new.
func (d *Device) groupTold(out *outbox, r *scsi.PortGroup, limit time.Duration, now time.Time) bool {
	g := d.groupLocked(r.ID)
	isNew := g == nil
	if isNew {
		g = &portGroup{id: r.ID, since: now}
		d.groups = append(d.groups, g)
		slices.SortFunc(d.groups, func(a, b *portGroup) int { return cmp.Compare(a.id, b.id) })
	}
	was, preferred := g.access, g.preferred
	g.preferred, g.supported, g.status = r.Preferred, r.Supported, r.Status
	g.access = accessOf(r.State)
	if g.access != Transitioning {
		g.limit, g.failed = time.Time{}, false
	} else if g.failed {
		g.access = Unavailable // as before: it had its time
	} else if g.limit.IsZero() {
		g.limit = now.Add(limit)
	}
	if isNew || was != g.access {
		g.since = now
	}
	if !isNew && preferred != g.preferred {
		out.event(Event{Kind: DeviceChanged, Device: d.name, Reason: "group " + g.name() + " is " + map[bool]string{true: "preferred", false: "preferred no more"}[g.preferred]})
	}
	return isNew || was != g.access || preferred != g.preferred
}

// reportedIn tells whether groups speak of p: of its group, and of its port where
// ports are listed. Two targets that share an identity may number their groups
// alike.
func (p *Path) reportedIn(groups []scsi.PortGroup) bool {
	for i := range groups {
		g := &groups[i]
		if g.ID != p.facts.group {
			continue
		}
		if len(g.Ports) == 0 || !p.facts.hasPort || slices.Contains(g.Ports, p.facts.port) {
			return true
		}
	}
	return false
}

// name is the group as commands and tables name it.
func (g *portGroup) name() string { return name(g.id) }

// accessOf is the state of a report. What no standard knows is not used.
func accessOf(s scsi.AccessState) Access {
	switch s {
	case scsi.ActiveOptimized:
		return Optimized
	case scsi.ActiveNonOptimized:
		return NonOptimized
	case scsi.LBADependent:
		return LBADependent
	case scsi.Standby:
		return Standby
	case scsi.Unavailable:
		return Unavailable
	case scsi.Transitioning:
		return Transitioning
	case scsi.Offline:
		return Offline
	}
	return Unavailable
}

// reportEvent is the event of a report that says a.
func reportEvent(a Access) AccessEvent { return AccessEvent(a) }

// GroupInfo is a target port group of a device at one moment, for people. Its
// paths are used together, and with those of other groups of equal priority.
type GroupInfo struct {
	// ID is the number of the target port group.
	ID uint16 `json:"id"`
	// Access is what the target said last, "failed" after a transition without end.
	Access    string `json:"access"`
	Preferred bool   `json:"preferred,omitempty"`
	// Priority: groups with the highest one are used. 0: it cannot be.
	Priority int `json:"priority"`
	// Used: requests go over a path of it now.
	Used  bool      `json:"used"`
	Since time.Time `json:"since"`
	// Explicit: SET TARGET PORT GROUPS is known; Implicit: the target changes
	// states by itself.
	Explicit bool `json:"explicit,omitempty"`
	Implicit bool `json:"implicit,omitempty"`
	// Paths are the names of its paths.
	Paths []string `json:"paths,omitempty"`
}

// groupInfosLocked gives the groups, the best first.
func (d *Device) groupInfosLocked() []GroupInfo {
	var list []GroupInfo
	for _, g := range d.groups {
		i := GroupInfo{
			ID: g.id, Access: g.access.String(), Preferred: g.preferred, Since: g.since,
			Priority: priorityOf(g.access, g.preferred, d.rule.ExclusivePreferred),
		}
		if g.failed {
			i.Access = "failed"
		}
		for _, p := range d.paths {
			if p.portGroupLocked() != g {
				continue
			}
			i.Paths = append(i.Paths, p.name)
			i.Used = i.Used || d.inUse.Has(p.slot)
			i.Explicit = i.Explicit || p.facts.explicit
			i.Implicit = i.Implicit || p.facts.implicit
		}
		list = append(list, i)
	}
	slices.SortStableFunc(list, func(a, b GroupInfo) int { return cmp.Compare(b.Priority, a.Priority) })
	return list
}
