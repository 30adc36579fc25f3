// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"

	"pathgate/backends"
	"pathgate/internal/buffer"
	"pathgate/internal/scsi"
)

// Limits of EXTENDED COPY, as RECEIVE COPY RESULTS tells them.
const (
	copyTargets   = 16
	copySegments  = 16
	copyListBytes = 1024 // of all descriptors
	copyPiece     = 1 << 20
	copyHeld      = 16 // results that a nexus's unit keeps
)

// Sense codes of EXTENDED COPY (SPC-4).
const (
	codeCopyAborted                  scsi.SenseCode = 0x0a_00_00
	codeCopyTarget                   scsi.SenseCode = 0x0a_08_04 // unreachable copy target
	codeThirdParty                   scsi.SenseCode = 0x0a_0d_01 // third party device failure
	codeTooManyTargets               scsi.SenseCode = 0x05_26_06
	codeTargetDescriptor             scsi.SenseCode = 0x05_26_07
	codeTooManySegments              scsi.SenseCode = 0x05_26_08
	codeSegmentDescriptor            scsi.SenseCode = 0x05_26_09
	codeInlineDataExceeded           scsi.SenseCode = 0x05_26_0b
	copyStatusCompleted                             = 1
	copyStatusFailed                                = 2
	copyListDiscard, copyListDisable uint8          = 2, 3
)

// copyResult is what RECEIVE COPY RESULTS tells of one EXTENDED COPY.
type copyResult struct {
	id       uint8
	status   uint8
	segments uint16
	bytes    uint64
}

// checkExtendedCopy reads EXTENDED COPY (LID1).
func checkExtendedCopy(t *task) scsi.Sense {
	n := binary.BigEndian.Uint32(t.c.CDB[10:])
	if n > copyListBytes+1024 {
		return scsi.CodeParameterListLength.Sense()
	}
	t.demand.dir, t.demand.length, t.demand.work = scsi.DataOut, uint64(n), copyPiece
	return scsi.Sense{}
}

// extendedCopy is EXTENDED COPY (LID1), between units of the nexus's own target
// only (promise P14), segment by segment.
func extendedCopy(b *backends.Batch, t *task) {
	if t.demand.length == 0 {
		t.finish(b, backends.Done())
		return
	}
	list, err := scsi.DecodeCopyList(t.c.Out.Bytes()[:t.demand.length], scsi.CopyLimits{
		Targets: copyTargets, Segments: copySegments, ListBytes: copyListBytes,
	})
	if err != nil {
		t.deny(b, copySense(err))
		return
	}
	x := &copyJob{t: t, list: list, result: copyResult{id: list.ID, status: copyStatusFailed}}
	for i := range list.Targets {
		x.links = append(x.links, t.l.n.byDesignator(&list.Targets[i].Designator))
	}
	t.cleanup = x.ended
	s, ok := x.next()
	if !ok {
		t.finish(b, backends.Done())
		return
	}
	t.begin(b, s)
}

// copySense is the answer to a parameter list that cannot be.
func copySense(err error) scsi.Sense {
	switch {
	case errors.Is(err, scsi.ErrTruncated):
		return scsi.CodeParameterListLength.Sense()
	case errors.Is(err, scsi.ErrTooManyTargets):
		return codeTooManyTargets.Sense()
	case errors.Is(err, scsi.ErrTargetDescriptor):
		return codeTargetDescriptor.Sense()
	case errors.Is(err, scsi.ErrTooManySegments):
		return codeTooManySegments.Sense()
	case errors.Is(err, scsi.ErrSegmentDescriptor):
		return codeSegmentDescriptor.Sense()
	case errors.Is(err, scsi.ErrInlineDataExceeded):
		return codeInlineDataExceeded.Sense()
	default:
		return scsi.CodeInvalidFieldInParameters.Sense()
	}
}

// byDesignator gives the link whose unit has the designator, or nil.
func (n *Nexus) byDesignator(d *scsi.Designator) *link {
	for _, l := range *n.links.Load() {
		for _, have := range l.designators() {
			if have.Association == scsi.OfUnit && d.Association == scsi.OfUnit && have.Type == d.Type &&
				bytes.Equal(have.Value, d.Value) {
				return l
			}
		}
	}
	return nil
}

// copyJob is where an EXTENDED COPY is.
type copyJob struct {
	t        *task
	list     scsi.CopyList
	links    []*link // of the target descriptors; nil: there is none
	from, to *link   // of the segment
	at, left uint64  // bytes of the segment
	data     buffer.Vec
	result   copyResult
}

// next is the step that reads the next piece; false: all is done, or the sense
// tells why not.
func (x *copyJob) next() (step, bool) {
	for x.left == 0 {
		if x.result.segments == uint16(len(x.list.Segments)) {
			x.result.status = copyStatusCompleted
			return step{}, false
		}
		if s := x.open(&x.list.Segments[x.result.segments]); s.Key != scsi.NoSense {
			x.t.c.fail(s)
			return step{}, false
		}
		if x.left == 0 {
			x.result.segments++
		}
	}
	v, ok := x.from.enter(accessRead)
	if !ok {
		x.t.c.fail(codeThirdParty.Sense())
		return step{}, false
	}
	s := &x.list.Segments[x.result.segments]
	from := x.from.u.geometry.Load()
	n := min(x.left, copyPiece)
	return step{
		op: backends.Read, dev: x.from.u.cfg.Device, limit: from.maxTransfer, window: 1,
		offset: s.SourceLBA*from.blockSize + x.at, bytes: n,
		took: func(p *piece, res backends.Result) backends.Result {
			if res.OK() {
				x.data.Move(&p.req.Data)
			}
			return res
		},
		over: v.leave, then: x.write,
	}, true
}

// write is the step that writes what was read.
func (x *copyJob) write() (step, bool) {
	v, ok := x.to.enter(accessWrite)
	if !ok { // not any more
		x.t.c.fail(codeThirdParty.Sense())
		return step{}, false
	}
	s := &x.list.Segments[x.result.segments]
	to := x.to.u.geometry.Load()
	n := uint64(x.data.Len())
	return step{
		op: backends.Write, dev: x.to.u.cfg.Device, limit: to.maxTransfer, fua: x.to.u.writeThrough.Load(),
		offset: s.DestinationLBA*to.blockSize + x.at, bytes: n,
		fill: func(p *piece) { p.req.Data.AppendRange(x.data, int(p.at), int(p.req.Length)) },
		over: v.leave,
		then: func() (step, bool) {
			x.data.Release()
			x.at += n
			x.left -= n
			x.result.bytes += n
			if x.left == 0 {
				x.result.segments++
			}
			return x.next()
		},
	}, true
}

// open checks a segment and begins it.
func (x *copyJob) open(s *scsi.CopySegment) scsi.Sense {
	if int(s.Source) >= len(x.links) || int(s.Destination) >= len(x.links) ||
		x.links[s.Source] == nil || x.links[s.Destination] == nil {
		return codeCopyTarget.Sense()
	}
	x.from, x.to = x.links[s.Source], x.links[s.Destination]
	from, to := x.from.u.geometry.Load(), x.to.u.geometry.Load()
	blocks := uint64(s.Blocks)
	switch {
	case from.blockSize != to.blockSize,
		s.SourceLBA > from.blocks || blocks > from.blocks-s.SourceLBA,
		s.DestinationLBA > to.blocks || blocks > to.blocks-s.DestinationLBA:
		return codeCopyAborted.Sense()
	case !x.may(), !x.to.writable():
		return codeThirdParty.Sense()
	}
	x.at, x.left = 0, blocks*from.blockSize
	return scsi.Sense{}
}

// may tells whether both units of the segment let the nexus copy.
func (x *copyJob) may() bool { return x.from.may(accessRead) && x.to.may(accessWrite) }

// may tells whether reservations, other clients and an erasure let the nexus do that much.
func (l *link) may(a access) bool {
	l.u.mu.Lock()
	defer l.u.mu.Unlock()
	return !l.gone && l.level >= a && l.u.erasing.Load() == nil && l.askLocked() == ClaimGranted
}

// writable tells whether the unit takes changes from the nexus.
func (l *link) writable() bool {
	l.u.mu.Lock()
	defer l.u.mu.Unlock()
	return !l.readOnly && !l.u.modes.writeProtected && !l.u.readOnly()
}

// ended keeps the result, unless it is not wanted.
func (x *copyJob) ended() {
	x.data.Release()
	if x.list.Usage == copyListDiscard || x.list.Usage == copyListDisable {
		return
	}
	l := x.t.l
	l.u.mu.Lock()
	defer l.u.mu.Unlock()
	l.copies = slices.DeleteFunc(l.copies, func(r copyResult) bool { return r.id == x.result.id })
	if len(l.copies) == copyHeld {
		l.copies = slices.Delete(l.copies, 0, 1)
	}
	l.copies = append(l.copies, x.result)
}

// checkCopyResults reads RECEIVE COPY RESULTS: the status of a list identifier
// that is known, or the operating parameters.
func checkCopyResults(t *task) scsi.Sense {
	cdb := &t.c.CDB
	t.demand.dir, t.demand.alloc = scsi.DataIn, uint64(binary.BigEndian.Uint32(cdb[10:]))
	return scsi.Sense{}
}

// copyStatus is RECEIVE COPY RESULTS, COPY STATUS.
func copyStatus(b *backends.Batch, t *task) {
	l := t.l
	l.u.mu.Lock()
	i := slices.IndexFunc(l.copies, func(r copyResult) bool { return r.id == t.c.CDB[2] })
	var r copyResult
	if i >= 0 {
		r = l.copies[i]
	}
	l.u.mu.Unlock()
	if i < 0 {
		t.deny(b, badField(2, scsi.NoBit))
		return
	}
	data := []byte{0, 0, 0, 8, r.status, 0, 0, 0}
	binary.BigEndian.PutUint16(data[5:], r.segments)
	t.reply(binary.BigEndian.AppendUint32(data, uint32(min(r.bytes, 1<<32-1))))
	t.finish(b, backends.Done())
}

// copyParameters is RECEIVE COPY RESULTS, OPERATING PARAMETERS.
func copyParameters(b *backends.Batch, t *task) {
	data := make([]byte, 44, 46)
	binary.BigEndian.PutUint16(data[8:], copyTargets)
	binary.BigEndian.PutUint16(data[10:], copySegments)
	binary.BigEndian.PutUint32(data[12:], copyListBytes)
	binary.BigEndian.PutUint32(data[16:], t.l.u.copySegmentBytes())
	data[36] = copyConcurrent
	data[43] = 2 // descriptor types
	data = append(data, scsi.CopyBlockToBlock, scsi.CopyIdentification)
	binary.BigEndian.PutUint32(data, uint32(len(data)-4))
	t.reply(data)
	t.finish(b, backends.Done())
}
