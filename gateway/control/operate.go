// SPDX-License-Identifier: Apache-2.0

package control

import "time"

// OperatorSource is the part of a Source that administrators act on, and that tells
// what would be. All methods are called concurrently, and none waits for a path; what
// they return is the caller's. The Server has found the objects before: one that is
// gone by now gives an error that is ErrNotFound, one that cannot be acted on as it is
// now one that is ErrConflict.
type OperatorSource interface {
	// FailPath takes a path down as a fault would; with hold until ReinstatePath.
	FailPath(name string, hold bool) error
	// ReinstatePath has a path proved now, and used at once after that. Path.Proving
	// tells when that is over.
	ReinstatePath(name string) error
	// PathHistory gives the last changes of a path, oldest first.
	PathHistory(name string) []PathChange
	// StartRescan begins to ask the targets for what they have, over one adapter or,
	// if adapter is "", over all.
	StartRescan(adapter string) error
	// Rescan is the one that was begun last; zero: there was none.
	Rescan() Rescan
	// Simulate tells what would be left of a device, by its name, without the paths of
	// these names.
	Simulate(device string, without []string) (Simulation, error)
	// Operated is told what an administrator has asked for, mostly before it is done.
	Operated(o Operation)
}

// Operation is what an administrator asked for, for events.
type Operation struct {
	Verb         string // "path fail", as on the command line
	Path, Device string // what it acts on; may be empty
	Details      Attrs  // its options
	UID, PID     int    // of the process that asked; -1: not known
}

// PathChange is a change of a path's health or access.
type PathChange struct {
	Time   time.Time `json:"time"`
	Health string    `json:"health"` // after it
	Access string    `json:"access"`
	Reason string    `json:"reason,omitempty"`
}

// Rescan is a search for targets and LUNs.
type Rescan struct {
	Started time.Time `json:"started,omitzero"`
	Adapter string    `json:"adapter,omitempty"` // "": all
	// Sessions is how many were asked; Waiting are those that have not answered yet, as
	// "vmhba0:1". A session that is lost meanwhile waits no more.
	Sessions int      `json:"sessions"`
	Waiting  []string `json:"waiting"`
}

// Simulation is what would be left of a device without some of its paths, if
// everybody went on as now.
type Simulation struct {
	Device  string   `json:"device"`
	Aliases []string `json:"aliases,omitempty"`
	Without []string `json:"without"` // its paths that would be lost
	Left    []string `json:"left"`    // those that I/O would go over
	// Access and Health are those of the group that would be in use.
	Access string `json:"access,omitempty"`
	Health string `json:"health,omitempty"`
	// Moves: the target would be asked to make that group active.
	Moves bool `json:"moves,omitempty"`
	// Capacities as in Device: now, and then.
	CapacityNow     uint64 `json:"capacity_now"`
	CapacityThen    uint64 `json:"capacity_then"`
	CapacityNominal uint64 `json:"capacity_nominal"`
	CapacityUnit    string `json:"capacity_unit"`
	// Known: the scheduler knows what the device can do, so that VMs have numbers.
	Known bool            `json:"known"`
	VMs   []SimulatedVM   `json:"vms"`
	Disks []SimulatedDisk `json:"disks"`
}

// SimulatedVM is one VM on a device of a Simulation, in CU/s.
type SimulatedVM struct {
	VM     string   `json:"vm"`
	Disks  []string `json:"disks"`
	Active bool     `json:"active"` // it asks for something now
	UsedCU float64  `json:"used_cu"`
	// ReservedCU is its reservation, 0: none. ReservedThenCU is what of it would be in
	// force, ReservedClaimedCU likewise if every VM claimed all of its own.
	ReservedCU        float64 `json:"reserved_cu"`
	ReservedThenCU    float64 `json:"reserved_then_cu"`
	ReservedClaimedCU float64 `json:"reserved_claimed_cu"`
	// EntitledCU is what it is entitled to now, EntitledThenCU then.
	EntitledCU     float64 `json:"entitled_cu"`
	EntitledThenCU float64 `json:"entitled_then_cu"`
	// BelowReservation: what would be in force is less than the reservation;
	// BelowIfClaimed: only if every VM claimed its own. BelowEntitlement: it would be
	// entitled to less than now.
	BelowReservation bool `json:"below_reservation"`
	BelowIfClaimed   bool `json:"below_if_claimed"`
	BelowEntitlement bool `json:"below_entitlement"`
}

// SimulatedDisk is a disk with a part on a device of a Simulation.
type SimulatedDisk struct {
	Disk string `json:"disk"`
	// LosesAllPaths: what it has on the device would not be reached.
	LosesAllPaths bool `json:"loses_all_paths"`
	// AllPathsDown is what its requests would do then, as in Disk.
	AllPathsDown string `json:"all_paths_down"`
}
