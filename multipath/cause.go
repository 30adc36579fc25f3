// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"pathgate/backends"
)

// What broke is deduced from which paths failed together and which still live, as in
// the patent, par. 0096-0097. This file is the core: it looks at all nexuses and
// LUNs at one moment, and does nothing by itself. incident.go feeds and tells it.

// Cause is the class of a failure: what all the lost paths have in common.
type Cause uint8

// Causes.
const (
	// CausePath: none of the others; the way between an adapter and a portal, or
	// nobody can tell.
	CausePath Cause = iota
	// CauseAdapter: the adapter, its link or its address.
	CauseAdapter
	// CausePortal: the target's portal, or the fabric in front of it.
	CausePortal
	// CauseProcessor: a storage processor, that is all portals of one target portal
	// group.
	CauseProcessor
	// CauseLUN: the logical unit, over sessions that live.
	CauseLUN

	causes = int(CauseLUN) + 1
)

var causeNames = [causes]string{"path", "adapter", "portal", "storage-processor", "lun"}

// String gives the name as events show it.
func (c Cause) String() string {
	if int(c) >= causes {
		return fmt.Sprintf("cause(%d)", uint8(c))
	}
	return causeNames[c]
}

// words is the name inside a sentence.
func (c Cause) words() string {
	switch c {
	case CauseLUN:
		return "LUN"
	case CauseProcessor:
		return "storage processor"
	case CausePath, CauseAdapter, CausePortal:
	}
	return c.String()
}

// togetherFor is how far apart two losses may be to have one cause: NOP-Outs find out
// within two seconds of each other, by when each session was used last.
const togetherFor = 5 * time.Second

// nexusFact is what is known of one nexus: an adapter at a portal.
type nexusFact struct {
	adapter, portal, target string
	group                   uint16 // target portal group; counts if grouped
	grouped                 bool
	up                      bool
	lostAt                  time.Time          // zero: it was never up
	loss                    backends.LossClass // the last one
	paths                   []pathFact
}

// pathFact is one path of a nexus.
type pathFact struct {
	name, device string
	carries      bool
	faultAt      time.Time // when its I/O was found to fail while the session lived; zero: it was not
}

// incident is one thing that broke.
type incident struct {
	cause  Cause
	object string // what broke: "vmhba1", "10.0.0.1:3260", "iqn.2026-11.test:a group 1", a device
	paths  []string
	since  time.Time // of the first loss
}

// String is the incident for people.
func (i *incident) String() string {
	return fmt.Sprintf("%s %s lost: %s", i.cause.words(), i.object, countPaths(len(i.paths)))
}

func countPaths(n int) string {
	if n == 1 {
		return "1 path"
	}
	return fmt.Sprintf("%d paths", n)
}

// processor names the storage processor that a nexus leads to; "": it is not known.
func (n *nexusFact) processor() string {
	if !n.grouped {
		return ""
	}
	return fmt.Sprintf("%s group %d", n.target, n.group)
}

func (n *nexusFact) lost() bool { return !n.up && !n.lostAt.IsZero() }

// deduce finds what is broken. An adapter that says so itself is. Else, who is in
// contact with anybody is not to blame: an adapter that has a session works, and so
// does a portal that one leads to. Of a lost nexus between both that leaves
//
//   - neither to blame: the way between them (CausePath);
//   - the portal: it is, or if all portals of its storage processor, two at least,
//     were lost together, that;
//   - the adapter: it is;
//   - both: the portal, since adapters have a way to tell.
//
// A LUN is to blame when its I/O fails on all paths whose sessions live.
//
// The result is ordered; CausePath is not in it, since the path itself tells.
func deduce(list []nexusFact) []incident {
	found := map[incidentKey]*incident{}
	add := func(c Cause, object string, at time.Time, paths ...pathFact) {
		k := incidentKey{c, object}
		i := found[k]
		if i == nil {
			i = &incident{cause: c, object: object, since: at}
			found[k] = i
		}
		if at.Before(i.since) {
			i.since = at
		}
		for _, p := range paths {
			i.paths = append(i.paths, p.name)
		}
	}
	w := look(list)
	for i := range list {
		n := &list[i]
		if n.lost() && len(n.paths) > 0 {
			c, object := w.blame(n)
			add(c, object, n.lostAt, n.paths...)
		}
	}
	for device, at := range brokenLUNs(list) {
		for i := range list {
			for _, p := range list[i].paths {
				if p.device == device && !p.faultAt.IsZero() {
					add(CauseLUN, device, at, p)
				}
			}
		}
	}
	var out []incident
	for k, i := range found {
		if k.cause != CausePath {
			slices.Sort(i.paths)
			out = append(out, *i)
		}
	}
	slices.SortFunc(out, func(a, b incident) int {
		return cmp.Or(cmp.Compare(a.cause, b.cause), strings.Compare(a.object, b.object))
	})
	return out
}

type incidentKey struct {
	cause  Cause
	object string
}

// view is who is in contact with anybody.
type view struct {
	adapters map[string]bool // has a session
	portals  map[string]bool // has one, by target and portal
	dead     map[string]bool // storage processors whose portals were lost together
}

func portalKey(n *nexusFact) string { return n.target + " " + n.portal }

func look(list []nexusFact) view {
	v := view{map[string]bool{}, map[string]bool{}, map[string]bool{}}
	portals := map[string]map[string]bool{} // by storage processor
	first, last := map[string]time.Time{}, map[string]time.Time{}
	for i := range list {
		n := &list[i]
		if n.up {
			v.adapters[n.adapter], v.portals[portalKey(n)] = true, true
		}
	}
	alive := map[string]bool{}
	for i := range list {
		n := &list[i]
		s := n.processor()
		if s == "" {
			continue
		}
		if n.up {
			alive[s] = true
		}
		// A nexus that its adapter has lost says nothing of the other end.
		if n.lost() && n.loss != backends.LossLocal && !v.portals[portalKey(n)] {
			if portals[s] == nil {
				portals[s], first[s] = map[string]bool{}, n.lostAt
			}
			portals[s][n.portal] = true
			if n.lostAt.Before(first[s]) {
				first[s] = n.lostAt
			}
			if n.lostAt.After(last[s]) {
				last[s] = n.lostAt
			}
		}
	}
	for s, p := range portals {
		v.dead[s] = len(p) > 1 && !alive[s] && last[s].Sub(first[s]) <= togetherFor
	}
	return v
}

// blame gives what broke for a lost nexus.
func (v *view) blame(n *nexusFact) (Cause, string) {
	adapter, portal := v.adapters[n.adapter], v.portals[portalKey(n)]
	switch {
	case n.loss == backends.LossLocal:
		return CauseAdapter, n.adapter
	case adapter && portal:
		return CausePath, n.adapter + " " + n.portal
	case portal:
		return CauseAdapter, n.adapter
	case v.dead[n.processor()]:
		return CauseProcessor, n.processor()
	}
	return CausePortal, n.portal
}

// brokenLUNs gives the devices whose I/O fails on all of the paths with a session,
// and since when.
func brokenLUNs(list []nexusFact) map[string]time.Time {
	first, works := map[string]time.Time{}, map[string]bool{}
	for i := range list {
		for _, p := range list[i].paths {
			switch {
			case !list[i].up:
			case p.faultAt.IsZero():
				works[p.device] = works[p.device] || p.carries
			default:
				if at, ok := first[p.device]; !ok || p.faultAt.Before(at) {
					first[p.device] = p.faultAt
				}
			}
		}
	}
	for d := range first {
		if works[d] {
			delete(first, d)
		}
	}
	return first
}
