// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pathgate/gateway/control"
)

// FailPath, ReinstatePath and the others make fakeState an OperatorSource.
func (s *fakeState) FailPath(name string, hold bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pathLocked(name)
	if p == nil {
		return control.ErrNotFound
	}
	p.Health, p.Held, p.Used = "down", hold, false
	return nil
}

func (s *fakeState) ReinstatePath(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pathLocked(name)
	switch {
	case p == nil:
		return control.ErrNotFound
	case p.Disabled:
		return control.Conflict(fmt.Errorf("it is disabled; enable it first"))
	case p.Portal == "127.0.0.1:13262": // does not answer
		p.Held, p.Proving = false, true
		return nil
	}
	p.Health, p.Held = "up", false
	return nil
}

func (s *fakeState) pathLocked(name string) *control.Path {
	if i := slices.IndexFunc(s.paths, func(p control.Path) bool { return p.Name == name }); i >= 0 {
		return &s.paths[i]
	}
	return nil
}

func (s *fakeState) PathHistory(name string) []control.PathChange {
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	return []control.PathChange{
		{Time: at, Health: "up", Access: "optimized"},
		{Time: at.Add(time.Second), Health: "down", Access: "optimized", Reason: "of " + name + ": no answer to NOP-Out"},
	}
}

func (s *fakeState) StartRescan(adapter string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if adapter != "" && !strings.HasPrefix(adapter, "vmhba") {
		return control.ErrNotFound
	}
	s.rescan = control.Rescan{Started: time.Now(), Adapter: adapter, Sessions: 4, Waiting: []string{"vmhba1:3"}}
	return nil
}

func (s *fakeState) Rescan() control.Rescan {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rescan
	s.rescan.Waiting = nil // the next one who asks sees it done
	return r
}

func (s *fakeState) Simulate(device string, without []string) (control.Simulation, error) {
	if !slices.ContainsFunc(s.devices, func(d control.Device) bool { return d.Name == device }) {
		return control.Simulation{}, control.ErrNotFound
	}
	sim := control.Simulation{Device: device, Without: without, CapacityNow: 4, CapacityNominal: 4, CapacityUnit: "paths", Known: true}
	for _, p := range s.Paths() {
		if p.Device == device && !slices.Contains(without, p.Name) {
			sim.Left = append(sim.Left, p.Name)
			sim.Access, sim.Health = p.Access, p.Health
		}
	}
	sim.CapacityThen = uint64(len(sim.Left))
	if device == "vmhba0:0:1" {
		sim.Aliases = []string{"gold"}
		sim.VMs = []control.SimulatedVM{
			{VM: "vm1", Active: true, UsedCU: 900, EntitledCU: 900, EntitledThenCU: 700, ReservedCU: 1000, ReservedThenCU: 700, ReservedClaimedCU: 500, BelowReservation: true},
			{VM: "vm2", EntitledCU: 0, ReservedCU: 500, ReservedThenCU: 500, ReservedClaimedCU: 250, BelowIfClaimed: true},
		}
		sim.Disks = []control.SimulatedDisk{{Disk: "vm1/root", LosesAllPaths: len(sim.Left) == 0, AllPathsDown: "25s"}}
	}
	return sim, nil
}

func (s *fakeState) Operated(o control.Operation) {
	s.publish(control.Event{Kind: "operator", Severity: "notice", Path: o.Path, Device: o.Device, Message: o.Verb, Attrs: o.Details})
}
