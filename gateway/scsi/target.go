// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// Errors of a Target.
var (
	// ErrLUNTaken: another unit has the LUN.
	ErrLUNTaken = errors.New("LUN is in use")
	// ErrNoPort: the target has no such port.
	ErrNoPort = errors.New("no such target port")
)

// maxLUN is the last LUN with an address of two bytes.
const maxLUN = 16383

// Port is a target port: for iSCSI, a portal group.
type Port struct {
	// Relative is the relative target port identifier, not 0, unique in the
	// target and, where units are in several targets, over these.
	Relative uint16
	// PortalGroupTag makes the port's name: "iqn...,t,0x0001".
	PortalGroupTag uint16
	// Group is the target port group that it belongs to (ALUA).
	Group uint16
}

// TargetConfig describes a Target.
type TargetConfig struct {
	// Name is the iSCSI name of the target.
	Name string
	// Ports, at least one.
	Ports []Port
}

// Mapping is a unit as a target shows it.
type Mapping struct {
	Unit *Unit
	// Origin tells whose requests they are; its Connection is filled in for each
	// nexus.
	Origin backends.Origin
	// ReadOnly refuses changes through this target.
	ReadOnly bool
}

// Target maps LUNs to units for the nexuses of one iSCSI target. All methods are
// safe for concurrent use. Make it with NewTarget.
type Target struct {
	cfg TargetConfig

	mu      sync.Mutex
	units   []mapped // ascending by LUN
	groups  []scsi.PortGroup
	nexuses map[*Nexus]struct{}
}

type mapped struct {
	lun scsi.LUN
	Mapping
}

// NewTarget makes a target without units. All its port groups are
// active/optimized until SetPortGroups.
func NewTarget(cfg TargetConfig) (*Target, error) {
	if cfg.Name == "" || len(cfg.Ports) == 0 {
		return nil, errors.New("target needs a name and a port")
	}
	t := &Target{cfg: cfg, nexuses: make(map[*Nexus]struct{})}
	t.cfg.Ports = slices.Clone(cfg.Ports)
	for i, p := range t.cfg.Ports {
		if p.Relative == 0 {
			return nil, fmt.Errorf("target %q: relative port identifier 0", cfg.Name)
		}
		for _, q := range t.cfg.Ports[:i] {
			if q.Relative == p.Relative {
				return nil, fmt.Errorf("target %q: two ports have the identifier %d", cfg.Name, p.Relative)
			}
		}
	}
	t.groups = t.defaultGroups()
	return t, nil
}

func (t *Target) defaultGroups() (groups []scsi.PortGroup) {
	for _, p := range t.cfg.Ports {
		i := slices.IndexFunc(groups, func(g scsi.PortGroup) bool { return g.ID == p.Group })
		if i < 0 {
			i = len(groups)
			groups = append(groups, scsi.PortGroup{
				ID: p.Group, State: scsi.ActiveOptimized, Supported: scsi.SupportsActiveOptimized,
			})
		}
		groups[i].Ports = append(groups[i].Ports, p.Relative)
	}
	return groups
}

// Name gives the iSCSI name of the target.
func (t *Target) Name() string { return t.cfg.Name }

// LUNs gives the numbers that are mapped, in ascending order.
func (t *Target) LUNs() []scsi.LUN {
	t.mu.Lock()
	defer t.mu.Unlock()
	luns := make([]scsi.LUN, len(t.units))
	for i := range t.units {
		luns[i] = t.units[i].lun
	}
	return luns
}

func (t *Target) findLocked(lun scsi.LUN) (int, bool) {
	return slices.BinarySearchFunc(t.units, lun, func(m mapped, l scsi.LUN) int { return int(m.lun) - int(l) })
}

// Add maps lun, at most 16383. The nexuses are told by a unit attention
// (3F/0E) on their other units.
func (t *Target) Add(lun scsi.LUN, m Mapping) error {
	if lun > maxLUN || m.Unit == nil {
		return fmt.Errorf("LUN %d of target %q: not possible", lun, t.cfg.Name)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i, taken := t.findLocked(lun)
	if taken {
		return fmt.Errorf("LUN %d of target %q: %w", lun, t.cfg.Name, ErrLUNTaken)
	}
	t.units = slices.Insert(t.units, i, mapped{lun, m})
	for n := range t.nexuses {
		n.tellInventoryLocked()
		n.linkLocked(t.units[i])
	}
	return nil
}

// Remove takes lun away: tasks of this target's nexuses on it end without an
// answer, and done is called when they have. It tells by 3F/0E as Add does.
// A LUN that is not mapped is no error.
func (t *Target) Remove(b *backends.Batch, lun scsi.LUN, done Done) {
	t.mu.Lock()
	var links []*link
	if i, ok := t.findLocked(lun); ok {
		t.units = slices.Delete(t.units, i, i+1)
		for n := range t.nexuses {
			if l := n.unlinkLocked(lun); l != nil {
				links = append(links, l)
			}
			n.tellInventoryLocked()
		}
	}
	t.mu.Unlock()
	endLinks(b, links, done)
}

// SetPortGroups changes the access states that REPORT TARGET PORT GROUPS tells;
// the nexuses get the unit attention 2A/06. Every port has to be in one group.
func (t *Target) SetPortGroups(groups []scsi.PortGroup) error {
	for _, p := range t.cfg.Ports {
		n := 0
		for _, g := range groups {
			if slices.Contains(g.Ports, p.Relative) && g.ID == p.Group {
				n++
			}
		}
		if n != 1 {
			return fmt.Errorf("target %q: port %d has to be once in its group %d", t.cfg.Name, p.Relative, p.Group)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.groups = groups
	for n := range t.nexuses {
		n.tellLocked(scsi.CodeAccessStateChanged)
	}
	return nil
}

func (t *Target) port(relative uint16) (Port, bool) {
	for _, p := range t.cfg.Ports {
		if p.Relative == relative {
			return p, true
		}
	}
	return Port{}, false
}
