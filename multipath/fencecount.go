// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// FenceCount counts a device's fences by one method (HAZARDS section 4 rule 13).
type FenceCount struct {
	Method string `json:"method"`
	Done   uint64 `json:"done"`
	Failed uint64 `json:"failed"`
}

// noMethod counts what nothing could even try.
const noMethod = "none"

// countLocked counts a fence by method that was made, or failed.
func (d *Device) countLocked(method string, done bool) {
	method = cmp.Or(method, noMethod)
	i := slices.IndexFunc(d.fences, func(c FenceCount) bool { return c.Method == method })
	if i < 0 {
		i = len(d.fences)
		d.fences = append(d.fences, FenceCount{Method: method})
	}
	if done {
		d.fences[i].Done++
	} else {
		d.fences[i].Failed++
	}
}

// heldOn tells that the n ghosts of lun are held, and why; each of them is shown
// with it until it is fenced.
func (pt *port) heldOn(d *Device, lun uint16, n int, method, reason string) {
	took := time.Duration(0)
	if !pt.fence.since.IsZero() {
		took = time.Since(pt.fence.since)
	}
	d.mu.Lock()
	d.countLocked(method, false)
	for _, g := range d.ghosts {
		if g.port == pt && g.lun == lun {
			g.why = reason
		}
	}
	held := d.heldWritesLocked()
	d.mu.Unlock()
	pt.m.event(Event{
		Kind: FenceFailed, Device: d.name, Path: pt.pathName(lun), Method: method,
		Count: n, Held: held, Duration: took, Reason: reason,
	})
}

// noWay tells, once for each loss, that no way fences ghosts of pt's lost session.
func (pt *port) noWay(s snapshot, ways int, ghosts map[*Device]map[uint16]int) {
	if pt.fence.told {
		return
	}
	pt.fence.told = true
	for d, luns := range ghosts {
		why := fmt.Sprintf("no other way to portal group %d of %s", s.tag, pt.target)
		switch {
		case !s.tagKnown:
			why = "the portal group of the lost session of " + pt.target + " is not known"
		case ways > 0:
			why = fmt.Sprintf("none of %d other ways to portal group %d of %s fences", ways, s.tag, pt.target)
		}
		if d.rule.Reservation.AllRegistrants {
			why += ", and no path that shares its registration key"
		}
		for lun, n := range luns {
			pt.heldOn(d, lun, n, "", why+": writes that overlap wait for "+pt.portal)
		}
	}
}
