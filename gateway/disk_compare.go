// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"math"

	"pathgate/backends"
	"pathgate/internal/buffer"
	"pathgate/internal/scsi"
)

// This file makes COMPARE AND WRITE where the device below has none, or only a
// shorter one: the range is read, compared and written while nothing else of this
// disk may touch it. That is one step for all who use the disk, over any
// front-end, since an extent belongs to one disk. Where others use the LUN beside
// this gateway it would be none, and is not offered.

// compareMost is the longest one that is made so, in bytes.
const compareMost = 128 << 10

// compareStage is how far a CompareAndWrite is.
type compareStage uint8

const (
	asOne     compareStage = iota // one request below, or none of this kind
	comparing                     // its range is read
	storing                       // the new data is written
)

// operation is what the parts of o do now.
func (o *op) operation() backends.Op {
	switch o.compare {
	case comparing:
		return backends.Read
	case storing:
		return backends.Write
	case asOne:
	}
	return o.parent.Op
}

// compareLocked works out how long a CompareAndWrite may be, and up to where it is
// left to the device below.
func (d *Disk) compareLocked(info *backends.Info) {
	d.compare = 0
	if len(d.pieces) == 1 && d.pieces[0].router != nil {
		dev := d.pieces[0].router.Device().Info()
		switch limit := dev.CompareLimit(); {
		case !dev.Caps.Has(backends.CanCompareAndWrite):
		case limit == 0:
			d.compare = math.MaxUint64
			return
		default:
			d.compare = limit
		}
	}
	info.Caps &^= backends.CanCompareAndWrite
	info.MaxCompare = uint32(min(d.compare, math.MaxUint32))
	if !info.Caps.Has(backends.Shared) {
		info.MaxCompare = max(info.MaxCompare, compareMost)
	}
	if info.MaxCompare > 0 {
		info.Caps |= backends.CanCompareAndWrite
	}
}

// blockerLocked finds an older operation that o has to wait for, since they overlap:
// because one of them may be overlapped by none; or both are changes, and o follows
// the older one.
func (d *Disk) blockerLocked(o *op) *op {
	r := o.parent
	if !touches(r.Op) {
		return nil
	}
	for x := d.ops.first; x != nil; x = x.next {
		p := x.parent
		if x.order == 0 || x.order >= o.order || !touches(p.Op) ||
			r.Offset >= p.Offset+p.Length || p.Offset >= r.Offset+r.Length {
			continue
		}
		if o.compare != asOne || x.compare != asOne || r.Op.Changes() && p.Op.Changes() && o.follows(x) {
			return x
		}
	}
	return nil
}

// touches tells whether op reads or changes what is stored.
func touches(op backends.Op) bool {
	return op.Changes() || op == backends.Read || op == backends.Verify
}

// refusedLocked tells whether o is one that the device below was to do, says that it
// does, and does not: tgtd. It is made here then.
func (d *Disk) refusedLocked(o *op) bool {
	return o.left == 0 && o.parent.Op == backends.CompareAndWrite && o.compare == asOne && !o.aborted &&
		o.result.Class == backends.Unsupported && !d.info.Caps.Has(backends.Shared) && o.parent.Length <= compareMost
}

// storeLocked goes on with o, whose range has been read: its end, or the parts that
// write, which the caller sends. One that was refused begins anew.
func (d *Disk) storeLocked(b *backends.Batch, o *op) *out {
	r := o.parent
	if o.compare == asOne {
		o.clear()
		o.result, o.order, o.begun, o.compare = backends.Done(), 0, false, comparing
		d.releaseLocked(b, o) // it comes after them now
		d.alone++
		u := outPool.Get().(*out)
		d.launchLocked(o, u)
		return u
	}
	switch at, same := o.differs(); {
	case o.aborted:
		o.result = backends.Failed(backends.Aborted)
	case !same:
		o.result = backends.Result{
			Class: backends.Miscompare, Sent: backends.SentAnswered,
			Sense: backends.Sense{
				Valid: true, Key: uint8(scsi.Miscompare), ASC: scsi.CodeMiscompareDuringVerify.ASC(), HasInfo: true, Information: at,
			},
		}
	}
	if !o.result.OK() {
		d.finishLocked(b, o)
		return nil
	}
	o.clear()
	o.compare, o.cursor = storing, r.Offset
	u := outPool.Get().(*out)
	d.cutLocked(o, u)
	return u
}

// differs compares what was read with the first half of the data, and tells where
// they first differ.
func (o *op) differs() (at uint64, same bool) {
	var want buffer.Vec
	defer func() { want.Release() }()
	for _, p := range o.parts {
		want.AppendRange(o.parent.Data, int(p.at), int(p.Length))
		have, expected := p.Data.Bytes(), want.Bytes()
		for i := range have {
			if have[i] != expected[i] {
				return p.at + uint64(i), false
			}
		}
		want.Release()
	}
	return 0, true
}
