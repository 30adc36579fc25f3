// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"pathgate/backends"
	"pathgate/internal/buffer"
	"pathgate/internal/scsi"
)

// raw gives the CDB as the codec takes it.
func (t *task) raw() *[16]byte { return (*[16]byte)(&t.c.CDB) }

// checkReadWrite reads READ and WRITE of every size.
func checkReadWrite(t *task) scsi.Sense {
	c, err := scsi.DecodeReadWrite(t.raw())
	if err != nil {
		return scsi.CodeInvalidFieldInCDB.Sense()
	}
	if s := t.setTransfer(c.LBA, uint64(c.Blocks), c.Size); s.Key != scsi.NoSense {
		return s
	}
	d := &t.demand
	d.length = d.bytes
	if c.Write {
		d.dir, d.op, d.fua = scsi.DataOut, backends.Write, t.durable(c.FUA)
		d.partial = true
		return scsi.Sense{}
	}
	d.dir, d.op = scsi.DataIn, backends.Read
	// A READ with FUA is from the medium: what is in a cache goes there first.
	d.fua = c.FUA && t.l.u.geometry.Load().cache == backends.CacheVolatile
	return scsi.Sense{}
}

// durable tells whether a write has to be on the medium when it is answered.
func (t *task) durable(fua bool) bool {
	return fua || t.l.u.writeThrough.Load()
}

// setTransfer is setRange for a range with data, which may not be longer than
// MAXIMUM TRANSFER LENGTH; size is that of the CDB.
func (t *task) setTransfer(lba, blocks uint64, size int) scsi.Sense {
	if s := t.setRange(lba, blocks); s.Key != scsi.NoSense {
		return s
	}
	if blocks > t.l.u.maxBlocks() {
		return badField(lengthField(size), scsi.NoBit)
	}
	return scsi.Sense{}
}

// lengthField is where the transfer length of a CDB of size bytes is.
func lengthField(size int) int {
	switch size {
	case 6:
		return 4
	case 10:
		return 7
	case 12:
		return 6
	default:
		return 10
	}
}

// nothing ends a command that has no blocks to work on.
func nothing(b *backends.Batch, t *task) { t.finish(b, backends.Done()) }

// readLong carries out a READ that is no single request: longer than the device
// takes, or one with FUA over a volatile cache.
func readLong(b *backends.Batch, t *task) {
	d := &t.demand
	limit := t.l.u.geometry.Load().limit(backends.Read)
	x := newJoin(d.bytes, limit)
	read := step{op: backends.Read, offset: d.offset, bytes: d.bytes, limit: limit, took: x.took}
	read.then = func() (step, bool) {
		x.move(&t.c.In)
		return step{}, false
	}
	t.cleanup = x.release
	if d.fua {
		t.begin(b, step{op: backends.Flush, then: func() (step, bool) { return read, true }})
		return
	}
	t.begin(b, read)
}

// writeLong carries out a WRITE that is longer than the device takes.
func writeLong(b *backends.Batch, t *task) { t.begin(b, t.writeStep(t.c.Out)) }

// writeStep writes data to the range of the command.
func (t *task) writeStep(data buffer.Vec) step {
	d := &t.demand
	return step{
		op: backends.Write, fua: d.fua, offset: d.offset, bytes: d.bytes,
		limit: t.l.u.geometry.Load().limit(backends.Write),
		fill:  func(p *piece) { p.req.Data.AppendRange(data, int(p.at), int(p.req.Length)) },
	}
}

// checkVerify reads VERIFY and WRITE AND VERIFY of every size.
func checkVerify(t *task) scsi.Sense {
	c, err := scsi.DecodeVerify(t.raw())
	if err != nil {
		return scsi.CodeInvalidFieldInCDB.Sense()
	}
	if c.ByteCheck == scsi.ByteCheckReserved || c.Write && c.ByteCheck == scsi.ByteCheckOneBlock {
		return badField(1, 2)
	}
	if s := t.setTransfer(c.LBA, uint64(c.Blocks), c.Size); s.Key != scsi.NoSense {
		return s
	}
	d := &t.demand
	d.check = c.ByteCheck
	switch {
	case c.Write, c.ByteCheck == scsi.ByteCheckData:
		d.dir, d.length = scsi.DataOut, d.bytes
	case c.ByteCheck == scsi.ByteCheckOneBlock && c.Blocks > 0:
		d.dir, d.length = scsi.DataOut, uint64(t.l.u.cfg.BlockSize)
	}
	d.fua, d.partial = c.Write, c.Write
	if !t.l.u.geometry.Load().caps.Has(backends.CanVerify) {
		d.work = min(d.bytes, verifyWindow*pieceMost)
	}
	return scsi.Sense{}
}

// verifyWindow is how many pieces a VERIFY reads at a time where the device cannot.
const verifyWindow = 2

// verify is VERIFY.
func verify(b *backends.Batch, t *task) {
	t.begin(b, t.verifyStep())
}

// writeVerify is WRITE AND VERIFY: to the medium, and then as VERIFY.
func writeVerify(b *backends.Batch, t *task) {
	s := t.writeStep(t.c.Out)
	s.then = func() (step, bool) { return t.verifyStep(), true }
	t.begin(b, s)
}

// verifyStep compares the range with what BYTCHK says. A device that cannot
// verify is read.
func (t *task) verifyStep() step {
	d, g := &t.demand, t.l.u.geometry.Load()
	s := step{op: backends.Verify, offset: d.offset, bytes: d.bytes, limit: g.limit(backends.Verify)}
	able := g.caps.Has(backends.CanVerify)
	if !able {
		s.op, s.window = backends.Read, verifyWindow
		s.limit = pieceLimit(s.limit)
	}
	want := func(v *buffer.Vec, at, n uint64) {
		switch d.check {
		case scsi.ByteCheckData:
			v.AppendRange(t.c.Out, int(at), int(n))
		case scsi.ByteCheckOneBlock:
			for ; n > 0; n -= d.length {
				v.AppendRange(t.c.Out, 0, int(d.length))
			}
		case scsi.ByteCheckMedium, scsi.ByteCheckReserved:
		}
	}
	if able {
		if d.check != scsi.ByteCheckMedium {
			s.fill = func(p *piece) { want(&p.req.Data, p.at, p.req.Length) }
		}
		return s
	}
	s.took = func(p *piece, res backends.Result) backends.Result {
		if !res.OK() || d.check == scsi.ByteCheckMedium {
			return res
		}
		var v buffer.Vec
		want(&v, p.at, p.req.Length)
		defer v.Release()
		return compare(p.req.Data, v, p.at)
	}
	return s
}

// pieceMost is the longest piece that is looked at by the CPU, in bytes.
const pieceMost = 1 << 20

// pieceLimit bounds them.
func pieceLimit(limit uint64) uint64 {
	if limit == 0 || limit > pieceMost {
		return pieceMost
	}
	return limit
}

// compare tells where have first differs from want; at is added to the offset.
func compare(have, want buffer.Vec, at uint64) backends.Result {
	a, w := have.Bytes(), want.Bytes()
	for i := range a {
		if a[i] != w[i] {
			return backends.Result{
				Class: backends.Miscompare, Sent: backends.SentAnswered,
				Sense: backends.Sense{Valid: true, Key: uint8(scsi.Miscompare), ASC: 0x1d, HasInfo: true, Information: at + uint64(i)},
			}
		}
	}
	return backends.Done()
}

// checkCompareAndWrite reads COMPARE AND WRITE. It is one request to the device.
func checkCompareAndWrite(t *task) scsi.Sense {
	c, err := scsi.DecodeCompareAndWrite(t.raw())
	if err != nil {
		return scsi.CodeInvalidFieldInCDB.Sense()
	}
	if s := t.setRange(c.LBA, uint64(c.Blocks)); s.Key != scsi.NoSense {
		return s
	}
	if uint64(c.Blocks) > t.l.u.maxCompare() || c.Blocks == 0 && t.c.Expected > 0 {
		return badField(13, scsi.NoBit)
	}
	d := &t.demand
	d.dir, d.length, d.exact = scsi.DataOut, 2*d.bytes, true
	d.op, d.fua = backends.CompareAndWrite, t.durable(c.FUA)
	return scsi.Sense{}
}

// checkWriteAtomic reads WRITE ATOMIC(16): one request to the device, which
// promises to do all of it or nothing. No boundary is taken.
func checkWriteAtomic(t *task) scsi.Sense {
	c, err := scsi.DecodeWriteAtomic(t.raw())
	if err != nil {
		return scsi.CodeInvalidFieldInCDB.Sense()
	}
	if s := t.setRange(c.LBA, uint64(c.Blocks)); s.Key != scsi.NoSense {
		return s
	}
	d := &t.demand
	if d.bytes > t.l.u.geometry.Load().atomic {
		return badField(12, scsi.NoBit)
	}
	d.dir, d.length, d.exact = scsi.DataOut, d.bytes, true
	d.op, d.fua = backends.Write, t.durable(c.FUA)
	return scsi.Sense{}
}

// checkORWrite reads ORWRITE(16), which has the form of WRITE(16).
func checkORWrite(t *task) scsi.Sense {
	cdb := *t.raw()
	cdb[0] = byte(scsi.OpWrite16)
	c, err := scsi.DecodeReadWrite(&cdb)
	if err != nil {
		return scsi.CodeInvalidFieldInCDB.Sense()
	}
	if s := t.setTransfer(c.LBA, uint64(c.Blocks), c.Size); s.Key != scsi.NoSense {
		return s
	}
	d := &t.demand
	d.dir, d.length, d.fua = scsi.DataOut, d.bytes, t.durable(c.FUA)
	d.work = min(d.bytes, 2*orPiece)
	return scsi.Sense{}
}

// orPiece is the longest piece that is replaced at once, in bytes.
const orPiece = 128 << 10

// orTries is how often ORWRITE tries a piece that others change meanwhile.
const orTries = 16

// orWrite is ORWRITE: each piece is read and replaced by COMPARE AND WRITE, so
// that no change of another is lost.
func orWrite(b *backends.Batch, t *task) {
	d := &t.demand
	most := min(pieceLimit(t.l.u.geometry.Load().limit(backends.CompareAndWrite)), orPiece)
	most = max(most-most%uint64(t.l.u.cfg.BlockSize), uint64(t.l.u.cfg.BlockSize))
	o := orJob{t: t, most: most, offset: d.offset, end: d.offset + d.bytes}
	t.cleanup = func() { o.old.Release() }
	s, ok := o.read()
	if !ok {
		t.finish(b, backends.Done())
		return
	}
	t.begin(b, s)
}

// orJob is where an ORWRITE is.
type orJob struct {
	t           *task
	most        uint64
	offset, end uint64
	old         buffer.Vec
	tries       int
	again       bool
}

// read is the step that reads the next piece.
func (o *orJob) read() (step, bool) {
	if o.offset == o.end {
		return step{}, false
	}
	return step{
		op: backends.Read, offset: o.offset, bytes: min(o.most, o.end-o.offset),
		took: func(p *piece, res backends.Result) backends.Result {
			if res.OK() {
				o.old.Move(&p.req.Data)
			}
			return res
		},
		then: o.write,
	}, true
}

// write is the step that replaces it.
func (o *orJob) write() (step, bool) {
	n := min(o.most, o.end-o.offset)
	return step{
		op: backends.CompareAndWrite, fua: o.t.demand.fua, offset: o.offset, bytes: n,
		fill: func(p *piece) {
			p.req.Data.Move(&o.old)
			was := p.req.Data.Len()
			var more buffer.Vec
			more.AppendRange(o.t.c.Out, int(o.offset-o.t.demand.offset), was)
			seg := buffer.Get(was)
			sum := seg.Bytes()[:was]
			more.CopyTo(sum)
			more.Release()
			for i, v := range p.req.Data.Bytes() {
				sum[i] |= v
			}
			p.req.Data.Append(seg.Slice(0, was))
		},
		took: func(_ *piece, res backends.Result) backends.Result {
			o.again = res.Class == backends.Miscompare
			if !o.again {
				o.tries = 0
				return res
			}
			if o.tries++; o.tries == orTries {
				return backends.Failed(backends.Busy)
			}
			return backends.Done()
		},
		then: func() (step, bool) {
			if !o.again {
				o.offset += n
			}
			return o.read()
		},
	}, true
}
