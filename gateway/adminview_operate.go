// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"pathgate/gateway/control"
	"pathgate/multipath"
	"pathgate/share"
)

// lastRescan is the rescan that an administrator began last.
type lastRescan struct {
	mu      sync.Mutex
	run     *multipath.RescanRun
	started time.Time
	adapter string
}

// verbError turns the path manager's refusals over.
func verbError(err error) error {
	switch {
	case errors.Is(err, multipath.ErrNotFound):
		return control.NotFound(err)
	case errors.Is(err, multipath.ErrDisabled):
		return control.Conflict(errors.New("it is disabled; enable it first"))
	case errors.Is(err, multipath.ErrQuarantined):
		return control.Conflict(errors.New("it is quarantined and carries nothing"))
	}
	return err
}

// FailPath takes a path down as a fault would.
func (s *adminView) FailPath(name string, hold bool) error {
	if s.paths == nil {
		return fmt.Errorf("path %s: %w", name, control.ErrNotFound)
	}
	return verbError(s.paths.FailPath(name, hold))
}

// ReinstatePath has a path proved now.
func (s *adminView) ReinstatePath(name string) error {
	if s.paths == nil {
		return fmt.Errorf("path %s: %w", name, control.ErrNotFound)
	}
	return verbError(s.paths.ReinstatePath(name))
}

// PathHistory gives the last changes of a path.
func (s *adminView) PathHistory(name string) []control.PathChange {
	if s.paths == nil {
		return nil
	}
	var list []control.PathChange
	for _, c := range s.paths.PathHistory(name) {
		list = append(list, control.PathChange{Time: c.Time.UTC(), Health: c.Health.String(), Access: c.Access.String(), Reason: c.Reason})
	}
	return list
}

// StartRescan begins to ask the targets again.
func (s *adminView) StartRescan(adapter string) error {
	if s.paths == nil {
		return fmt.Errorf("no targets are configured: %w", control.ErrNotFound)
	}
	run, err := s.paths.StartRescan(adapter)
	if err != nil {
		return verbError(err)
	}
	s.rescan.mu.Lock()
	defer s.rescan.mu.Unlock()
	s.rescan.run, s.rescan.started, s.rescan.adapter = run, time.Now().UTC(), adapter
	return nil
}

// Rescan is the one that was begun last.
func (s *adminView) Rescan() control.Rescan {
	s.rescan.mu.Lock()
	defer s.rescan.mu.Unlock()
	if s.rescan.run == nil {
		return control.Rescan{}
	}
	return control.Rescan{
		Started: s.rescan.started, Adapter: s.rescan.adapter,
		Sessions: s.rescan.run.Sessions(), Waiting: s.rescan.run.Waiting(),
	}
}

// Operated publishes what an administrator is about to have done.
func (s *adminView) Operated(o control.Operation) {
	e := Event{Kind: KindOperator, Severity: SeverityNotice, Device: o.Device, Path: o.Path}
	words := []string{o.Verb}
	if o.Path != "" {
		words = append(words, o.Path)
	} else if o.Device != "" {
		words = append(words, o.Device)
	}
	by := "somebody unknown"
	if o.UID >= 0 {
		by = "uid " + strconv.Itoa(o.UID)
	}
	e.Message = strings.Join(words, " ") + ", asked for by " + by
	e.Attrs = append(e.Attrs, Attr{"verb", o.Verb}, Attr{"uid", strconv.Itoa(o.UID)}, Attr{"pid", strconv.Itoa(o.PID)})
	for _, a := range o.Details {
		e.Attrs = append(e.Attrs, Attr(a))
	}
	s.bus.Publish(e)
}

// Simulate tells what would be left of a device without the paths of these names.
func (s *adminView) Simulate(device string, without []string) (control.Simulation, error) {
	if s.paths == nil {
		return control.Simulation{}, fmt.Errorf("device %s: %w", device, control.ErrNotFound)
	}
	list := s.paths.Devices()
	i := slices.IndexFunc(list, func(d *multipath.Device) bool { return d.Name() == device })
	if i < 0 {
		return control.Simulation{}, fmt.Errorf("device %s: %w", device, control.ErrNotFound)
	}
	d := list[i]
	sim := d.Simulate(func(p multipath.PathInfo) bool { return slices.Contains(without, p.Name) })
	out := control.Simulation{
		Device: device, Without: sim.Without, Left: sim.Left, Access: sim.Access, Health: sim.Health, Moves: sim.Moves,
		CapacityNow: sim.Before.Now, CapacityThen: sim.After.Now, CapacityNominal: sim.After.Nominal, CapacityUnit: sim.After.Unit,
	}
	out.Aliases = (*Gateway)(s).namesOf(d)[1:]
	for _, sd := range s.disks {
		if sd.isOn(d) {
			out.Disks = append(out.Disks, control.SimulatedDisk{
				Disk: sd.FullName(), LosesAllPaths: len(sim.Left) == 0, AllPathsDown: (*Gateway)(s).pathWait(sd, d).String(),
			})
		}
	}
	s.mu.Lock()
	rt := s.routers[d]
	s.mu.Unlock()
	if rt != nil {
		out.Known, out.VMs = rt.simulate(kappa(float64(sim.After.Now), float64(sim.After.Nominal)))
	}
	return out, nil
}

// isOn tells whether the disk has an extent on a device.
func (d *servedDisk) isOn(dev *multipath.Device) bool {
	d.Disk.mu.Lock()
	defer d.Disk.mu.Unlock()
	for i := range d.pieces {
		if rt := d.pieces[i].router; rt != nil && rt.Device() == dev {
			return true
		}
	}
	return false
}

// simulate tells what the VMs here would get of kappa; known: the capacity is.
func (rt *Router) simulate(kappa uint32) (known bool, list []control.SimulatedVM) {
	s, ok := rt.sched.(*sharing)
	if !ok {
		return false, nil
	}
	var now share.Snapshot
	var then share.Forecast
	s.disk.Status(&now)
	s.disk.Forecast(&then, kappa)
	rt.mu.Lock()
	plan := rt.plan
	rt.mu.Unlock()
	for i := range then.Flows {
		f := &then.Flows[i]
		vm := simulateVM(f, &now, kappa)
		vm.VM = rt.FlowVM(f.Flow)
		vm.Disks = plan.Flows[vm.VM].Disks
		list = append(list, vm)
	}
	return capacityKnown(&now), list
}

// capacityKnown tells whether what the device does is what it can do.
func capacityKnown(s *share.Snapshot) bool { return s.Measured && s.Capacity > 0 }

// simulateVM is one flow of now at kappa. It is below what it should have only where
// the capacity is known, or nothing is left.
func simulateVM(f *share.FlowForecast, now *share.Snapshot, kappa uint32) control.SimulatedVM {
	vm := control.SimulatedVM{Active: f.Active, UsedCU: cuPerSecond(f.Use), ReservedCU: cuPerSecond(f.Wanted)}
	vm.ReservedThenCU, vm.ReservedClaimedCU = cuPerSecond(f.Reservation), cuPerSecond(f.Claimed)
	judged := capacityKnown(now) || kappa == 0
	if judged {
		vm.BelowReservation, vm.BelowIfClaimed = f.Reservation < f.Wanted, f.Claimed < f.Wanted
	}
	vm.EntitledThenCU = cuPerSecond(f.Entitlement)
	for j := range now.Flows {
		if g := &now.Flows[j]; g.Flow == f.Flow {
			vm.EntitledCU = cuPerSecond(g.Entitlement)
			vm.BelowEntitlement = judged && f.Entitlement < g.Entitlement
		}
	}
	return vm
}

var _ control.OperatorSource = (*adminView)(nil)
