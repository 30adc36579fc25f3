// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"sync"

	"pathgate/backends"
	"pathgate/internal/buffer"
)

// jobWindow is how many requests of one command are with the device at a time,
// so that a command of many gigabytes does not become thousands at once.
const jobWindow = 8

// job carries out a command that takes several requests: one that is longer than
// the device takes, and one of several steps. It ends the command when all have
// ended; after an error nothing further is begun. Jobs are rare and may
// allocate.
type job struct {
	dev    backends.Device // of steps without one of their own
	origin *backends.Origin
	// grant gives the credit of each piece; nil: the command has its own. One piece
	// always gets it.
	grant *backends.Grant
	// finish is called once, with no lock held.
	finish func(b *backends.Batch, res backends.Result)

	mu      sync.Mutex
	step    step
	next    uint64 // offset of the next piece in the step
	active  int    // pieces with the device
	aborted bool
	ended   bool
	res     backends.Result // the first error; Class 0: none
	pieces  [jobWindow]piece
}

// step is one range of a job, done in pieces in any order.
type step struct {
	op            backends.Op
	fua, noUnmap  bool
	offset, bytes uint64
	// dev is whose device it is; nil: the task's.
	dev backends.Device
	// limit bounds a piece; 0: none. window bounds those at a time; 0: jobWindow.
	limit  uint64
	window int
	// fill appends the payload of p's request. Nil: it has none.
	fill func(p *piece)
	// took is told the result of a piece, with its Data, and gives what counts. Nil:
	// the result itself.
	took func(p *piece, res backends.Result) backends.Result
	// over is called at the end of the step, however it ended, and gives what waited
	// for that. Nil: nothing can.
	over func() []*barrier
	// then gives the next step when all of this one is done; false, or a nil
	// then: the job is done. Called with j.mu held, as are fill, took and over.
	then func() (step, bool)
}

// piece is one request to the device, used again for a later one.
type piece struct {
	req  backends.Request
	list [1]*backends.Request
	j    *job
	at   uint64 // offset in the step
	busy bool   // guarded by j.mu
	// credit is the bytes that were taken from j.grant.
	credit int64
}

// payload is how many bytes a piece of n bytes holds.
func (s *step) payload(n uint64) int64 {
	if s.op == backends.Write {
		return int64(n)
	}
	return 0
}

// begin makes a job of t and starts it with s.
func (t *task) begin(b *backends.Batch, s step) {
	u := t.l.u
	j := &job{dev: u.cfg.Device, origin: &t.l.origin, finish: t.finish, step: s}
	u.mu.Lock()
	j.aborted = t.aborted != notAborted
	t.job, t.withDevice = j, true
	u.mu.Unlock()
	j.drive(b)
}

// drive submits the pieces that may be begun, goes on to the next step, or ends
// the command. It is called after every change of the job, on any goroutine.
func (j *job) drive(b *backends.Batch) {
	for {
		j.mu.Lock()
		if p := j.takeLocked(); p != nil {
			dev := j.deviceLocked()
			j.mu.Unlock()
			dev.Submit(b, p.list[:])
			continue
		}
		if j.active > 0 || j.ended {
			j.mu.Unlock()
			return
		}
		var waited []*barrier
		if j.step.over != nil {
			waited = j.step.over()
			j.step.over = nil
		}
		res := j.res
		if res.Class == 0 {
			res = j.advanceLocked()
		}
		j.ended = res.Class != 0
		j.mu.Unlock()
		for _, bar := range waited {
			bar.down(b)
		}
		if res.Class != 0 {
			j.finish(b, res)
			return
		}
	}
}

// advanceLocked goes on to the next step, or gives the result of a job that has
// none. Nothing is with the device.
func (j *job) advanceLocked() backends.Result {
	if !j.begunLocked() { // nothing more was begun because of an abort
		return backends.Failed(backends.Aborted)
	}
	if j.step.then == nil {
		return backends.Done()
	}
	s, ok := j.step.then()
	if !ok {
		return backends.Done()
	}
	j.step, j.next = s, 0
	return backends.Result{}
}

// begunLocked tells whether all pieces of the step have been begun. A flush has
// no range and is one piece.
func (j *job) begunLocked() bool {
	return j.next >= j.step.bytes && (j.step.op != backends.Flush || j.next > 0)
}

func (j *job) deviceLocked() backends.Device {
	if j.step.dev != nil {
		return j.step.dev
	}
	return j.dev
}

// takeLocked prepares the next piece, or gives nil when none is to be begun now.
func (j *job) takeLocked() *piece {
	s := &j.step
	window := jobWindow
	if s.window != 0 {
		window = s.window
	}
	if j.begunLocked() || j.aborted || j.res.Class != 0 || j.active >= window {
		return nil
	}
	i := 0
	for j.pieces[i].busy {
		i++
	}
	p := &j.pieces[i]
	n := s.bytes - j.next
	if s.limit != 0 {
		n = min(n, s.limit)
	}
	if p.credit = s.payload(n); j.grant != nil && !j.grant.Take(p.credit) {
		if j.active > 0 {
			return nil // the end of one that has it tries again
		}
		j.grant.Force(p.credit)
	}
	p.j, p.at, p.busy = j, j.next, true
	r := &p.req
	r.Reset()
	p.list[0] = r
	r.Op, r.FUA, r.NoUnmap = s.op, s.fua, s.noUnmap
	r.Offset, r.Length = s.offset+j.next, n
	r.Origin, r.Completer = j.origin, p
	if s.fill != nil {
		s.fill(p)
	}
	j.next += max(n, 1)
	j.active++
	return p
}

// Complete takes the end of a piece and begins further ones.
func (p *piece) Complete(b *backends.Batch, r *backends.Request, res backends.Result) {
	j := p.j
	if res.OK() && r.Op == backends.Read && uint64(r.Data.Len()) != r.Length {
		res = backends.Failed(backends.Transport) // never a short read (promise P8)
	}
	if res.Class == backends.Miscompare {
		res.Sense.Information += p.at
	}
	j.mu.Lock()
	if j.step.took != nil {
		res = j.step.took(p, res)
	}
	r.Data.Release()
	p.busy = false
	if j.grant != nil {
		j.grant.Give(p.credit)
	}
	j.active--
	if !res.OK() {
		if j.res.Class == 0 {
			j.res = res
		}
		j.res.Sent = worse(j.res.Sent, res.Sent)
	}
	j.mu.Unlock()
	j.drive(b)
}

// worse is SentSome, which tells of a ghost, if one of the two is.
func worse(a, b backends.Sent) backends.Sent {
	if b == backends.SentSome {
		return b
	}
	return a
}

// abort has the pieces aborted and no further one begun.
func (j *job) abort(b *backends.Batch) {
	j.mu.Lock()
	j.aborted = true
	var busy []*backends.Request
	for i := range j.pieces {
		if j.pieces[i].busy {
			busy = append(busy, &j.pieces[i].req)
		}
	}
	dev := j.deviceLocked()
	j.mu.Unlock()
	for _, r := range busy {
		dev.Abort(b, r)
	}
	j.drive(b)
}

// join collects what the pieces of a read gave, in order.
type join struct {
	limit uint64
	parts []buffer.Vec
}

func newJoin(bytes, limit uint64) *join {
	if limit == 0 {
		limit = max(bytes, 1)
	}
	return &join{limit: limit, parts: make([]buffer.Vec, (bytes+limit-1)/limit)}
}

// took keeps the data of a piece.
func (x *join) took(p *piece, res backends.Result) backends.Result {
	if res.OK() {
		x.parts[p.at/x.limit].Move(&p.req.Data)
	}
	return res
}

// move takes all into v.
func (x *join) move(v *buffer.Vec) {
	for i := range x.parts {
		v.Move(&x.parts[i])
	}
}

// release drops all.
func (x *join) release() {
	for i := range x.parts {
		x.parts[i].Release()
	}
}
