// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"slices"

	"pathgate/gateway/control"
	"pathgate/multipath"
)

// adminView shows the gateway to the control API. Everything in it is a snapshot:
// nothing waits for a path or a client.
type adminView Gateway

// serveControl serves the control API on l until ctx ends.
func (g *Gateway) serveControl(ctx context.Context, l net.Listener) error {
	source := adminSource{(*adminView)(g), &shareView{cfg: g.cfg, shares: g.shares, explain: g.explain, schedulers: g.schedulers}}
	return control.NewServer(source, control.Options{Log: g.log}).Serve(ctx, l)
}

// Version is the build that runs.
func (s *adminView) Version() control.Version {
	v := s.opt.Version
	v.Started = s.started
	return v
}

// Paths gives all paths.
func (s *adminView) Paths() []control.Path {
	if s.paths == nil {
		return nil
	}
	var list []control.Path
	for _, p := range s.paths.Paths() {
		list = append(list, showPath(p))
	}
	return list
}

func showPath(p multipath.PathInfo) control.Path {
	return control.Path{
		Name: p.Name, Device: p.Device, Adapter: p.Adapter, Target: p.Target, Portal: p.Portal, LUN: p.LUN,
		Health: p.Health, Access: p.Access, Group: p.Group, Preferred: p.Preferred, Priority: p.Priority, Reason: p.Reason, Cause: p.Cause, Since: p.Changed,
		Disabled: p.Health == control.HealthDisabled, Used: p.Used, Generation: p.Generation,
		Inflight: p.Inflight, PendingBytes: p.Pending, Reads: p.Reads, Writes: p.Writes,
		BytesRead: p.ReadBytes, BytesWritten: p.WriteBytes, Errors: p.Errors,
		LatencyUs: p.Latency.Microseconds(), Ghosts: p.Ghosts, Fencing: p.Fencing, VMs: p.VMs,
		Held: p.Kept, Proving: p.Asked,
	}
}

// Devices gives all devices.
func (s *adminView) Devices() []control.Device {
	if s.paths == nil {
		return nil
	}
	var list []control.Device
	for _, d := range s.paths.Devices() {
		list = append(list, s.showDevice(d))
	}
	return list
}

func (s *adminView) showDevice(d *multipath.Device) control.Device {
	i := d.State()
	rule := s.cfg.LUNRuleFor(append((*Gateway)(s).aliasesOf(i.Identity, d.Key(), i.Name), i.Identity, i.Name)...)
	out := control.Device{
		Name: i.Name, Identity: i.Identity, Weak: i.Weak, Size: i.Size, BlockSize: i.Block,
		Vendor: i.Vendor, Product: i.Product, Serial: i.Serial, PathsUsed: i.Used, PathsTotal: i.Paths,
		CapacityNow: i.Capacity.Now, CapacityNominal: i.Capacity.Nominal, CapacityUnit: i.Capacity.Unit,
		Selector: i.Selection.Name, SelectorOptions: showSelection(i.Selection), SelectorSet: i.SelectionSet, Cache: i.Cache, AllPathsDown: rule.AllPathsDown.String(), DownSince: i.DownSince,
		Inflight: i.Requests, Held: i.Held, Fencing: i.Fencing, Shared: i.Shared, Reservation: i.Reservation, Barred: i.Barred,
	}
	out.Aliases = (*Gateway)(s).aliasesOf(i.Identity, d.Key(), i.Name)
	for _, n := range i.Held {
		out.Queued += n
	}
	showOrders(&out, &i)
	out.Groups = showGroups(i.Groups)
	for _, g := range i.Ghosts {
		out.Ghosts = append(out.Ghosts, control.Ghost{Path: g.Path, Offset: g.Offset, Length: g.Length, Since: g.Since, Why: g.Why})
	}
	for _, c := range i.Fences {
		out.Fences = append(out.Fences, control.FenceCount(c))
	}
	var names []string
	wanted := 0
	for _, p := range d.Paths() {
		names = append(names, p.Name)
		shown := showPath(p)
		if shown.Usable() {
			out.PathsUp++
		}
		if !shown.Disabled {
			wanted++
		}
	}
	out.State, out.Reason = deviceState(&i, wanted)
	for _, sd := range s.disks {
		uses := slices.ContainsFunc(sd.cfg.Extents, func(e ExtentConfig) bool {
			return e.LUN == i.Name || e.LUN == i.Identity || slices.Contains(out.Aliases, e.LUN) || slices.Contains(names, e.LUN)
		})
		if uses {
			out.UsedBy = append(out.UsedBy, sd.FullName())
		}
	}
	return out
}

// deviceState says how a device is that should have so many paths in use, and why.
func deviceState(i *multipath.DeviceInfo, wanted int) (state, reason string) {
	switch {
	case i.Gone:
		return control.DeviceGone, "all paths say that the LUN does not exist"
	case i.Used == 0 && i.Masked != 0:
		return control.DeviceAllPathsDown, fmt.Sprintf("masked by rule %d", i.Masked)
	case i.Used == 0:
		return control.DeviceAllPathsDown, "no path is usable"
	case i.Used < wanted:
		return control.DeviceDegraded, fmt.Sprintf("%d of %d paths are used", i.Used, wanted)
	}
	return control.DeviceAvailable, ""
}

// Disks gives all configured disks.
func (s *adminView) Disks() []control.Disk {
	devices := s.Devices()
	list := make([]control.Disk, 0, len(s.disks))
	for _, d := range s.disks {
		list = append(list, d.show(devices))
	}
	return list
}

func (d *servedDisk) show(devices []control.Device) control.Disk {
	info := d.Info()
	why := d.whyNot()
	out := control.Disk{
		Name: d.FullName(), VM: d.VM(), Size: info.Size, Available: why == "", Why: why,
		File: d.cfg.File, ReadOnly: d.cfg.ReadOnly, Outstanding: d.Outstanding(), AllPathsDown: d.pathWaits(),
		Clients: string(d.own.tenancy.mode), Owner: d.own.owner(),
	}
	if d.lun != nil {
		out.LUN = new(uint16(d.lun.lun))
	}
	d.mu.Lock()
	out.Connections = d.clients
	d.mu.Unlock()
	d.Disk.mu.Lock()
	defer d.Disk.mu.Unlock()
	if d.cfg.File != "" {
		return out
	}
	for i := range d.pieces {
		p := &d.pieces[i]
		e := control.Extent{LUN: p.ref, Offset: p.off, Length: p.length}
		if p.router != nil {
			if dev, ok := p.router.Device().(*multipath.Device); ok {
				e.Device = dev.Name()
			}
		}
		out.Extents = append(out.Extents, e)
		for _, dev := range devices {
			if dev.Name == e.Device && (out.PathsTotal == 0 || dev.PathsUp < out.PathsUp) {
				out.PathsUp, out.PathsTotal = dev.PathsUp, dev.PathsTotal
			}
			if dev.Name == e.Device && dev.Barred {
				out.Available, out.Why = false, fmt.Sprintf("%s is read-only here, reservation %s", dev.Name, dev.Reservation)
			}
		}
	}
	return out
}

// VMs gives all configured VMs.
func (s *adminView) VMs() []control.VM {
	list := make([]control.VM, 0, len(s.cfg.VMs))
	for i := range s.cfg.VMs {
		vm := &s.cfg.VMs[i]
		sum := (*Gateway)(s).vmStats(vm.Name)
		out := control.VM{
			Name: vm.Name, Priority: s.priority(vm), Reads: sum.Reads, Writes: sum.Writes, Others: sum.Others,
			BytesRead: sum.ReadBytes, BytesWritten: sum.WriteBytes, Errors: sum.Errors,
			Inflight: sum.Inflight, Held: sum.Held,
		}
		for j := range vm.Disks {
			out.Disks = append(out.Disks, vm.Name+"/"+vm.Disks[j].Name)
		}
		list = append(list, out)
	}
	return list
}

// priority is that of a VM now.
func (s *adminView) priority(vm *VMConfig) uint8 {
	if s.shares != nil {
		if p, _, ok := s.shares.VMPriority(vm.Name); ok {
			return p
		}
	}
	return vm.Priority
}

// vmStats sums the flows of a VM over its LUNs and files.
func (g *Gateway) vmStats(vm string) FlowStats {
	var sum FlowStats
	for _, rt := range g.allRouters() {
		if f := rt.flow(vm); f != nil {
			sum.add(f.Stats())
		}
	}
	return sum
}

func (g *Gateway) allRouters() []*Router {
	g.mu.Lock()
	list := make([]*Router, 0, len(g.routers))
	for _, rt := range g.routers {
		list = append(list, rt)
	}
	g.mu.Unlock()
	for _, d := range g.disks {
		d.mu.Lock()
		if d.frt != nil {
			list = append(list, d.frt)
		}
		d.mu.Unlock()
	}
	return list
}

// SetPathEnabled takes a path out of use, or lets it be used again.
func (s *adminView) SetPathEnabled(name string, enabled bool) error {
	if s.paths == nil {
		return fmt.Errorf("path %s: %w", name, control.ErrNotFound)
	}
	err := s.paths.SetPathEnabled(name, enabled)
	if errors.Is(err, multipath.ErrNotFound) {
		return fmt.Errorf("path %s: %w", name, control.ErrNotFound)
	}
	return err
}

// Events gives the events from number from on.
func (s *adminView) Events(ctx context.Context, from uint64) iter.Seq[control.Event] {
	return func(yield func(control.Event) bool) {
		for e := range s.bus.Subscribe(ctx, from) {
			out := control.Event{
				Seq: e.Seq, Time: e.Time.UTC(), Kind: e.Kind.String(), Severity: e.Severity.String(),
				VM: e.VM, Disk: e.Disk, Device: e.Device, Path: e.Path, Session: e.Session, Message: e.Message,
			}
			for _, a := range e.Attrs {
				out.Attrs = append(out.Attrs, control.Attr(a))
			}
			if !yield(out) {
				return
			}
		}
	}
}

// LastEvent is the number of the newest event.
func (s *adminView) LastEvent() uint64 { return s.bus.Last() }

// adminSource is the whole of what the control API shows.
type adminSource struct {
	*adminView
	*shareView
}

// ShareLUNs gives the schedulers of all devices with the names that they have now.
func (s adminSource) ShareLUNs() []control.ShareLUN {
	list := s.shareView.ShareLUNs()
	for i := range list {
		if d := s.device(list[i].Name); d != nil {
			list[i].Names = (*Gateway)(s.adminView).namesOf(d)
		}
	}
	return list
}

var (
	_ control.Source      = adminSource{}
	_ control.ShareSource = adminSource{}
)

// schedulers gives those of all devices that are there.
func (g *Gateway) schedulers() (list []shareScheduler) {
	for _, rt := range g.allRouters() {
		list = append(list, rt)
	}
	return list
}

// flow gives the flow of a VM, nil when it has none here.
func (rt *Router) flow(vm string) *Flow {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	return rt.flows[vm]
}
