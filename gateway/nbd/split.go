// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"sync"

	"pathgate/backends"
	"pathgate/internal/buffer"
)

// splitWindow is how many pieces of one request are with the device at a time,
// so that a request of 4 GiB does not become thousands of pieces at once.
const splitWindow = 8

// split carries a request that is longer than the device takes, in pieces. It
// ends the request when all pieces have ended; after an error no further piece
// is begun. Splitting is rare and may allocate.
type split struct {
	t      *task  // the connection's again after end
	limit  uint64 // bytes of a piece
	length uint64 // of the request

	mu      sync.Mutex
	ended   bool
	next    uint64 // offset of the next piece within the request
	active  int    // pieces with the device
	probing bool   // the first piece of a fast zero goes alone
	aborted bool
	err     refusal
	data    []buffer.Vec // of a read, by number of the piece
	pieces  [splitWindow]piece
}

// piece is one request to the device, used again for a later one.
type piece struct {
	req   backends.Request
	list  [1]*backends.Request
	of    *split
	index int
	busy  bool // guarded by of.mu
}

func newSplit(t *task, limit uint64) *split {
	s := &split{t: t, limit: limit, length: t.req.Length, probing: t.req.FastZero}
	if t.req.Op == backends.Read {
		s.data = make([]buffer.Vec, (t.req.Length+limit-1)/limit)
	}
	t.split = s
	return s
}

// start submits the first pieces. The device may complete them before it
// returns, but only b's Run tells.
func (s *split) start(b *backends.Batch) {
	for {
		p := s.take()
		if p == nil {
			return
		}
		s.t.c.dev.Submit(b, p.list[:])
	}
}

// take prepares the next piece, or gives nil when none is to be begun now.
func (s *split) take() *piece {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.err.e != 0 || s.aborted || s.next >= s.length ||
		s.active >= splitWindow || s.probing && s.next > 0 {
		return nil
	}
	r := &s.t.req
	var p *piece
	for i := range s.pieces {
		if !s.pieces[i].busy {
			p = &s.pieces[i]
			break
		}
	}
	n := min(s.limit, s.length-s.next)
	p.of, p.index, p.busy = s, int(s.next/s.limit), true
	p.list[0] = &p.req
	p.req.Reset()
	p.req.Op, p.req.FUA, p.req.NoUnmap = r.Op, r.FUA, r.NoUnmap
	// Later pieces are not refused for being slow: the medium has changed.
	p.req.FastZero = r.FastZero && s.next == 0
	p.req.Offset, p.req.Length = r.Offset+s.next, n
	p.req.Origin, p.req.Completer = r.Origin, p
	if r.Op == backends.Write {
		p.req.Data.AppendRange(r.Data, int(s.next), int(n))
	}
	s.next += n
	s.active++
	return p
}

// Complete takes the end of a piece and begins further ones.
func (p *piece) Complete(b *backends.Batch, r *backends.Request, res backends.Result) {
	s := p.of
	e := refusalOf(r, res.Class, s.t.c.stopping.Load())
	if e.e == 0 && r.Op == backends.Read && r.Data.Len() != int(r.Length) {
		e = refusedShort
	}
	s.mu.Lock()
	if e.e == 0 && s.data != nil {
		s.data[p.index].Move(&r.Data)
	}
	r.Data.Release()
	p.busy = false
	s.active--
	s.probing = false
	if s.err.e == 0 {
		s.err = e
	}
	s.ended = s.active == 0 && (s.err.e != 0 || s.aborted || s.next >= s.length)
	last := s.ended
	s.mu.Unlock()
	if last {
		s.end(b)
		return
	}
	s.start(b)
}

// end joins what was read and answers the client.
func (s *split) end(b *backends.Batch) {
	e := s.err
	if e.e == 0 && s.next < s.length {
		e = refusedStopping // aborted between two pieces
	}
	for i := range s.data {
		if e.e == 0 {
			s.t.req.Data.Move(&s.data[i])
		} else {
			s.data[i].Release()
		}
	}
	s.t.end(b, e)
}

// abort has the pieces aborted and no further one begun.
func (s *split) abort(b *backends.Batch) {
	s.mu.Lock()
	s.aborted = true
	var busy []*backends.Request
	for i := range s.pieces {
		if s.pieces[i].busy {
			busy = append(busy, &s.pieces[i].req)
		}
	}
	s.mu.Unlock()
	for _, r := range busy {
		s.t.c.dev.Abort(b, r)
	}
}
