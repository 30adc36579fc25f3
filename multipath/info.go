// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"slices"
	"time"

	"pathgate/backends"
)

// DeviceInfo is a device at one moment, for people.
type DeviceInfo struct {
	Name     string `json:"name"`
	Identity string `json:"identity"`
	// Weak: the identity counts within one target name only.
	Weak    bool   `json:"weak,omitempty"`
	Alias   string `json:"alias,omitempty"`
	Vendor  string `json:"vendor"`
	Product string `json:"product"`
	Serial  string `json:"serial,omitempty"`
	Size    uint64 `json:"size"`
	Block   uint32 `json:"block"`
	// Cache is "none", "volatile" or "protected".
	Cache string `json:"cache"`
	// Selection is how its paths are selected, SelectionSet whether that was set by an
	// administrator.
	Selection    Selection `json:"selection"`
	SelectionSet bool      `json:"selection_set,omitempty"`
	Paths        int       `json:"paths"`
	Used         int       `json:"paths_used"`
	// Capacity is what the scheduler above was told last.
	Capacity Capacity `json:"capacity"`
	// DownSince is zero while a path lives.
	DownSince time.Time `json:"down_since,omitzero"`
	// Masked is the number of the rule for which it has no path; 0: it has one, or
	// none for another reason.
	Masked   int            `json:"masked,omitempty"`
	Gone     bool           `json:"gone,omitempty"`
	Requests int            `json:"requests"`
	Held     map[string]int `json:"held,omitempty"` // by reason
	// SuspendedSince is zero unless the device is suspended. Quiet: nothing is in flight.
	SuspendedSince time.Time    `json:"suspended_since,omitzero"`
	Quiet          bool         `json:"quiet,omitempty"`
	Queueing       Queueing     `json:"queueing,omitempty"`
	Ghosts         []GhostInfo  `json:"ghosts,omitempty"`
	Fences         []FenceCount `json:"fences,omitempty"`
	// Groups are the target port groups, the best first; none without ALUA.
	Groups []GroupInfo `json:"groups,omitempty"`
	// Fencing is the FenceLevel: the weakest of the paths in use.
	Fencing string `json:"fencing"`
	// Shared: others use the LUN too. Barred: changes are refused, why by Reservation.
	Shared      bool   `json:"shared,omitempty"`
	Barred      bool   `json:"barred,omitempty"`
	Reservation string `json:"reservation,omitempty"`
}

// GhostInfo is a range that is held for a change that may still run.
type GhostInfo struct {
	Path           string    `json:"path"`
	Offset, Length uint64    `json:"-"`
	Since          time.Time `json:"since"`
	// Why it is not fenced yet; "": nothing has failed.
	Why string `json:"why,omitempty"`
}

// State gives the device as it is now.
func (d *Device) State() DeviceInfo {
	info := d.Info()
	d.mu.Lock()
	defer d.mu.Unlock()
	i := DeviceInfo{
		Name: d.name, Identity: d.identity.ID, Weak: d.identity.Weak, Alias: d.rule.Alias,
		Vendor: d.base.vendor, Product: d.base.product, Serial: d.base.serial,
		Size: info.Size, Block: info.LogicalBlock, Cache: info.WriteCache.String(),
		Selection: d.selection, SelectionSet: d.selectionSet, Paths: d.pathCountLocked(), Used: d.inUse.Len(), Capacity: d.capacity,
		DownSince: d.downSince, Masked: d.maskedLocked(), Gone: d.gone, Requests: d.ntasks, Queueing: d.queueing,
		Fencing: d.weakestLocked().String(), Shared: d.sharedLocked(), Barred: d.barred,
	}
	if d.rule.Reservation.AllRegistrants {
		i.Reservation = d.reservationLocked().String()
		if d.barred {
			i.Reservation += ": " + d.reserve.reason
		}
	}
	if s := d.suspended; s != nil {
		i.SuspendedSince, i.Quiet = s.since, s.still
	}
	i.Groups, i.Fences = d.groupInfosLocked(), slices.Clone(d.fences)
	for t := d.firstTask; t != nil; t = t.next {
		if t.parked != 0 {
			if i.Held == nil {
				i.Held = map[string]int{}
			}
			i.Held[t.parked.String()]++
		}
	}
	for _, g := range d.ghosts {
		i.Ghosts = append(i.Ghosts, GhostInfo{Path: g.path, Offset: g.c.off, Length: g.c.end - g.c.off, Since: g.at, Why: g.why})
	}
	return i
}

// Paths gives the device's paths as they are now, in the order of their making.
func (d *Device) Paths() []PathInfo {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pathsLocked()
}

func (d *Device) pathsLocked() []PathInfo {
	now := time.Now()
	list := make([]PathInfo, 0, len(d.paths))
	for _, p := range d.paths {
		if !p.left {
			list = append(list, p.infoLocked(now))
		}
	}
	return list
}

func (d *Device) path(name string) *Path {
	d.mu.Lock()
	defer d.mu.Unlock()
	if i := slices.IndexFunc(d.paths, func(p *Path) bool { return p.name == name && !p.left }); i >= 0 {
		return d.paths[i]
	}
	return nil
}

func (d *Device) hasPath(name string) bool { return d.path(name) != nil }

// degradedLocked tells whether fewer paths carry the device than it has.
func (d *Device) degradedLocked() []backends.Range {
	for _, p := range d.paths {
		if p.health != Disabled && !p.usableLocked() {
			return []backends.Range{{Offset: 0, Length: d.base.size}}
		}
	}
	return nil
}

// cutLocked tells whether no path carries the device.
func (d *Device) cutLocked() []backends.Range {
	for _, p := range d.paths {
		if p.usableLocked() {
			return nil
		}
	}
	return []backends.Range{{Offset: 0, Length: d.base.size}}
}
