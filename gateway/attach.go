// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
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

// attachMissing tries every disk that is not available.
func (g *Gateway) attachMissing() {
	var faults []Fault
	checked := false
	for i := range g.disks {
		d := g.disks[i]
		if d.attached() {
			g.tellAvailability(d)
			continue
		}
		if d.cfg.File != "" {
			d.refuse(g.attachFile(d))
			g.tellAvailability(d)
			continue
		}
		if !checked {
			faults, checked = g.checkExtents(), true
		}
		d.refuse(g.attachLUNs(d, faults))
		g.tellAvailability(d)
	}
}

// attachFile opens the disk's file.
func (g *Gateway) attachFile(d *servedDisk) error {
	f, err := backends.OpenFile(d.cfg.File, backends.FileOptions{Size: uint64(d.cfg.Size), ReadOnly: d.cfg.ReadOnly})
	if err != nil {
		return err
	}
	rt := NewRouter(f, RouterOptions{Device: ShareDevice{Name: d.cfg.File}, Explain: g.explain, Pacer: g.pacer})
	if err := d.Attach(d.cfg.File, rt); err != nil {
		rt.Close()
		return errors.Join(err, f.Close())
	}
	d.mu.Lock()
	d.file, d.frt = f, rt
	d.mu.Unlock()
	return nil
}

// attachLUNs attaches those of the disk's LUNs that are there. The first fault
// that the configuration has with the LUNs as they were found keeps it away.
func (g *Gateway) attachLUNs(d *servedDisk, faults []Fault) error {
	prefix := d.key(g.cfg) + "."
	for _, f := range faults {
		if strings.HasPrefix(f.Key+".", prefix) {
			return fmt.Errorf("%s: %s (%s)", f.Key, f.Message, f.Rule)
		}
	}
	seen := map[string]bool{}
	for _, e := range d.cfg.Extents {
		if seen[e.LUN] {
			continue
		}
		seen[e.LUN] = true
		dev, err := g.paths.Lookup(e.LUN)
		if errors.Is(err, multipath.ErrNotFound) {
			continue // Disk.Why says so
		}
		if err != nil {
			return err
		}
		if err := d.Attach(e.LUN, g.router(dev)); err != nil {
			return err
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

// router gives the one router of a device.
func (g *Gateway) router(dev *multipath.Device) *Router {
	g.mu.Lock()
	defer g.mu.Unlock()
	rt := g.routers[dev]
	if rt == nil {
		rt = NewRouter(dev, RouterOptions{Device: ShareDevice{Name: dev.Name()}, Explain: g.explain, Pacer: g.pacer})
		g.routers[dev] = rt
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

// whyNot tells why the disk is not available; "" when it is.
func (d *servedDisk) whyNot() string {
	d.mu.Lock()
	refused := d.refused
	d.mu.Unlock()
	if refused != "" {
		return refused
	}
	return d.Why()
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
