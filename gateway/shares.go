// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"

	"pathgate/share"
)

// Why a change of shares is refused. ErrShareInvalid is under every ShareFault.
var (
	ErrShareInvalid = errors.New("not allowed")
	ErrShareUnknown = errors.New("not known")
)

// ShareFault is one value that was refused: Object is a disk ("vm1/root"), a VM, a
// group or a device.
type ShareFault struct {
	Object string
	share.Fault
}

// Error is "object: key: value message (rule)".
func (f ShareFault) Error() string { return f.Object + ": " + f.Fault.Error() }

// Unwrap is ErrShareInvalid.
func (f ShareFault) Unwrap() error { return ErrShareInvalid }

// Shares knows who is to get what: the configuration, what was set at run time, and
// where the disks were found to lie. From these it makes the plans of all schedulers,
// and hands each that has changed to those who asked for it.
//
// All methods are safe for concurrent use. A change returns when it is on stable
// storage and every applier has been called with it, or with an error and nothing
// changed. Appliers are called one after the other, with no lock held that a reading
// method takes; they must not block and must not call a method that changes anything.
type Shares struct {
	store *Store

	// changes is held over a whole change, so that plans reach their appliers in order.
	// Taken before mu, and before the store's lock and those of appliers.
	changes sync.Mutex

	mu sync.RWMutex // guards what follows; leaf
	// stored is what the store has, shareState what of it counts.
	stored   ShareOverrides
	ignored  []ShareWarning
	state    shareState
	byName   map[string]*shareDisk
	version  uint32
	lunPlans map[string]LUNPlan
	diskPlan map[string]DiskPlan
	// appliers are by device or disk.
	lunAppliers  map[string]map[*func(LUNPlan)]bool
	diskAppliers map[string]map[*func(DiskPlan)]bool
}

// NewShares reads the overrides of a store. Those of disks and VMs that cfg does not
// have, and those that do not go with it any more, are kept there and do not count:
// Warnings tells of them. The store stays the caller's and must outlive the Shares.
func NewShares(cfg *Config, store *Store) (*Shares, error) {
	stored, err := store.ShareOverrides()
	if err != nil {
		return nil, err
	}
	s := &Shares{
		store: store, stored: stored, byName: map[string]*shareDisk{},
		state:    shareState{cfg: cfg, luns: stored.LUNs, devices: map[string]ShareDevice{}, ofVM: map[string][]*shareDisk{}},
		lunPlans: map[string]LUNPlan{}, diskPlan: map[string]DiskPlan{},
		lunAppliers: map[string]map[*func(LUNPlan)]bool{}, diskAppliers: map[string]map[*func(DiskPlan)]bool{},
	}
	for i := range cfg.VMs {
		vm := &cfg.VMs[i]
		for j := range vm.Disks {
			d := &shareDisk{vm: vm.Name, name: vm.Name + "/" + vm.Disks[j].Name}
			s.state.disks = append(s.state.disks, d)
			s.state.ofVM[d.vm] = append(s.state.ofVM[d.vm], d)
			s.byName[d.name] = d
		}
	}
	s.ignored = s.refreshLocked()
	for _, d := range s.state.disks {
		s.diskPlan[d.name] = s.state.planDisk(d)
	}
	return s, nil
}

// refreshLocked works out from configuration and overrides what holds for every disk,
// and tells which overrides do not count.
func (s *Shares) refreshLocked() (ignored []ShareWarning) {
	cfg, known := s.state.cfg, map[string]bool{}
	i := 0
	for v := range cfg.VMs {
		vm := &cfg.VMs[v]
		known[vm.Name] = true
		priority, faults := effectivePriority(vm, s.stored.VMs[vm.Name])
		ignored = append(ignored, ignoredOverride("", vm.Name, faults)...)
		for j := range vm.Disks {
			d := s.state.disks[i]
			i++
			d.priority = priority
			d.share, faults = cfg.effectiveShare(&vm.Disks[j], s.stored.Disks[d.name])
			ignored = append(ignored, ignoredOverride(d.name, vm.Name, faults)...)
		}
	}
	s.state.groups = nil // plans that were handed out may hold the old ones
	for i := range cfg.Groups {
		g := &cfg.Groups[i]
		e, faults := effectiveGroup(g, s.stored.Groups[g.Name])
		s.state.groups = append(s.state.groups, GroupPlan{g.Name, e})
		ignored = append(ignored, ignoredOverride("", "", faults)...)
	}
	for _, name := range slices.Sorted(maps.Keys(s.stored.Disks)) {
		if s.byName[name] == nil {
			ignored = append(ignored, ShareWarning{Code: WarnOverrideOfNobody, Disk: name, Message: keptForNobody("disk", name)})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.stored.VMs)) {
		if !known[name] {
			ignored = append(ignored, ShareWarning{Code: WarnOverrideOfNobody, VM: name, Message: keptForNobody("VM", name)})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.stored.Groups)) {
		if cfg.groupID(name) == 0 {
			ignored = append(ignored, ShareWarning{Code: WarnOverrideOfNobody, Message: keptForNobody("group", name)})
		}
	}
	return ignored
}

func keptForNobody(what, name string) string {
	return fmt.Sprintf("what was set at run time for %s %s is kept and has no effect: there is no such %s", what, name, what)
}

func ignoredOverride(disk, vm string, faults []share.Fault) (list []ShareWarning) {
	for _, f := range faults {
		list = append(list, ShareWarning{
			Code: WarnOverrideIgnored, VM: vm, Disk: disk,
			Message: "what was set at run time does not go with the configuration: " + f.Error(),
		})
	}
	return list
}

// Set changes what o sets for one disk, by its full name, and leaves the rest.
func (s *Shares) Set(disk string, o ShareOverride) error {
	return s.Change(ShareOverrides{Disks: map[string]ShareOverride{disk: o}})
}

// SetVM changes what o sets for a VM.
func (s *Shares) SetVM(vm string, o VMOverride) error {
	return s.Change(ShareOverrides{VMs: map[string]VMOverride{vm: o}})
}

// SetGroup changes what o sets for a group.
func (s *Shares) SetGroup(group string, o GroupOverride) error {
	return s.Change(ShareOverrides{Groups: map[string]GroupOverride{group: o}})
}

// SetLUN changes what o sets for a device, by one of its names.
func (s *Shares) SetLUN(device string, o LUNOverride) error {
	return s.Change(ShareOverrides{LUNs: map[string]LUNOverride{device: o}})
}

// Change sets several at once, all or none. What is set must go with the rest: the
// error joins a ShareFault for each value that does not, or is ErrShareUnknown. What
// set points to is not changed afterwards.
func (s *Shares) Change(set ShareOverrides) error {
	return s.change(set, func(old, set ShareOverrides) ShareOverrides {
		return ShareOverrides{
			Disks: mergedAll(old.Disks, set.Disks), VMs: mergedAll(old.VMs, set.VMs),
			Groups: mergedAll(old.Groups, set.Groups), LUNs: mergedAll(old.LUNs, set.LUNs),
		}
	})
}

func mergedAll[T any](old, set map[string]T) map[string]T {
	all := make(map[string]T, len(set))
	for name, o := range set {
		all[name] = merged(old[name], o)
	}
	return all
}

// Reset takes the disk back to the configuration, also one that is there no more.
func (s *Shares) Reset(disk string) error {
	return s.reset(ShareOverrides{Disks: map[string]ShareOverride{disk: {}}})
}

// ResetVM takes the VM back to the configuration, but not its disks.
func (s *Shares) ResetVM(vm string) error {
	return s.reset(ShareOverrides{VMs: map[string]VMOverride{vm: {}}})
}

// ResetGroup takes the group back to the configuration.
func (s *Shares) ResetGroup(group string) error {
	return s.reset(ShareOverrides{Groups: map[string]GroupOverride{group: {}}})
}

// ResetLUN takes the device back to the configuration.
func (s *Shares) ResetLUN(device string) error {
	return s.reset(ShareOverrides{LUNs: map[string]LUNOverride{device: {}}})
}

func (s *Shares) reset(set ShareOverrides) error {
	return s.change(set, func(_, set ShareOverrides) ShareOverrides { return set })
}

// change replaces overrides by what next makes of the old ones and set.
func (s *Shares) change(set ShareOverrides, next func(old, set ShareOverrides) ShareOverrides) error {
	s.changes.Lock()
	defer s.changes.Unlock()
	set, err := s.resolve(set)
	if err != nil {
		return err
	}
	records := next(s.stored, set)
	if err := s.check(records); err != nil {
		return err
	}
	if s.holds(records) {
		return nil
	}
	if err := s.store.PutShareOverrides(records); err != nil {
		return err
	}
	s.mu.Lock()
	replace(s.stored.Disks, records.Disks)
	replace(s.stored.VMs, records.VMs)
	replace(s.stored.Groups, records.Groups)
	replace(s.stored.LUNs, records.LUNs)
	s.ignored = s.refreshLocked()
	s.mu.Unlock()
	s.replan()
	return nil
}

// holds tells whether all of set is stored already.
func (s *Shares) holds(set ShareOverrides) bool {
	return sameRecords(s.stored.Disks, set.Disks) && sameRecords(s.stored.VMs, set.VMs) &&
		sameRecords(s.stored.Groups, set.Groups) && sameRecords(s.stored.LUNs, set.LUNs)
}

func sameRecords[T any](old, set map[string]T) bool {
	for name, o := range set {
		if !reflect.DeepEqual(old[name], o) {
			return false
		}
	}
	return true
}

// replace takes records over; empty ones go.
func replace[T any](into, set map[string]T) {
	for name, o := range set {
		if reflect.ValueOf(o).IsZero() {
			delete(into, name)
		} else {
			into[name] = o
		}
	}
}

// DiskShare gives what holds for a disk, and what of it was set at run time.
func (s *Shares) DiskShare(disk string) (d DiskShare, set ShareOverride, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if k := s.byName[disk]; k != nil {
		return k.share, s.stored.Disks[disk], true
	}
	return d, set, false
}

// Effective gives what holds for a disk now; the zero value for one that is not known.
func (s *Shares) Effective(disk string) DiskShare {
	d, _, _ := s.DiskShare(disk)
	return d
}

// VMPriority gives a VM's priority, and what was set at run time.
func (s *Shares) VMPriority(vm string) (priority uint8, set VMOverride, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i := range s.state.cfg.VMs {
		if v := &s.state.cfg.VMs[i]; v.Name == vm {
			set = s.stored.VMs[vm]
			priority, _ = effectivePriority(v, set)
			return priority, set, true
		}
	}
	return 0, set, false
}

// GroupShare gives what holds for a group, and what of it was set at run time.
func (s *Shares) GroupShare(group string) (e share.GroupEntitlement, set GroupOverride, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if id := s.state.cfg.groupID(group); id != 0 {
		return s.state.groups[id-1].Entitlement, s.stored.Groups[group], true
	}
	return e, set, false
}

// LUNShare gives the plan of a device, by one of its names, and what was set for it at
// run time.
func (s *Shares) LUNShare(device string) (p LUNPlan, set LUNOverride, ok bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	name, err := s.state.deviceName(device)
	if err != nil {
		return p, set, false
	}
	p, ok = s.lunPlans[name]
	return p, s.stored.LUNs[name], ok
}

// Warnings tells of overrides that have no effect. Those of a device are in its plan.
func (s *Shares) Warnings() []ShareWarning {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.ignored)
}

// deviceName finds a device by one of its names.
func (s *shareState) deviceName(name string) (string, error) {
	if _, ok := s.devices[name]; ok {
		return name, nil
	}
	var found []string
	for _, d := range s.devices {
		if name != "" && slices.Contains(d.Names, name) {
			found = append(found, d.Name)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%w: device %q", ErrShareUnknown, name)
	case 1:
		return found[0], nil
	}
	slices.Sort(found)
	return "", fmt.Errorf("%w: device %q is each of %v", ErrShareUnknown, name, found)
}
