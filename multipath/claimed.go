// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"slices"
	"time"
)

// maskedHealth is what is shown in place of the health of a masked path.
const maskedHealth = "masked"

// ClaimedPath is what claim rules have to do with one path, used or masked.
type ClaimedPath struct {
	// ClaimFacts has Known unset for a LUN that was masked before it was ever asked.
	ClaimFacts
	// Device is the canonical name of the device that it is a path of, or would be;
	// empty where that is not known.
	Device string
	// Masked is the number of the rule that masks it; 0: none, it is in its device.
	// Leaving: masked, and still in its device.
	Masked  int
	Leaving bool
	// Health is that of PathInfo. Usable: it can carry I/O. Since is the last change.
	Health string
	Usable bool
	Since  time.Time
}

// ClaimedPaths gives all paths with those that are masked, by name.
func (m *Manager) ClaimedPaths() []ClaimedPath {
	var all []ClaimedPath
	for _, pt := range m.portList() {
		all = append(all, pt.claimedPaths()...)
	}
	slices.SortFunc(all, func(a, b ClaimedPath) int { return comparePaths(a.Path, b.Path) })
	return all
}

func (pt *port) claimedPaths() (list []ClaimedPath) {
	pt.mu.Lock()
	defer pt.mu.Unlock()
	for lun, p := range pt.paths {
		d := p.dev
		d.mu.Lock()
		c := ClaimedPath{
			ClaimFacts: pt.claimFacts(lun).with(&p.facts), Device: d.name, Masked: p.mask, Leaving: p.mask != 0,
			Health: p.health.String(), Usable: p.health.Carries() && p.mask == 0, Since: p.changed,
		}
		d.mu.Unlock()
		if c.Leaving {
			c.Health = maskedHealth
		}
		list = append(list, c)
	}
	for _, h := range pt.masked {
		list = append(list, ClaimedPath{ClaimFacts: h.facts, Device: h.device, Masked: h.rule, Health: maskedHealth, Since: h.since})
	}
	return list
}
