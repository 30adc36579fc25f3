// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"time"

	"pathgate/backends"
)

// This file is about what a logical unit says that it does, and then does not
// (HAZARDS section 5): an operation that it answers with INVALID COMMAND OPERATION
// CODE is not advertised any more, and after WRITE PROTECTED the device is read-only
// until a path's next proof says otherwise.

// capsOf are those that stand for op; none for what every disk does.
func capsOf(op backends.Op) backends.Caps {
	switch op {
	case backends.Unmap:
		return backends.CanUnmap | backends.UnmapZeroes
	case backends.WriteZeroes:
		return backends.CanWriteZeroes
	case backends.CompareAndWrite:
		return backends.CanCompareAndWrite
	case backends.BlockStatus:
		return backends.CanBlockStatus
	case backends.Verify:
		return backends.CanVerify
	case backends.Cache:
		return backends.CanCache
	case backends.Read, backends.Write, backends.Flush:
	}
	return 0
}

// spaceQuiet is how long after one warning about space all others are of the same
// crossing of the threshold: each path's session has one of its own.
const spaceQuiet = time.Minute

// lacking is what a logical unit was found not to do.
type lacking struct {
	ops     backends.Caps
	changes bool      // any, since it is write protected
	space   time.Time // when it was last told that space runs out
}

// lacksLocked takes note of what the end of an attempt of op says.
func (d *Device) lacksLocked(out *outbox, op backends.Op, e effect) {
	was := d.lacks
	switch e {
	case effectUnsupported:
		d.lacks.ops |= capsOf(op)
	case effectProtected:
		d.lacks.changes = true
	default:
	}
	if d.lacks != was {
		out.change |= d.informLocked()
	}
}

// allUnreadyLocked tells that every path is down since the logical unit has said there
// that it is not ready: it is not the paths that are at fault, and no use to wait.
func (d *Device) allUnreadyLocked() bool {
	for _, p := range d.paths {
		if !p.left && p.health != Disabled && !p.unready {
			return false
		}
	}
	return true
}

// weaken changes what is advertised by it.
func (l lacking) weaken(caps *backends.Caps) {
	*caps &^= l.ops
	if l.changes {
		*caps |= backends.ReadOnly
	}
}

// spaceLow tells that the LUN of p runs out of space; p may be nil.
func (p *Path) spaceLow(now time.Time) {
	if p == nil {
		return
	}
	d := p.dev
	d.mu.Lock()
	tell := now.Sub(d.lacks.space) >= spaceQuiet
	d.lacks.space = now
	d.mu.Unlock()
	if tell {
		d.m.event(Event{Kind: SpaceLow, Device: d.name, Path: p.name, Reason: "6/38/07: the threshold of the thin pool was crossed"})
	}
}
