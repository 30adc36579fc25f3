// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"iter"
)

// Source is the gateway that a Server shows. All methods are called concurrently.
// Those that give a list take a snapshot: they never wait for a path or a client, so
// that the API answers at once whatever the paths do. What they return is the
// caller's.
type Source interface {
	// Version is the build that runs.
	Version() Version
	// Paths gives all paths in the order in which people want them.
	Paths() []Path
	// Devices gives all devices, likewise.
	Devices() []Device
	// Disks gives all configured disks, likewise, also those not available.
	Disks() []Disk
	// VMs gives all configured VMs.
	VMs() []VM
	// SetPathEnabled takes a path out of use or lets it be used again; it may write
	// to disk. The Server has found the path before; one that is gone by now gives
	// an error that is ErrNotFound.
	SetPathEnabled(name string, enabled bool) error
	// Events gives the events from number from on, first those that are kept, then
	// new ones as they come, until ctx ends, the events end, or the loop is left.
	// from 0 is the oldest that is kept.
	Events(ctx context.Context, from uint64) iter.Seq[Event]
	// LastEvent is the number of the newest event, 0 before the first.
	LastEvent() uint64
	SelectorSource
}
