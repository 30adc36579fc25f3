// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"cmp"

	"pathgate/backends"
)

// MaxBandwidth is the highest limit that an adapter or a portal may be given, in
// bytes per second: sums over 64 paths stay exact.
const MaxBandwidth uint64 = 1e15

// Capacity is a device's usable bandwidth: that of the paths in use (Now) and
// that of the same device when all is well (Nominal). Only their ratio counts
// for shares (the patent, par. 0110): 15 % of two paths is 30 % of one.
// capacityLocked has the rules, design.md the reasons.
type Capacity struct {
	// Now is 0 while no path is in use, and never above Nominal.
	Now     uint64 `json:"now"`
	Nominal uint64 `json:"nominal"`
	// Unit is "bytes/s", or "paths" where no limit is configured.
	Unit string `json:"unit"`
}

// The values of Capacity.Unit.
const (
	UnitBytes = "bytes/s"
	UnitPaths = "paths"
)

// tellCapacityLocked computes the capacity anew and tells the observer if it is
// another one, or again in any case. It has to follow every change of what
// usableLocked or standingsLocked look at, in the same step.
func (d *Device) tellCapacityLocked(b *backends.Batch, again bool) {
	c := d.capacityLocked()
	if c == d.capacity && !again {
		return
	}
	d.capacity = c
	if d.obs != nil {
		d.obs.CapacityChanged(b, float64(c.Now), float64(c.Nominal))
	}
}

// capacityLocked is the capacity now.
func (d *Device) capacityLocked() Capacity { return capacityOf(d.standingsLocked()) }

// standing is what of a path counts for the capacity, so that it can be worked out
// for what might be as well as for what is.
type standing struct {
	slot                      int
	adapter, portal           string
	adapterLimit, portalLimit uint64 // bytes per second, 0: not known
	used                      bool   // in the group in use
	proved                    bool   // in this run, and what it said of its access still holds
	priority                  int    // of its access; 0: carries nothing
}

// standingsLocked gives the standing of each path, in the order of pathsLocked.
func (d *Device) standingsLocked() []standing {
	list := make([]standing, 0, len(d.paths))
	for _, p := range d.paths {
		if p.left {
			continue
		}
		list = append(list, standing{
			slot: p.slot, adapter: p.port.adapter.Name, adapterLimit: p.port.adapter.Bandwidth,
			portal: p.port.portal, portalLimit: p.port.spec.Bandwidth,
			used:   d.inUse.Has(p.slot),
			proved: p.proved && !p.stale, priority: d.groupAccessLocked(p.settled).Priority(),
		})
	}
	return list
}

// capacityOf is what the adapters and portals can carry together over the
// paths in use, and over those of the best group.
//
// A path carries the lower of its adapter's and its portal's limit. Paths that
// share an adapter, or a portal, share its limit. Where no path of the device
// has a limit all count 1; where only some have, the others count as the mean
// of those.
func capacityOf(list []standing) Capacity {
	unknown, unit := meanLimit(list), UnitBytes
	if unknown == 0 {
		unknown, unit = 1, UnitPaths
	}
	best := bestPriority(list)
	nominal := carry(list, unknown, func(s *standing) bool { return s.proved && s.priority == best })
	now := carry(list, unknown, func(s *standing) bool { return s.used })
	return Capacity{Now: min(now, nominal), Nominal: nominal, Unit: unit}
}

// bestPriority is that of the paths that would be in use if all were healthy: of
// those that were proved in this run the ones of the best access, whatever their
// health. Disabled and quarantined paths are among them, since their bandwidth
// is gone in the same way; standby paths are not.
func bestPriority(list []standing) int {
	best := Standby.Priority() + 1
	for i := range list {
		if s := &list[i]; s.proved {
			best = max(best, s.priority)
		}
	}
	return best
}

// settleLocked notes p's access. In transition the one before counts.
//
// When it rises, the target has most likely given p the part of paths that are
// lost: what those last said of themselves is out of date until they are proved
// again, or both port groups of an active-passive array would count.
func (d *Device) settleLocked(p *Path) {
	if p.access == Transitioning {
		return
	}
	rises := p.proved && p.access.Serves() && p.access.Priority() > p.settled.Priority()
	p.settled = p.access
	if !rises {
		return
	}
	for _, o := range d.paths {
		if o != p && (!o.live || o.proving) {
			o.stale = true
		}
	}
}

// limit is what the path carries alone, in bytes per second; 0: not known.
func (s *standing) limit() uint64 {
	switch a, p := s.adapterLimit, s.portalLimit; {
	case a == 0:
		return p
	case p == 0:
		return a
	default:
		return min(a, p)
	}
}

// meanLimit is the mean over all paths with a limit, whatever their state,
// so that it stays when paths come and go; 0: there is none.
func meanLimit(list []standing) uint64 {
	var sum, n uint64
	for i := range list {
		if l := list[i].limit(); l > 0 {
			sum += l
			n++
		}
	}
	if n == 0 {
		return 0
	}
	return max(sum/n, 1)
}

// carry is what the paths of list that are in carry together; unknown stands for
// a limit that is not known.
func carry(list []standing, unknown uint64, in func(*standing) bool) uint64 {
	var n network
	for i := range list {
		s := &list[i]
		if in(s) {
			n.add(s.adapter, s.adapterLimit, s.portal, s.portalLimit, cmp.Or(s.limit(), unknown))
		}
	}
	return n.flow()
}

// network is adapters and portals with links between them.
type network struct {
	adapters, portals []knot
	links             []link
}

// knot is an adapter or portal: what it can carry still.
type knot struct {
	name string
	left uint64
}

// link is a path: what it carries, and can carry still.
type link struct {
	adapter, portal int
	used, left      uint64
}

// add puts a path in. A limit of 0 is none.
func (n *network) add(adapter string, adapterLimit uint64, portal string, portalLimit, limit uint64) {
	n.links = append(n.links, link{
		adapter: join(&n.adapters, adapter, adapterLimit),
		portal:  join(&n.portals, portal, portalLimit),
		left:    limit,
	})
}

// join gives the place of the knot of that name. Of several limits the lowest
// counts.
func join(list *[]knot, name string, limit uint64) int {
	const none = MaxBandwidth * maxPaths // more than can ever meet here
	if limit == 0 {
		limit = none
	}
	for i := range *list {
		if k := &(*list)[i]; k.name == name {
			k.left = min(k.left, limit)
			return i
		}
	}
	*list = append(*list, knot{name, limit})
	return len(*list) - 1
}

// flow is the most that goes through, by shortest augmenting ways (Edmonds and
// Karp 1972): with 64 links at most that is done in microseconds, and only when
// paths change.
func (n *network) flow() (total uint64) {
	for {
		way := n.way()
		if way == nil {
			return total
		}
		most := min(n.adapters[n.links[way[0]].adapter].left, n.portals[n.links[way[len(way)-1]].portal].left)
		for i, l := range way {
			if i%2 == 0 {
				most = min(most, n.links[l].left)
			} else {
				most = min(most, n.links[l].used)
			}
		}
		for i, l := range way {
			k := &n.links[l]
			if i%2 == 0 {
				k.used, k.left = k.used+most, k.left-most
			} else {
				k.used, k.left = k.used-most, k.left+most
			}
		}
		n.adapters[n.links[way[0]].adapter].left -= most
		n.portals[n.links[way[len(way)-1]].portal].left -= most
		total += most
	}
}

// way finds the shortest chain of links from an adapter to a portal that both
// have something left. Links at even places carry more by it, those between
// less. Nil: there is none.
func (n *network) way() []int {
	const unseen = -2
	from := make([]int, len(n.adapters)) // by adapter: the link that led back to it; -1: it begins
	via := make([]int, len(n.portals))   // by portal: the link that led to it
	var queue []int                      // adapters
	for i := range from {
		from[i] = unseen
		if n.adapters[i].left > 0 {
			from[i] = -1
			queue = append(queue, i)
		}
	}
	for i := range via {
		via[i] = unseen
	}
	for ; len(queue) > 0; queue = queue[1:] {
		for i := range n.links {
			l := &n.links[i]
			if l.adapter != queue[0] || l.left == 0 || via[l.portal] != unseen {
				continue
			}
			via[l.portal] = i
			if n.portals[l.portal].left > 0 {
				return n.trace(i, from, via)
			}
			for j := range n.links {
				if o := &n.links[j]; o.portal == l.portal && o.used > 0 && from[o.adapter] == unseen {
					from[o.adapter] = j
					queue = append(queue, o.adapter)
				}
			}
		}
	}
	return nil
}

// trace lists the links of the way that ends with link last, from its beginning.
func (n *network) trace(last int, from, via []int) []int {
	way := []int{last}
	for {
		back := from[n.links[way[0]].adapter]
		if back < 0 {
			return way
		}
		way = append([]int{via[n.links[back].portal], back}, way...)
	}
}
