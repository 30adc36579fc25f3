// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"fmt"
	"sync"

	"pathgate/backends"
	"pathgate/gateway/iscsi"
	"pathgate/gateway/nbd"
)

// bounds keeps what clients use within the limits of the configuration: payload memory
// of all and of each VM, and how many use a VM's disks.
type bounds struct {
	perVM int
	vms   map[string]*vmBounds
}

// vmBounds is one VM's part.
type vmBounds struct {
	// memory is the VM's own pool and that of all VMs.
	memory backends.Account

	mu    sync.Mutex
	users int
}

// bytesOfCommand is the memory that a command may take beside its payload: parts of
// segments that it keeps from being used again.
const bytesOfCommand = 64 << 10

func newBounds(cfg *Config) *bounds {
	l := &cfg.Limits
	pool := func(bytes int64) *backends.Pool {
		return backends.NewPool(int(max(bytes/bytesOfCommand, 128)), bytes)
	}
	all := pool(int64(l.Memory) / payloadPart)
	b := &bounds{perVM: l.SessionsPerVM, vms: map[string]*vmBounds{}}
	for i := range cfg.VMs {
		b.vms[cfg.VMs[i].Name] = &vmBounds{memory: backends.Account{pool(int64(l.VMMemory)), all}}
	}
	return b
}

// memory is what requests and answers of a VM's clients are counted in.
func (b *bounds) memory(vm string) backends.Account { return b.vms[vm].memory }

// enter lets one more client use the disks of a VM, unless there are too many.
func (b *bounds) enter(vm string) error {
	v := b.vms[vm]
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.users >= b.perVM {
		return fmt.Errorf("VM %s has %d clients, as many as it may have", vm, v.users)
	}
	v.users++
	return nil
}

// leave takes back what enter counted.
func (b *bounds) leave(vm string) {
	v := b.vms[vm]
	v.mu.Lock()
	v.users--
	v.mu.Unlock()
}

// boundedTargets counts the sessions of the targets against the limits.
type boundedTargets struct{ *targets }

// Open gives an initiator the use of a VM's disks, unless the VM has too many clients.
func (x boundedTargets) Open(p *iscsi.Peer, name string) (iscsi.Handle, error) {
	t, err := x.find(p, name)
	if err != nil {
		return iscsi.Handle{}, err
	}
	b, vm := x.g.bounds, t.vm.Name
	if err := b.enter(vm); err != nil {
		return iscsi.Handle{}, fmt.Errorf("%w: %w", iscsi.ErrTooMany, err)
	}
	h, err := x.targets.Open(p, name)
	if err != nil {
		b.leave(vm)
		return h, err
	}
	h.Memory, h.Close = b.memory(vm), b.leaving(vm, h.Close)
	return h, nil
}

// boundedExports counts the connections to the exports against the limits.
type boundedExports struct{ *exports }

// Open gives a client the use of a disk, unless its VM has too many clients.
func (x boundedExports) Open(ctx context.Context, name string, peer nbd.Peer, mode nbd.Mode) (nbd.Handle, error) {
	d := x.find(name, &peer)
	if d == nil || mode != nbd.Use { // who may not see the disk is not to learn how full it is
		return x.exports.Open(ctx, name, peer, mode)
	}
	if err := x.bounds.enter(d.VM()); err != nil {
		return nbd.Handle{}, fmt.Errorf("%w: %w", nbd.ErrNotPermitted, err)
	}
	h, err := x.exports.Open(ctx, name, peer, mode)
	if err != nil {
		x.bounds.leave(d.VM())
		return h, err
	}
	h.Memory, h.Close = x.bounds.memory(d.VM()), x.bounds.leaving(d.VM(), h.Close)
	return h, nil
}

// leaving has a VM left when a use of its disks is closed.
func (b *bounds) leaving(vm string, end func()) func() {
	return func() {
		if end != nil {
			end()
		}
		b.leave(vm)
	}
}
