// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"pathgate/backends"
	"pathgate/share"
)

const (
	// flowCommands and flowBytes are the credits of a flow about which nothing is
	// said: what all connections of one VM may have outstanding on one LUN.
	flowCommands = 1024
	flowBytes    = 64 << 20
)

// Flow gives the flow of a VM on this device, made when first asked for.
func (rt *Router) Flow(vm string) *Flow {
	rt.changes.Lock()
	defer rt.changes.Unlock()
	if f := rt.flow(vm); f != nil {
		return f
	}
	p := rt.plan.Flows[vm]
	f := &Flow{VM: vm, pool: backends.NewPool(cmp.Or(p.QueueCommands, flowCommands), cmp.Or(p.QueueBytes, flowBytes))}
	if err := rt.sched.join(f, rt.plan.entitlement(vm)); err != nil {
		panic(fmt.Sprintf("gateway: plan of %s for %s: %v", rt.device.Name, vm, err))
	}
	rt.mu.Lock()
	defer rt.mu.Unlock()
	rt.flows[vm] = f
	if f.share != nil {
		rt.byID = append(rt.byID, f) // numbered densely, since none is removed
	}
	return f
}

// entitlement is what a VM is to get.
func (p *LUNPlan) entitlement(vm string) share.Entitlement {
	if f, ok := p.Flows[vm]; ok {
		return f.Entitlement
	}
	return share.DefaultEntitlement()
}

// Flows gives all flows, in no order.
func (rt *Router) Flows() []*Flow {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	list := make([]*Flow, 0, len(rt.flows))
	for _, f := range rt.flows {
		list = append(list, f)
	}
	return list
}

// Configure has the scheduler go by another plan, from the next dispatch on. It
// must not block for long and is an applier of Shares.Device. Whether there is a
// scheduler, and the credits of flows that are there, do not change. The error
// has every part of the plan that could not be taken over.
func (rt *Router) Configure(p LUNPlan) error {
	rt.changes.Lock()
	defer rt.changes.Unlock()
	rt.mu.Lock()
	p.Enabled = rt.plan.Enabled
	old := rt.plan
	rt.plan = p
	list := make([]*Flow, 0, len(rt.flows))
	for _, f := range rt.flows {
		list = append(list, f)
	}
	rt.mu.Unlock()
	s, ok := rt.sched.(*sharing)
	if !ok {
		return nil
	}
	var errs []error
	if s.disk.Settings() != p.Settings {
		errs = append(errs, s.disk.Configure(p.Settings, p.Version))
	}
	errs = append(errs, s.groups(p.Groups, p.Version))
	for _, f := range list {
		if e := p.entitlement(f.VM); e != old.entitlement(f.VM) {
			errs = append(errs, s.disk.ConfigureFlow(f.share, e, p.Version))
		}
	}
	return errors.Join(errs...)
}

// groups makes and sets the groups of a plan.
func (s *sharing) groups(list []GroupPlan, version uint32) error {
	var errs []error
	for i, g := range list {
		errs = append(errs, s.disk.ConfigureGroup(share.GroupID(i+1), g.Entitlement, version))
	}
	return errors.Join(errs...)
}

// ShareDevice is the device's name and its further ones.
func (rt *Router) ShareDevice() ShareDevice { return rt.device }

// ShareStatus fills dst with the scheduler's state now; since is when its totals
// began. Without a scheduler dst is empty.
func (rt *Router) ShareStatus(dst *share.Snapshot) (since time.Time) {
	if s, ok := rt.sched.(*sharing); ok {
		s.disk.Status(dst)
	} else {
		*dst = share.Snapshot{Flows: dst.Flows[:0], Groups: dst.Groups[:0]}
	}
	return rt.since
}

// Explained appends the decisions that are kept to dst, oldest first.
func (rt *Router) Explained(dst []share.Explain) []share.Explain {
	if s, ok := rt.sched.(*sharing); ok {
		dst = s.disk.Explained(dst, 0)
	}
	return dst
}

// FlowVM is the VM of a flow; "" when there is no such flow.
func (rt *Router) FlowVM(f share.FlowID) string {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	if uint64(f) < uint64(len(rt.byID)) {
		return rt.byID[f].VM
	}
	return ""
}

var _ shareScheduler = (*Router)(nil)
