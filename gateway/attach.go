// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"pathgate/backends"
	"pathgate/multipath"
)

// attachLoop joins disks with what they stand on, as it appears.
func (g *Gateway) attachLoop(ctx context.Context) {
	tick := time.NewTicker(attachInterval)
	defer tick.Stop()
	for {
		g.attachMissing()
		select {
		case <-g.look:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// lookAgain has attachLoop look now. It never blocks.
func (g *Gateway) lookAgain() {
	select {
	case g.look <- struct{}{}:
	default:
	}
}

// attachMissing looks for the files and LUNs of all disks that have none yet. What
// is found is made known to Shares first, for all disks at once, so that a flow is
// entitled to its part from its first request on.
func (g *Gateway) attachMissing() {
	var found []foundDisk
	parts := map[string][]SharePart{}
	faults := sync.OnceValue(g.checkExtents)
	for _, d := range g.disks {
		if d.attached() {
			g.tellAvailability(d)
			continue
		}
		f := foundDisk{disk: d}
		if d.cfg.File != "" {
			f.err = g.findFile(&f)
		} else {
			f.err = g.findLUNs(&f, faults())
		}
		found = append(found, f)
		if f.err == nil {
			parts[d.FullName()] = f.parts()
		}
	}
	if len(parts) > 0 && g.shares != nil { // nil before Run
		g.shares.Place(parts)
	}
	for i := range found {
		f := &found[i]
		if f.err == nil {
			g.setWaits(f)
			f.err = f.attach()
		}
		if f.err == nil {
			f.err = g.targets.show(f.disk)
		}
		f.disk.refuse(f.err)
		g.tellAvailability(f.disk)
	}
}

// foundDisk is a disk that is to be attached, with the routers of its devices by
// what the configuration calls them, or why it can not be.
type foundDisk struct {
	disk    *servedDisk
	routers map[string]*Router
	file    *backends.File
	err     error
}

// findFile opens the disk's file.
func (g *Gateway) findFile(f *foundDisk) error {
	c := f.disk.cfg
	file, err := backends.OpenFile(c.File, backends.FileOptions{
		Size: uint64(c.Size), Grows: c.MaxSize > 0, BlockSize: c.BlockSize, ReadOnly: c.ReadOnly,
	})
	if err != nil {
		return err
	}
	f.file = file
	f.routers = map[string]*Router{c.File: g.shareRouter(file, FileDevice(c.File), c.File)}
	return nil
}

// findLUNs finds the disk's LUNs, all or none. The first fault that the
// configuration has with the LUNs as they were found keeps it away.
func (g *Gateway) findLUNs(f *foundDisk, faults []Fault) error {
	prefix := f.disk.key(g.cfg) + "."
	for _, fault := range faults {
		if strings.HasPrefix(fault.Key+".", prefix) {
			return fmt.Errorf("%s: %s (%s)", fault.Key, fault.Message, fault.Rule)
		}
	}
	f.routers = map[string]*Router{}
	for _, e := range f.disk.cfg.Extents {
		dev, err := g.paths.Lookup(e.LUN)
		if errors.Is(err, multipath.ErrNotFound) {
			if why := g.maskedReason(e.LUN); why != "" {
				return errors.New(why)
			}
			return fmt.Errorf("%s has not been found", e.LUN)
		}
		if err != nil {
			return err
		}
		f.routers[e.LUN] = g.router(dev)
	}
	return nil
}

// parts tells where the disk lies.
func (f *foundDisk) parts() (list []SharePart) {
	d := f.disk.Disk
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.pieces {
		p := &d.pieces[i]
		rt := f.routers[p.ref]
		length := p.length
		if size := rt.Device().Info().Size; length == 0 && p.off < size {
			length = size - p.off
		}
		list = append(list, SharePart{Device: rt.device.Name, Bytes: length})
	}
	return list
}

// attach gives the disk its devices.
func (f *foundDisk) attach() error {
	d := f.disk
	for ref, rt := range f.routers {
		if err := d.Attach(ref, rt); err != nil {
			if f.file == nil {
				return err
			}
			rt.Close()
			return errors.Join(err, f.file.Close())
		}
		if f.file != nil {
			d.mu.Lock()
			d.file, d.frt = f.file, rt
			d.mu.Unlock()
		}
	}
	return nil
}

// checkExtents holds the configuration against the LUNs that are there. They are
// told apart by canonical name: a weak identity may be that of several.
func (g *Gateway) checkExtents() []Fault {
	return g.cfg.CheckExtents(func(lun string) (string, uint64, bool) {
		if g.paths == nil {
			return "", 0, false
		}
		dev, err := g.paths.Lookup(lun)
		if err != nil {
			return "", 0, false
		}
		return dev.Name(), dev.Info().Size, true
	})
}

// router gives the one router of a device. Only the goroutine that attaches disks
// calls it.
func (g *Gateway) router(dev *multipath.Device) *Router {
	g.mu.Lock()
	rt := g.routers[dev]
	g.mu.Unlock()
	if rt == nil {
		rt = g.shareRouter(dev, dev.Name(), g.namesOf(dev)...)
		g.mu.Lock()
		g.routers[dev] = rt
		g.mu.Unlock()
	}
	return rt
}

// key is where the disk stands in the configuration.
func (d *servedDisk) key(c *Config) string {
	for i := range c.VMs {
		for j := range c.VMs[i].Disks {
			if &c.VMs[i].Disks[j] == d.cfg {
				return fmt.Sprintf("vms[%d].disks[%d]", i, j)
			}
		}
	}
	return d.FullName()
}

// attached tells whether the disk has all its devices, there or gone.
func (d *servedDisk) attached() bool {
	d.Disk.mu.Lock()
	defer d.Disk.mu.Unlock()
	return !d.unattachedLocked()
}

func (d *servedDisk) refuse(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused = ""
	if err != nil {
		d.refused = err.Error()
	}
}

// whyNot tells why the disk is not available; "" when it is. Without its unit it is
// not: what initiators have reserved would not be known.
func (d *servedDisk) whyNot() string {
	d.mu.Lock()
	refused := d.refused
	d.mu.Unlock()
	if refused != "" {
		return refused
	}
	if why := d.Why(); why != "" || d.lun == nil || d.unit.Load() != nil {
		return why
	}
	return "is being attached"
}

// tellAvailability publishes a change and wakes whoever waits to open the disk.
func (g *Gateway) tellAvailability(d *servedDisk) {
	why := d.whyNot()
	d.mu.Lock()
	first := d.told == ""
	same := !first && d.told == "why:"+why
	d.told = "why:" + why
	if !same {
		close(d.changed)
		d.changed = make(chan struct{})
	}
	d.mu.Unlock()
	switch {
	case same:
	case why == "":
		g.bus.Publish(Event{
			Kind: KindDiskAvailable, VM: d.VM(), Disk: d.FullName(),
			Message: fmt.Sprintf("available, %v", Size(d.Info().Size)),
		})
	default:
		g.bus.Publish(Event{Kind: KindDiskUnavailable, Severity: SeverityWarning, VM: d.VM(), Disk: d.FullName(), Message: why})
	}
}
