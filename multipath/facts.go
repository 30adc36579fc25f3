// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"fmt"
	"math"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// facts is what a path's LUN told about itself at the last proof.
type facts struct {
	identity                scsi.Identity
	vendor, product, serial string
	revision                string
	size                    uint64 // bytes
	block, physical         uint32 // bytes
	maxBlocks, optimal      uint32 // blocks; 0: not told
	maxUnmap                uint32 // blocks; 0: UNMAP does not work
	maxZeroes               uint64 // blocks of WRITE SAME; 0: not told
	compare                 uint8  // blocks of COMPARE AND WRITE; 0: none
	unmap, writeSame        bool
	unmapZeroes             bool
	unmapSame               bool // WRITE SAME with UNMAP, which leaves zeros
	status                  bool // GET LBA STATUS may tell something
	fua                     bool // DPOFUA
	protected               bool // WP
	cacheKnown, cache       bool // WCE
	rotational              bool
	implicit, explicit      bool // ALUA: the target changes states by itself, by SET TARGET PORT GROUPS
	hasGroup, hasPort       bool
	group, port             uint16      // target port group, relative target port
	report                  groupReport // of the groups; none: the target does not tell
}

// differs tells in what g is not the logical unit that f is, "" if it is.
func (f *facts) differs(g *facts) string {
	switch {
	case f.identity.ID != g.identity.ID:
		return fmt.Sprintf("identity %s instead of %s", g.identity.ID, f.identity.ID)
	case f.block != g.block:
		return fmt.Sprintf("block size %d instead of %d", g.block, f.block)
	case f.serial != g.serial:
		return fmt.Sprintf("serial number %q instead of %q", g.serial, f.serial)
	case f.vendor != g.vendor || f.product != g.product:
		return fmt.Sprintf("vendor and product %q %q instead of %q %q", g.vendor, g.product, f.vendor, f.product)
	case f.size != g.size:
		return fmt.Sprintf("size %d instead of %d bytes", g.size, f.size)
	}
	return ""
}

// grownTo tells that g differs from f in nothing but a larger size.
func (f *facts) grownTo(g *facts) bool {
	same := *g
	same.size = f.size
	return g.size > f.size && f.differs(&same) == ""
}

// geometry is what the path's session needs. The device may be smaller, and checks
// that itself.
func (f *facts) geometry() backends.Geometry {
	return backends.Geometry{
		LogicalBlock: f.block, Size: f.size, FUA: f.fua,
		Unmap: f.unmap, WriteSame: f.writeSame, UnmapSame: f.unmapSame, MaxBlocks: f.maxBlocks,
	}
}

// informLocked makes Info of the weakest of what all paths say (P18).
// Quarantined paths say nothing.
func (d *Device) informLocked() (changed backends.Change) {
	if d.pathCountLocked() == 0 && d.info.Load() != nil {
		return 0 // nobody says anything any more: it stays as it was
	}
	i := backends.Info{
		Size: d.base.size, LogicalBlock: d.base.block, PhysicalBlock: d.base.physical,
		Caps: backends.CanFUA | backends.CanUnmap | backends.UnmapZeroes | backends.CanWriteZeroes |
			backends.CanCompareAndWrite | backends.CanBlockStatus |
			backends.CanVerify | backends.CanCache | backends.MultiConn,
		Identity: d.identity.ID, Available: !d.gone, Degraded: d.degradedLocked(), Cut: d.cutLocked(),
	}
	d.noCache = true
	least := uint32(math.MaxUint32)
	n := 0
	for _, p := range d.paths {
		if p.health == Quarantined || p.facts.block == 0 {
			continue
		}
		n++
		f := &p.facts
		weaken(&i.Caps, f)
		d.noCache = d.noCache && f.cacheKnown && !f.cache
		if f.maxBlocks > 0 {
			least = min(least, f.maxBlocks)
		}
		if c := uint32(f.compare) * f.block; c > 0 && (i.MaxCompare == 0 || c < i.MaxCompare) {
			i.MaxCompare = c
		}
		i.OptimalTransfer = max(i.OptimalTransfer, transferBytes(f.optimal, f.block))
		if f.maxUnmap > 0 && f.maxUnmap < math.MaxUint32 {
			m := uint64(f.maxUnmap) * uint64(f.block)
			if i.MaxUnmap == 0 || m < i.MaxUnmap {
				i.MaxUnmap = m
			}
		}
		if m := f.maxZeroes; m > 0 && m <= math.MaxUint64/uint64(f.block) {
			if m *= uint64(f.block); i.MaxZeroes == 0 || m < i.MaxZeroes {
				i.MaxZeroes = m
			}
		}
	}
	d.lacks.weaken(&i.Caps)
	if d.sharedLocked() {
		i.Caps |= backends.Shared
	}
	d.noCache = d.noCache && n > 0
	if least < math.MaxUint32 {
		i.MaxTransfer = transferBytes(least, d.base.block)
		i.OptimalTransfer = min(i.OptimalTransfer, i.MaxTransfer)
	}
	switch {
	case d.noCache:
		i.WriteCache = backends.CacheNone
	case d.rule.CacheProtected:
		i.WriteCache = backends.CacheProtected
	default:
		i.WriteCache = backends.CacheVolatile
	}
	old := d.info.Swap(&i)
	if old == nil {
		return 0
	}
	if old.Size != i.Size {
		changed |= backends.SizeChanged
	}
	if old.Available != i.Available {
		changed |= backends.AvailabilityChanged
	}
	if old.Caps != i.Caps || old.MaxTransfer != i.MaxTransfer || old.MaxUnmap != i.MaxUnmap ||
		old.MaxCompare != i.MaxCompare || old.MaxZeroes != i.MaxZeroes || old.WriteCache != i.WriteCache {
		changed |= backends.CapsChanged
	}
	if len(old.Degraded) != len(i.Degraded) || len(old.Cut) != len(i.Cut) {
		changed |= backends.DegradedChanged
	}
	return changed
}

// weaken takes from caps what f does not do, and adds what limits.
func weaken(caps *backends.Caps, f *facts) {
	for _, c := range [...]struct {
		cap  backends.Caps
		does bool
	}{
		{backends.CanFUA, f.fua || f.cacheKnown && !f.cache},
		{backends.CanUnmap, f.unmap},
		{backends.UnmapZeroes, f.unmapZeroes},
		{backends.CanWriteZeroes, f.writeSame},
		{backends.CanCompareAndWrite, f.compare > 0},
		{backends.CanBlockStatus, f.status},
	} {
		if !c.does {
			*caps &^= c.cap
		}
	}
	if f.protected {
		*caps |= backends.ReadOnly
	}
	if f.rotational {
		*caps |= backends.Rotational
	}
}

// transferBytes is blocks in bytes, kept inside 32 bits and whole blocks.
func transferBytes(blocks, block uint32) uint32 {
	return uint32(min(uint64(blocks)*uint64(block), math.MaxUint32&^uint64(block-1)))
}
