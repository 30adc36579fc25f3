// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"sort"

	"pathgate/backends"
	"pathgate/internal/buffer"
	"pathgate/internal/stream"
)

const (
	// maxExtents bounds the extents of one chunk; who wants to know more asks
	// again. The protocol's own limit is 2^20.
	maxExtents = 2048
	// statusBytes is the most that BLOCK_STATUS is answered with, for credits and
	// back-pressure.
	statusBytes = int64(len(metaContexts)) * (extendedChunkLen + 8 + 16*maxExtents)
	// keepExtents is the largest list that a task keeps for its next use.
	keepExtents = 64
)

// query is what a BLOCK_STATUS asks.
type query struct {
	cookie, offset, length uint64
	contexts               contexts
	one                    bool // one extent per context
}

func (h *header) query() query {
	return query{
		cookie: h.cookie, offset: h.offset, length: h.length,
		contexts: h.contexts, one: h.flags&cmdFlagReqOne != 0,
	}
}

// told takes the device's answer to a BLOCK_STATUS. What a device cannot tell is
// data, which is always allowed to be said.
func (t *task) told(b *backends.Batch, res backends.Result) {
	c, r := t.c, &t.req
	if e := refusalOf(r, res.Class, c.stopping.Load()); e.e != 0 && res.Class != backends.Unsupported {
		t.end(b, e)
		return
	}
	if !res.OK() {
		r.Extents = r.Extents[:0]
	}
	c.answerStatus(&t.query, r.Extents)
	t.finish(b)
}

// narrows tells whether h has a payload that limits a BLOCK_STATUS to some of the
// contexts of the connection.
func (t *terms) narrows(h *header) bool {
	return h.cmd == cmdBlockStatus && t.tx&txStatusPayload != 0 &&
		h.payload >= 12 && h.payload <= 8+4*uint64(len(metaContexts)) && h.payload%4 == 0
}

// narrow takes that payload (extension-ext-header proto.md "NBD_CMD_BLOCK_STATUS").
// It leaves no context when one is unknown or comes twice.
func (h *header) narrow(payload []byte) {
	of := h.contexts
	h.length, h.payload, h.contexts = binary.BigEndian.Uint64(payload), 0, 0
	h.flags &^= cmdFlagPayloadLen
	for b := payload[8:]; len(b) > 0; b = b[4:] {
		id := contexts(binary.BigEndian.Uint32(b))
		if bits.OnesCount32(uint32(id)) != 1 || id&of == 0 || id&h.contexts != 0 {
			h.contexts = 0
			return
		}
		h.contexts |= id
	}
}

// answerStatus appends the reply to q: a chunk for each context, the last one
// final. list is the device's answer, empty when it was not asked. Called on any
// goroutine.
func (c *conn) answerStatus(q *query, list []backends.Extent) {
	left := q.contexts
	for _, m := range metaContexts {
		if q.contexts&m.id == 0 {
			continue
		}
		left &^= m.id
		w := newStatus(c.terms.dialect, q, m.id)
		switch m.id {
		case metaAllocation:
			w.allocation(list, c.geo.Load())
		case metaPaths:
			w.paths(c.danger(q))
		}
		w.send(c.out, left == 0)
	}
}

// statusWriter makes one chunk.
type statusWriter struct {
	d    dialect
	q    *query
	id   contexts
	seg  *buffer.Segment
	max  int // extents
	n    int // extents that are encoded
	at   uint64
	run  uint64 // length of the extent that is not encoded yet
	kind uint32 // its flags
}

func newStatus(d dialect, q *query, id contexts) *statusWriter {
	w := &statusWriter{d: d, q: q, id: id, max: maxExtents}
	if q.one {
		w.max = 1
	}
	w.seg = buffer.Get(8 + 16*w.max)
	return w
}

// add tells that the next n bytes are of a kind; false when no more is wanted.
// What is beyond the range that was asked about is cut off.
func (w *statusWriter) add(n uint64, kind uint32) bool {
	n = min(n, w.q.length-w.at)
	if n == 0 {
		return w.at < w.q.length
	}
	if w.run > 0 && kind != w.kind {
		w.flush()
		if w.n == w.max {
			return false
		}
	}
	w.run += n
	w.kind = kind
	w.at += n
	return w.at < w.q.length
}

// flush encodes the extent that is being collected.
func (w *statusWriter) flush() {
	if w.run == 0 {
		return
	}
	if w.d == extended {
		b := w.seg.Bytes()[8+16*w.n:]
		binary.BigEndian.PutUint64(b, w.run)
		binary.BigEndian.PutUint64(b[8:], uint64(w.kind))
	} else {
		b := w.seg.Bytes()[4+8*w.n:]
		binary.BigEndian.PutUint32(b, uint32(w.run))
		binary.BigEndian.PutUint32(b[4:], w.kind)
	}
	w.n++
	w.run = 0
}

// allocation tells what list says; without a list, that all is data.
func (w *statusWriter) allocation(list []backends.Extent, g *geometry) {
	for _, e := range list {
		var kind uint32
		if e.Hole {
			kind |= stateHole
		}
		if g.zero(e) {
			kind |= stateZero
		}
		if !w.add(e.Length, kind) {
			return
		}
	}
	if w.at == 0 {
		w.add(w.q.length, 0)
	}
}

// danger is what pathgate:paths tells.
type danger struct {
	degraded, cut []backends.Range // in any order
	held          []backends.Range // in order, apart from each other
	gone          bool
}

// danger gives that of the range of q.
func (c *conn) danger(q *query) danger {
	info := c.dev.Info()
	d := danger{degraded: info.Degraded, cut: info.Cut, gone: !info.Available}
	if h, ok := c.dev.(backends.Holder); ok {
		d.held = union(h.Held(nil, backends.Range{Offset: q.offset, Length: q.length}))
	}
	return d
}

// union puts list in order and joins what touches, in place.
func union(list []backends.Range) []backends.Range {
	slices.SortFunc(list, func(a, b backends.Range) int { return cmp.Compare(a.Offset, b.Offset) })
	n := 0
	for _, r := range list {
		if n == 0 || r.Offset > list[n-1].Offset+list[n-1].Length {
			list[n] = r
			n++
			continue
		}
		last := &list[n-1]
		last.Length = max(last.Offset+last.Length, r.Offset+r.Length) - last.Offset
	}
	return list[:n]
}

// at gives the flags of the byte at, and where they may change.
func (d *danger) at(at uint64) (kind uint32, until uint64) {
	until = math.MaxUint64
	mark := func(r backends.Range, flags uint32) {
		switch end := r.Offset + r.Length; {
		case at < r.Offset:
			until = min(until, r.Offset)
		case at < end:
			until = min(until, end)
			kind |= flags
		}
	}
	for _, r := range d.degraded {
		mark(r, PathsDegraded)
	}
	for _, r := range d.cut {
		mark(r, PathsNone)
	}
	// There may be many, and the first that is not passed is the only one that counts.
	i := sort.Search(len(d.held), func(i int) bool { return at < d.held[i].Offset+d.held[i].Length })
	if i < len(d.held) {
		mark(d.held[i], PathsDegraded|PathsHeld)
	}
	if d.gone {
		kind |= PathsNone
	}
	return kind, until
}

// paths tells which parts are in danger.
func (w *statusWriter) paths(d danger) {
	for w.at < w.q.length {
		at := w.q.offset + w.at
		kind, until := d.at(at)
		if !w.add(until-at, kind) {
			return
		}
	}
}

// send appends the chunk.
func (w *statusWriter) send(out *stream.Queue, last bool) {
	if w.n < w.max {
		w.flush()
	}
	flags := uint16(0)
	if last {
		flags = chunkDone
	}
	b, t, n := w.seg.Bytes(), chunkStatus, 4+8*w.n
	binary.BigEndian.PutUint32(b, uint32(w.id))
	if w.d == extended {
		t, n = chunkStatusExt, 8+16*w.n
		binary.BigEndian.PutUint32(b[4:], uint32(w.n))
	}
	var h replyHeader
	m := stream.Message{Header: h[:h.chunk(w.d, flags, t, w.q.cookie, w.q.offset, n)]}
	m.Data.Append(w.seg.Slice(0, n))
	_, _ = out.Append(&m) // a lost connection is known to its goroutine
	m.Data.Release()
}
