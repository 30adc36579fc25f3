// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"pathgate/gateway/control"
)

// What the gateway tells of a LUN that is reserved for it, where the keys of lost paths
// can be taken away over living ones.
const (
	demoReserved = "ours"
	demoFencing  = "pr-fenced"
)

// waitReady waits until all paths are in use, and the gateway has found out how to fence
// old writes on them.
func (d *demo) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		devices, err := d.api.Devices(ctx)
		if err != nil {
			return fmt.Errorf("wait for %d paths: %w", demoPaths, err)
		}
		state := "no LUN"
		if len(devices) > 0 {
			lun := &devices[0]
			if lun.PathsUsed == demoPaths && lun.Fencing == demoFencing && lun.Reservation == demoReserved {
				return nil
			}
			state = fmt.Sprintf("%d of %d paths, fencing %q, reservation %q", lun.PathsUsed, demoPaths, lun.Fencing, lun.Reservation)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s after %v (see %s)", state, demoPatience, filepath.Join(d.dir, "demo.log"))
		}
	}
}

// usedPaths counts the paths that I/O goes over, and those of them that were not lost a
// moment ago: such a one is used only while there is no other.
func usedPaths(paths []control.Path) (used, steady int) {
	for _, p := range paths {
		if p.Used {
			used++
			if p.Health == control.HealthUp {
				steady++
			}
		}
	}
	return used, steady
}

// printSetup shows what there is before the story begins.
func (d *demo) printSetup(ctx context.Context) error {
	paths, err := d.api.Paths(ctx)
	if err != nil {
		return err
	}
	devices, err := d.api.Devices(ctx)
	if err != nil {
		return err
	}
	disks, err := d.api.Disks(ctx)
	if err != nil {
		return err
	}
	d.screen.printf("target   %s, process %d, portals %s and %s", d.target.served.Target, d.target.pid(),
		d.target.served.Portals[0].Address, d.target.served.Portals[1].Address)
	for _, l := range devices {
		d.screen.printf("lun      %s   %d MiB, %s, reservation: %s, old writes of a lost path: %s",
			l.Name, l.Size>>20, l.Identity, l.Reservation, l.Fencing)
	}
	for _, p := range paths {
		d.screen.printf("path     %s   %s -> %s   %s, %s, carries %d requests of 4 KiB a second",
			p.Name, p.Adapter, p.Portal, p.Health, p.Access, demoCapacity/demoPaths)
	}
	for i, k := range disks {
		e := k.Extents[0]
		d.screen.printf("disk     %s   %d MiB of %s at %d MiB, %d of %d paths, shares %d",
			k.Name, k.Size>>20, e.Device, e.Offset>>20, k.PathsUp, k.PathsTotal, demoShares[i])
	}
	return nil
}
