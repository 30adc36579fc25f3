// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"sync"

	"pathgate/backends"
)

// Disk is a virtual disk: extents of LUNs, or of a local file, shown to a VM
// as one plain disk (the patent, par. 0094). It implements backends.Device.
//
// A request is cut at the borders of extents and at the limits of the devices
// below; the parts of one request go out together and their results are
// joined. A Disk exists from the configuration on; it is available once every
// extent's device has been found (Attach).
type Disk struct {
	vm, name string
	readOnly bool
	origin   *backends.Origin // of requests that come without one
	memory   backends.Account // of the VM's clients; nil: not bounded
	watchers backends.Watchers

	mu      sync.Mutex
	pieces  []piece
	info    backends.Info
	why     string       // why it is not available
	ops     opList       // outstanding operations
	free    *op          // for re-use, linked by next
	limiter *diskLimiter // nil: none was needed yet
	paced   int          // outstanding changes that are sent piece by piece
	alone   int          // outstanding operations that nothing may overlap
	waiting int          // those that wait for an older one
	order   uint64       // of the newest operation that was begun
	changes changeOrder  // of them
	compare uint64       // the longest CompareAndWrite that is one request below, in bytes
	resets  []*reset     // waiting for operations to end
	closed  bool
	drained *sync.Cond
}

// piece is one extent of the disk.
type piece struct {
	start  uint64  // in the disk
	length uint64  // 0: the rest of the device, known once attached
	off    uint64  // in the device
	rest   bool    // it goes to the end of the device, and grows with it
	ref    string  // what the configuration calls the device
	router *Router // nil until attached
	flow   *Flow
	stop   func()            // ends watching the device
	wait   backends.PathWait // of requests, for a path to it
}

// PieceSpec is one extent of a disk as configured: Length bytes from Offset of
// the device that the configuration calls Ref. Length 0 means all the rest.
type PieceSpec struct {
	Ref            string
	Offset, Length uint64
}

// DiskSpec is what a disk is made from.
type DiskSpec struct {
	VM, Name string
	Priority uint8
	ReadOnly bool
	Pieces   []PieceSpec
}

// NewDisk makes a disk that is not available yet.
func NewDisk(s DiskSpec) *Disk {
	d := &Disk{
		vm: s.VM, name: s.Name, readOnly: s.ReadOnly,
		origin: &backends.Origin{VM: s.VM, Disk: s.Name, Priority: backends.NewPriority(s.Priority)},
	}
	d.drained = sync.NewCond(&d.mu)
	for _, p := range s.Pieces {
		d.pieces = append(d.pieces, piece{length: p.Length, off: p.Offset, rest: p.Length == 0, ref: p.Ref})
	}
	d.info.Identity = "pathgate." + d.FullName()
	d.refreshLocked()
	return d
}

// FullName is the disk's name with its VM's, "vm1/root": the export name.
func (d *Disk) FullName() string { return d.vm + "/" + d.name }

// VM is the name of the VM that owns the disk.
func (d *Disk) VM() string { return d.vm }

// Priority is that of the VM, as it is now, for the origin of the disk's requests.
func (d *Disk) Priority() *backends.Priority { return d.origin.Priority }

// Refs gives the devices that the disk is made of, as configured, in order.
func (d *Disk) Refs() []string {
	var refs []string
	for i := range d.pieces {
		refs = append(refs, d.pieces[i].ref)
	}
	return refs
}

// Attach hands the disk the router of every piece called ref. When it was the
// last one missing, the disk becomes available. A device that is too small, or
// has a block size that the extent is not aligned to, is refused.
func (d *Disk) Attach(ref string, rt *Router) error {
	info := rt.Device().Info()
	d.mu.Lock()
	for i := range d.pieces {
		p := &d.pieces[i]
		if p.ref != ref || p.router != nil {
			continue
		}
		length := p.length
		if length == 0 && p.off < info.Size {
			length = info.Size - p.off
		}
		var err error
		switch block := uint64(info.LogicalBlock); {
		case p.off+length > info.Size || length == 0:
			err = fmt.Errorf("disk %s: bytes %d to %d of %s, which has only %d", d.FullName(), p.off, p.off+length, ref, info.Size)
		case p.off%block != 0 || length%block != 0:
			err = fmt.Errorf("disk %s: extent at %d of %d bytes is not in whole blocks of %s (%d bytes)", d.FullName(), p.off, length, ref, block)
		}
		if err != nil {
			d.why = err.Error()
			d.mu.Unlock()
			return err
		}
		p.length = length
		p.router, p.flow = rt, rt.Flow(d.vm)
		p.stop = rt.Device().Watch(d.deviceChanged)
	}
	change := d.refreshLocked()
	d.mu.Unlock()
	d.watchers.Tell(change)
	return nil
}

// deviceChanged takes over what has changed below.
func (d *Disk) deviceChanged(backends.Change) {
	d.mu.Lock()
	change := d.refreshLocked()
	d.mu.Unlock()
	if change != 0 {
		d.watchers.Tell(change)
	}
}

// anyPiece are capabilities that a disk has when one piece has them; of the others
// all have to.
const anyPiece = backends.ReadOnly | backends.Rotational | backends.Shared

// refreshLocked builds Info from those of the pieces and tells what differs.
func (d *Disk) refreshLocked() backends.Change {
	old := d.info
	info := backends.Info{LogicalBlock: 512, PhysicalBlock: 512, Identity: old.Identity, Available: true}
	caps := ^backends.Caps(0)
	d.why = ""
	for i := range d.pieces {
		p := &d.pieces[i]
		if p.router == nil {
			info.Available = false
			if d.why == "" {
				d.why = fmt.Sprintf("%s has not been found", p.ref)
			}
			continue
		}
		dev := p.router.Device().Info()
		if !dev.Available {
			info.Available = false
			d.why = fmt.Sprintf("%s is gone", p.ref)
		}
		if p.rest && dev.Size > p.off+p.length {
			p.length = dev.Size - p.off
		}
		p.start = info.Size
		info.Size += p.length
		info.LogicalBlock = max(info.LogicalBlock, dev.LogicalBlock)
		info.PhysicalBlock = max(info.PhysicalBlock, dev.PhysicalBlock)
		info.OptimalTransfer = max(info.OptimalTransfer, dev.OptimalTransfer)
		info.WriteCache = max(info.WriteCache, dev.WriteCache)
		caps &= dev.Caps | anyPiece
		info.Caps |= dev.Caps & anyPiece
		info.Degraded = appendRanges(info.Degraded, p, dev.Degraded)
		info.Cut = appendRanges(info.Cut, p, dev.Cut)
	}
	info.Caps |= caps &^ anyPiece
	if d.readOnly {
		info.Caps |= backends.ReadOnly
	}
	d.compareLocked(&info)
	if !info.Available && old.Available {
		info.Size = old.Size // clients keep the disk that they opened
	}
	d.info = info
	return difference(old, info)
}

// appendRanges adds the ranges of a device that lie in p.
func appendRanges(list []backends.Range, p *piece, ranges []backends.Range) []backends.Range {
	for _, r := range ranges {
		if r, ok := r.Intersect(backends.Range{Offset: p.off, Length: p.length}); ok {
			r.Offset = p.start + r.Offset - p.off
			list = append(list, r)
		}
	}
	return list
}

// Held implements backends.Holder with what the devices hold.
func (d *Disk) Held(list []backends.Range, within backends.Range) []backends.Range {
	d.mu.Lock()
	pieces := append([]piece(nil), d.pieces...) // the devices have locks of their own
	d.mu.Unlock()
	for i := range pieces {
		p := &pieces[i]
		part, ok := within.Intersect(backends.Range{Offset: p.start, Length: p.length})
		if p.router == nil || !ok {
			continue
		}
		if h, holds := p.router.Device().(backends.Holder); holds {
			part.Offset = p.off + part.Offset - p.start
			list = appendRanges(list, p, h.Held(nil, part))
		}
	}
	return list
}

func difference(a, b backends.Info) backends.Change {
	var c backends.Change
	if a.Size != b.Size {
		c |= backends.SizeChanged
	}
	if a.Caps != b.Caps || a.WriteCache != b.WriteCache || a.LogicalBlock != b.LogicalBlock || a.MaxCompare != b.MaxCompare {
		c |= backends.CapsChanged
	}
	if len(a.Degraded) != len(b.Degraded) || len(a.Cut) != len(b.Cut) {
		c |= backends.DegradedChanged
	}
	if a.Available != b.Available {
		c |= backends.AvailabilityChanged
	}
	return c
}

// Info describes the disk. It sets no limits but MaxCompare: the disk cuts requests
// itself.
func (d *Disk) Info() backends.Info {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.info
}

// Why tells why the disk is not available; "" when it is.
func (d *Disk) Why() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.why
}

// Watch has fn called after each change.
func (d *Disk) Watch(fn func(backends.Change)) (stop func()) { return d.watchers.Watch(fn) }

// Grant gives a connection's credits, drawn on every flow that the disk has.
func (d *Disk) Grant(*backends.Origin) *backends.Grant {
	d.mu.Lock()
	defer d.mu.Unlock()
	var pools []*backends.Pool
	for i := range d.pieces {
		if f := d.pieces[i].flow; f != nil && !hasPool(pools, f.pool) {
			pools = append(pools, f.pool)
		}
	}
	return backends.NewGrant(flowCommands, append(pools, d.memory...)...)
}

func hasPool(list []*backends.Pool, p *backends.Pool) bool {
	for _, q := range list {
		if q == p {
			return true
		}
	}
	return false
}

// Outstanding tells how many operations have not completed.
func (d *Disk) Outstanding() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ops.n
}

// Close refuses further requests, ends those that wait for the disk's limit, and
// waits until the others have completed; the devices below see to it that they
// do. Twice is safe.
func (d *Disk) Close() error {
	var b backends.Batch
	d.mu.Lock()
	d.closed = true
	if d.limiter != nil {
		d.limiter.closeLocked(&b)
	}
	d.mu.Unlock()
	b.Run()
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.ops.n > 0 {
		d.drained.Wait()
	}
	for i := range d.pieces {
		if stop := d.pieces[i].stop; stop != nil {
			stop()
			d.pieces[i].stop = nil
		}
	}
	return nil
}

var _ backends.Device = (*Disk)(nil)
