// SPDX-License-Identifier: Apache-2.0

package multipath

import (
	"slices"
	"time"

	"pathgate/backends"
)

const (
	// maxVMs bounds what a device remembers; the requests of further VMs count as
	// nobody's. Far above what one gateway serves.
	maxVMs = 1024
	// vmForget is how long a VM without a request is remembered: longer than any
	// request lasts while a path lives.
	vmForget = time.Minute
	// vmWindow is for how long a path counts as used by a VM, at least; at most it is
	// twice that.
	vmWindow = 2 * time.Second
)

// VM is a VM that sends requests to a device. Guarded by the device's lock.
type VM struct {
	name string
	seen time.Time // its last request

	turnAt    time.Time // end of the vmWindow that recent is of
	recent    PathSet
	before    PathSet // of the window before it
	home, was int     // of perVM: the path that it keeps, and the one that it lost; -1: none
}

// used notes a request on a path.
func (v *VM) used(slot int, now time.Time) {
	v.turn(now)
	v.recent = v.recent.With(slot)
}

// paths gives the paths that it has used lately.
func (v *VM) paths(now time.Time) PathSet {
	v.turn(now)
	return v.recent | v.before
}

func (v *VM) turn(now time.Time) {
	late := now.Sub(v.turnAt)
	if late < 0 {
		return
	}
	v.recent, v.before = 0, v.recent
	if v.turnAt = v.turnAt.Add(vmWindow); late >= vmWindow {
		v.turnAt, v.before = now.Add(vmWindow), 0
	}
}

// vmTable is the VMs that send requests to a device, in the order of their coming.
// The zero vmTable is ready.
type vmTable struct {
	list    []*VM
	byName  map[string]*VM
	version uint64 // grows when VMs are forgotten
	sweepAt time.Time

	// The one that was asked for last: requests come in rows.
	last   *VM
	lastOf *backends.Origin
}

// of gives the VM of an origin, nil if it has none. It allocates for a new one only.
func (t *vmTable) of(o *backends.Origin, now time.Time) *VM {
	if o == nil || o.VM == "" {
		return nil
	}
	if !now.Before(t.sweepAt) {
		t.sweep(now)
	}
	v := t.last
	if o != t.lastOf {
		if v = t.byName[o.VM]; v == nil {
			v = t.join(o.VM)
		}
		t.last, t.lastOf = v, o
	}
	if v != nil {
		v.seen = now
	}
	return v
}

// join adds a VM; nil: there are too many.
func (t *vmTable) join(name string) *VM {
	if len(t.list) == maxVMs {
		return nil
	}
	v := &VM{name: name, home: -1, was: -1}
	if t.byName == nil {
		t.byName = map[string]*VM{}
	}
	t.byName[name] = v
	t.list = append(t.list, v)
	return v
}

// sweep forgets the VMs that are gone.
func (t *vmTable) sweep(now time.Time) {
	t.sweepAt = now.Add(vmForget / 8)
	gone := func(v *VM) bool { return now.Sub(v.seen) >= vmForget }
	if !slices.ContainsFunc(t.list, gone) {
		return
	}
	for _, v := range t.list {
		if gone(v) {
			delete(t.byName, v.name)
		}
	}
	t.list = slices.DeleteFunc(t.list, gone)
	t.last, t.lastOf = nil, nil
	t.version++
}

// on gives the names of the VMs that have used a path lately, sorted.
func (t *vmTable) on(slot int, now time.Time) (names []string) {
	for _, v := range t.list {
		if v.paths(now).Has(slot) {
			names = append(names, v.name)
		}
	}
	slices.Sort(names)
	return names
}
