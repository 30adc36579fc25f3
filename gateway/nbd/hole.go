// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"bytes"
	"encoding/binary"

	"pathgate/backends"
	"pathgate/internal/buffer"
	"pathgate/internal/stream"
)

// How zeros become holes. Two things can tell them: the bytes that were read, and
// the device (backends.BlockStatus). The bytes are never wrong and cost a
// comparison that ends at the first byte that is not zero, so every READ in
// chunks is looked at. Asking the device spares the transfer of the zeros, and
// costs a round trip to the LUN that is lost where there is data: it is asked
// only about a long READ, after one that held nothing but zeros, and no more
// once it has told of data.
const (
	// holeUnit is the grain in which a READ is divided into data and holes,
	// aligned within the export. A finer one would cost more in headers and
	// vectors than it spares.
	holeUnit = 32 << 10
	// probeBytes is the shortest READ whose range the device is asked about.
	probeBytes = 64 << 10
)

// answerRead appends what was read, or with hole what need not have been.
// Called on any goroutine.
func (t *task) answerRead(hole bool) {
	c, r := t.c, &t.req
	d := c.terms.dialect
	if d == simple {
		n := t.hdr.end(d, t.cookie, r.Offset, refusal{})
		t.send(n, r.Data)
		return
	}
	data := cursor{v: r.Data}
	if hole || data.zero(int(r.Length)) {
		if !hole && r.Length >= probeBytes {
			c.sparse.Store(true)
		}
		t.send(t.hdr.hole(d, chunkDone, t.cookie, r.Offset, r.Offset, int(r.Length)), nil)
		return
	}
	if t.whole || r.Length <= holeUnit {
		t.send(t.hdr.data(d, chunkDone, t.cookie, r.Offset, r.Offset, int(r.Length)), r.Data)
		return
	}
	t.answerRuns(d)
}

// answerRuns appends a chunk for each run of units that hold data, or zeros only.
func (t *task) answerRuns(d dialect) {
	r := &t.req
	look := cursor{v: r.Data}
	next := func(at uint64) (n int, zero bool) {
		n = int(min(r.Length-at, holeUnit-(r.Offset+at)%holeUnit))
		return n, look.zero(n)
	}
	n, zero := next(0)
	for at := uint64(0); at < r.Length; {
		run, kind := uint64(n), zero
		for at+run < r.Length {
			if n, zero = next(at + run); zero != kind {
				break
			}
			run += uint64(n)
		}
		flags := uint16(0)
		if at+run == r.Length {
			flags = chunkDone
		}
		if kind {
			t.send(t.hdr.hole(d, flags, t.cookie, r.Offset, r.Offset+at, int(run)), nil)
		} else {
			t.part.AppendRange(r.Data, int(at), int(run))
			t.send(t.hdr.data(d, flags, t.cookie, r.Offset, r.Offset+at, int(run)), t.part)
			t.part.Release()
		}
		at += run
	}
}

// send appends n bytes of hdr and data. That the connection is lost is not told
// here: its goroutine knows.
func (t *task) send(n int, data buffer.Vec) {
	_, _ = t.c.out.Append(&stream.Message{Header: t.hdr[:n], Data: data})
}

// probes tells whether the device is to be asked about t's range before it is
// read. A range that would be read in pieces is not.
func (c *conn) probes(t *task, geo *geometry) bool {
	r := &t.req
	return r.Op == backends.Read && r.Length >= probeBytes && geo.canStatus && c.terms.dialect != simple &&
		c.sparse.Load() && (geo.maxTransfer == 0 || r.Length <= geo.maxTransfer)
}

// probed takes the device's word on t's range: a hole is answered, anything else is
// read.
func (t *task) probed(b *backends.Batch, res backends.Result) {
	c, r := t.c, &t.req
	t.probe = false
	if res.OK() && c.geo.Load().allZero(r.Extents, r.Length) {
		t.answerRead(true)
		t.finish(b)
		return
	}
	c.sparse.Store(false)
	select {
	case <-c.killed:
		t.end(b, refusalOf(r, backends.Aborted, true))
		return
	default:
	}
	r.Op, r.Extents = backends.Read, r.Extents[:0]
	t.list[0] = r
	c.dev.Submit(b, t.list[:])
	select {
	case <-c.killed: // abort may have looked before the Submit
		c.dev.Abort(b, r)
	default:
	}
}

// allZero tells whether list says that the next length bytes are zeros.
func (g *geometry) allZero(list []backends.Extent, length uint64) bool {
	for _, e := range list {
		if !g.zero(e) {
			return false
		}
		if e.Length >= length {
			return true
		}
		length -= e.Length
	}
	return false
}

// zero tells whether e reads as zeros.
func (g *geometry) zero(e backends.Extent) bool { return e.Zero || e.Hole && g.holesZero }

// cursor goes through a payload.
type cursor struct {
	v   buffer.Vec
	off int // within v[0]
}

// zero passes over n bytes and tells whether all are 0. It need not look behind
// the first that is not.
func (c *cursor) zero(n int) bool {
	all := true
	for n > 0 && len(c.v) > 0 {
		b := c.v[0].B[c.off:]
		k := min(n, len(b))
		all = all && isZero(b[:k])
		n -= k
		c.off += k
		if k == len(b) {
			c.v, c.off = c.v[1:], 0
		}
	}
	return all
}

// isZero tells whether b holds zeros only: the first word is zero, and every
// further byte equals the one a word before it.
func isZero(b []byte) bool {
	if len(b) >= 8 {
		return binary.NativeEndian.Uint64(b) == 0 && bytes.Equal(b[8:], b[:len(b)-8])
	}
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
