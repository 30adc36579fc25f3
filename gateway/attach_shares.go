// SPDX-License-Identifier: Apache-2.0

package gateway

import "pathgate/backends"

// shareRouter makes the router of a device that is there. It goes by the plans of
// Shares until it is closed.
func (g *Gateway) shareRouter(dev backends.Device, name string, names ...string) *Router {
	opt := RouterOptions{
		Device:  ShareDevice{Name: name, Names: names, Rotational: dev.Info().Caps.Has(backends.Rotational)},
		Explain: g.explain, Pacer: g.pacer,
	}
	if g.shares == nil { // before Run
		return NewRouter(dev, opt)
	}
	var rt *Router
	leave := g.shares.Device(opt.Device, func(p LUNPlan) { // the first time before Device returns
		if rt == nil {
			opt.Plan = &p
			rt = NewRouter(dev, opt)
		} else if err := rt.Configure(p); err != nil {
			g.log.Error("shares are not in force", "device", name, "error", err)
		}
	})
	unwatch := rt.stop
	rt.stop = func() {
		leave()
		unwatch()
	}
	return rt
}

// planDisks has the disks keep the limits that no flow can, and their requests tell
// the VM's priority.
func (g *Gateway) planDisks() {
	for _, d := range g.disks {
		g.shares.Disk(d.FullName(), func(p DiskPlan) {
			d.Priority().Set(p.Priority)
			if err := d.Limit(p, g.pacer, g.explain); err != nil {
				g.log.Error("a limit is not in force", "disk", d.FullName(), "error", err)
			}
		})
	}
}
