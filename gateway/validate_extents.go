// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"fmt"
	"slices"
)

// extentUse is one extent of a disk on an identified LUN; end is exclusive.
type extentUse struct {
	lun, key   string
	start, end Size
	readOnly   bool
}

// ranges lists all extents whose LUN resolve knows, with open ends set to the LUN's size.
func (c *Config) ranges(resolve func(lun string) (identity string, size Size, ok bool)) []extentUse {
	var all []extentUse
	for i, vm := range c.VMs {
		for j, d := range vm.Disks {
			disk := fmt.Sprintf("vms[%d].disks[%d]", i, j)
			for k, e := range d.Extents {
				id, size, ok := resolve(e.LUN)
				if e.LUN == "" || !ok || e.Offset > MaxSize-e.Size {
					continue
				}
				end := e.Offset + e.Size
				if e.Size == 0 {
					end = max(size, e.Offset)
				}
				all = append(all, extentUse{id, extentKey(&c.src, disk, k), e.Offset, end, d.ReadOnly})
			}
		}
	}
	return all
}

// CheckExtents checks the disks against LUNs as they are found: names that turn out
// to mean one LUN with overlapping extents, and extents that end beyond their LUN.
// resolve gives a configured name's identity and size in bytes; ok is false while
// the LUN is not there, and such extents are left alone. Faults are sorted by
// position; none means that all is well.
func (c *Config) CheckExtents(resolve func(lun string) (identity string, size uint64, ok bool)) []Fault {
	sizes := make(map[string]Size)
	all := c.ranges(func(lun string) (string, Size, bool) {
		id, n, ok := resolve(lun)
		size := Size(min(n, uint64(MaxSize)))
		sizes[id] = size
		return id, size, ok
	})
	faults := overlaps(&c.src, all)
	for _, u := range all {
		size := sizes[u.lun]
		switch {
		case u.start >= size:
			faults = append(faults, c.src.fault(u.key, "begins beyond the end of its LUN", fmt.Sprintf("%s has %d bytes", u.lun, size)))
		case u.end > size:
			faults = append(faults, c.src.fault(u.key+".size", "ends beyond the end of its LUN", fmt.Sprintf("%s has %d bytes, the extent ends at %d", u.lun, size, u.end)))
		}
	}
	sortFaults(faults)
	return faults
}

// overlaps reports each extent that begins inside one before it, once. Two read-only
// disks may share.
func overlaps(src *source, all []extentUse) []Fault {
	slices.SortStableFunc(all, func(a, b extentUse) int {
		return cmp.Or(cmp.Compare(a.lun, b.lun), cmp.Compare(a.start, b.start))
	})
	var faults []Fault
	// far is the extent that reaches furthest so far on this LUN; farRW the same
	// among those that are written, which is all that a read-only one can clash with.
	var far, farRW *extentUse
	for i := range all {
		u := &all[i]
		if far != nil && far.lun != u.lun {
			far, farRW = nil, nil
		}
		before := far
		if u.readOnly {
			before = farRW
		}
		if before != nil && before.end > u.start && u.end > u.start {
			first, second := before, u
			if order(src, second.key).before(order(src, first.key)) {
				first, second = second, first
			}
			faults = append(faults, src.fault(second.key, "overlaps "+first.key+" on "+u.lun,
				"extents do not overlap, unless both disks are read-only"))
		}
		if far == nil || u.end > far.end {
			far = u
		}
		if !u.readOnly && (farRW == nil || u.end > farRW.end) {
			farRW = u
		}
	}
	return faults
}

func order(src *source, key string) position { return src.place[key].pos }

func (p position) before(q position) bool {
	return p.line < q.line || p.line == q.line && p.column < q.column
}
