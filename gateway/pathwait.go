// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"time"

	"pathgate/backends"
	"pathgate/multipath"
)

// pathWait is how long requests of a disk wait for a path to a device: the disk's own
// rule, else the device's, with the time that the disk's guest has.
func (g *Gateway) pathWait(d *servedDisk, dev *multipath.Device) backends.PathWait {
	rule := d.cfg.AllPathsDown
	if rule.Mode == "" {
		i := dev.State()
		rule = g.cfg.LUNRuleFor(i.Identity, i.Alias, i.Name).AllPathsDown
	}
	return waitOf(rule.Limit(g.cfg.Timeouts, d.vm.GuestTimeout))
}

// waitOf is a limit as requests carry it.
func waitOf(limit time.Duration, forever bool) backends.PathWait {
	switch {
	case forever:
		return backends.WaitForever
	case limit <= 0:
		return backends.WaitNot
	}
	return backends.PathWait(limit)
}

// setWaits has the requests of a disk that is about to be attached wait each for its
// time, and lets its devices know of it.
func (g *Gateway) setWaits(f *foundDisk) {
	for ref, rt := range f.routers {
		dev, ok := rt.Device().(*multipath.Device)
		if !ok {
			continue // a file has no paths
		}
		w := g.pathWait(f.disk, dev)
		dev.ExpectWait(w)
		f.disk.Disk.setWait(ref, w)
	}
}

// setWait has requests wait so long for a path to what the configuration calls ref.
func (d *Disk) setWait(ref string, w backends.PathWait) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.pieces {
		if p := &d.pieces[i]; p.ref == ref {
			p.wait = w
		}
	}
}

// pathWaits tells people how long requests wait for a path: where the pieces differ,
// the shortest and the longest. "" before they are there, and for a file.
func (d *Disk) pathWaits() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var least, most backends.PathWait
	for i := range d.pieces {
		switch w := d.pieces[i].wait; {
		case w == backends.WaitAsDevice:
		case least == 0:
			least, most = w, w
		default:
			least, most = min(least, w), max(most, w)
		}
	}
	switch {
	case least == backends.WaitAsDevice:
		return ""
	case least == most:
		return least.String()
	}
	return least.String() + " to " + most.String()
}
