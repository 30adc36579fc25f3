// SPDX-License-Identifier: Apache-2.0

package devicetest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync/atomic"

	"pathgate/backends"
	"pathgate/internal/buffer"
)

// call is a request and its end.
type call struct {
	backends.Request
	s    *suite
	then func(b *backends.Batch, c *call) // called inside Complete
	done chan struct{}
	ends atomic.Int32
	res  backends.Result
	got  []byte // what a Read gave
	sent backends.Request
	sum  uint32 // of the payload
}

// String names the request.
func (c *call) String() string {
	return fmt.Sprintf("%v at %d of %d bytes", c.sent.Op, c.sent.Offset, c.sent.Length)
}

// newCall makes a request with payload data.
func (s *suite) newCall(op backends.Op, off, n uint64, data []byte) *call {
	c := &call{s: s, done: make(chan struct{})}
	c.Request = backends.Request{Op: op, Offset: off, Length: n, Completer: c}
	for len(data) > 0 { // in two segments, so that borders are seen
		k := len(data)
		if k > int(s.block) {
			k = (k/2 + 511) / 512 * 512
		}
		s.append(c, data[:k])
		data = data[k:]
	}
	return c
}

// append adds p to the payload in a segment of which the suite has a hold.
func (s *suite) append(c *call, p []byte) {
	seg := buffer.Get(len(p))
	copy(seg.Bytes(), p)
	seg.Retain()
	c.Data.Append(seg.Slice(0, len(p)))
	s.mu.Lock()
	s.holds = append(s.holds, seg)
	s.mu.Unlock()
}

// Complete takes the end and checks it.
func (c *call) Complete(b *backends.Batch, r *backends.Request, res backends.Result) {
	s := c.s
	if where, ok := s.inside.Load(goroutine()); ok {
		s.errorf("%v completed inside %v", c, where)
	}
	if r != &c.Request {
		s.errorf("%v: completed with another request", c)
	}
	if n := c.ends.Add(1); n != 1 {
		s.errorf("%v completed %d times", c, n)
		return
	}
	if s.ear != nil {
		s.ear.completed(r)
	}
	c.res = res
	c.check()
	if c.then != nil {
		c.then(b, c)
	}
	close(c.done)
}

// check judges what came back, whatever was asked.
func (c *call) check() {
	s, res := c.s, c.res
	if res.Class < backends.OK || res.Class > backends.Aborted {
		s.errorf("%v: class %v", c, res.Class)
	}
	if res.Sent > backends.SentAnswered || res.OK() && res.Sent != backends.SentAnswered {
		s.errorf("%v: result %v with sent %v", c, res.Class, res.Sent)
	}
	was := &c.sent
	if c.Op != was.Op || c.Offset != was.Offset || c.Length != was.Length || c.FUA != was.FUA ||
		c.NoUnmap != was.NoUnmap || c.FastZero != was.FastZero || c.Origin != was.Origin || c.Completer != was.Completer {
		s.errorf("%v: the device has changed the request", c)
	}
	switch {
	case c.Op != backends.Read:
		if c.sum != checksum(c.Data) {
			s.errorf("%v: the payload is not what it was", c)
		}
	case res.OK():
		c.got = bytes.Clone(c.Data.Bytes())
		if uint64(len(c.got)) != c.Length {
			s.errorf("%v gave %d bytes", c, len(c.got))
		}
	}
	if c.Op == backends.BlockStatus && res.OK() {
		c.checkExtents()
	}
}

func (c *call) checkExtents() {
	sum := uint64(0)
	for _, e := range c.Extents {
		if e.Length == 0 || e.Length%c.s.block != 0 {
			c.s.errorf("%v: an extent of %d bytes", c, e.Length)
		}
		sum += e.Length
	}
	if sum == 0 || sum > c.Length {
		c.s.errorf("%v: extents of %d bytes", c, sum)
	}
}

func checksum(v buffer.Vec) uint32 {
	sum := uint32(0)
	for i := range v {
		sum = crc32.Update(sum, crc32.IEEETable, v[i].B)
	}
	return sum
}

// hand is a goroutine that submits. It is used by that goroutine only.
type hand struct {
	s   *suite
	b   backends.Batch
	rnd *rand.Rand
}

func (s *suite) newHand() *hand {
	return &hand{s: s, rnd: rand.New(rand.NewPCG(s.rnd.Uint64(), 1))}
}

// in calls f, a method of the device that must not complete anything.
func (s *suite) in(method string, f func()) {
	id := goroutine()
	was, nested := s.inside.Load(id)
	s.inside.Store(id, method)
	f()
	s.inside.Delete(id)
	if nested {
		s.inside.Store(id, was)
	}
}

// submit hands the calls to the device, in one Submit; the batch is not run.
func (h *hand) submit(calls ...*call) { h.s.submitWith(&h.b, calls...) }

func (s *suite) submitWith(b *backends.Batch, calls ...*call) {
	reqs := make([]*backends.Request, len(calls))
	for i, c := range calls {
		reqs[i] = &c.Request
		c.sent, c.sum = c.Request, checksum(c.Data)
		c.sent.Data = nil
	}
	s.mu.Lock()
	s.calls = append(s.calls, calls...)
	s.mu.Unlock()
	s.in("Submit", func() { s.dev.Submit(b, reqs) })
	clear(reqs) // they were borrowed
}

// start submits and runs the batch, and waits for nothing.
func (h *hand) start(calls ...*call) {
	h.submit(calls...)
	h.b.Run()
}

// do submits each call alone, and waits for its end.
func (h *hand) do(calls ...*call) {
	h.s.t.Helper()
	for _, c := range calls {
		h.start(c)
		h.s.wait(c)
	}
}

func (h *hand) abort(c *call) {
	h.s.in("Abort", func() { h.s.dev.Abort(&h.b, &c.Request) })
	h.b.Run()
}

// reset starts a reset. then, if not nil, is called when it is done, before
// done is closed.
func (h *hand) reset(then func(backends.Result)) (done chan struct{}) {
	s := h.s
	done = make(chan struct{})
	var ends atomic.Int32
	s.in("Reset", func() {
		s.dev.Reset(&h.b, func(_ *backends.Batch, res backends.Result) {
			if where, ok := s.inside.Load(goroutine()); ok {
				s.errorf("reset done inside %v", where)
			}
			if ends.Add(1) != 1 {
				s.errorf("reset done twice")
				return
			}
			if res.Class != backends.OK && res.Class != backends.Transport {
				s.errorf("reset: result %v", res.Class)
			}
			if then != nil {
				then(res)
			}
			close(done)
		})
	})
	h.b.Run()
	return done
}

// wait waits for the ends of calls.
func (s *suite) wait(calls ...*call) {
	s.t.Helper()
	for _, c := range calls {
		s.await(c.String(), c.done)
	}
}

// ok waits for calls, which have to succeed.
func (s *suite) ok(calls ...*call) {
	s.t.Helper()
	s.wait(calls...)
	for _, c := range calls {
		if !c.res.OK() {
			s.errorf("%v: %v", c, c.res.Err())
		}
	}
}

// ended tells whether c has completed.
func (c *call) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// write makes a write of n bytes that carry number id in each 8 bytes.
func (s *suite) write(off, n, id uint64) *call {
	return s.newCall(backends.Write, off, n, stamp(n, id))
}

func (s *suite) read(off, n uint64) *call { return s.newCall(backends.Read, off, n, nil) }

func stamp(n, id uint64) []byte {
	p := make([]byte, n)
	for i := 0; i < len(p); i += 8 {
		binary.BigEndian.PutUint64(p[i:], id)
	}
	return p
}

// stampOf gives the number that a block carries; it has to be whole.
func (s *suite) stampOf(block []byte) uint64 {
	id := binary.BigEndian.Uint64(block)
	if !bytes.Equal(block, stamp(uint64(len(block)), id)) {
		s.errorf("a block is torn: it begins with number %d and has others", id)
	}
	return id
}

// expect reads n bytes at off and wants number id in every block.
func (s *suite) expect(off, n, id uint64) {
	s.t.Helper()
	for n > 0 {
		k := min(n, s.maxTransfer())
		c := s.read(off, k)
		s.hand.start(c)
		s.ok(c)
		for p := c.got; len(p) > 0; p = p[s.block:] {
			if got := s.stampOf(p[:s.block]); got != id {
				s.errorf("block at %d has number %d, want %d", off+k-uint64(len(p)), got, id)
				return
			}
		}
		off, n = off+k, n-k
	}
}

// maxTransfer gives the longest read and write that is used, in bytes.
func (s *suite) maxTransfer() uint64 {
	n := uint64(256 << 10)
	if s.info.MaxTransfer != 0 {
		n = min(n, uint64(s.info.MaxTransfer))
	}
	return max(s.block, min(n, s.span/4)/s.block*s.block)
}

// goroutine gives the number of the running goroutine, which package runtime
// tells in stack traces only.
func goroutine() uint64 {
	var buf [64]byte
	p := bytes.TrimPrefix(buf[:runtime.Stack(buf[:], false)], []byte("goroutine "))
	n, err := strconv.ParseUint(string(p[:max(0, bytes.IndexByte(p, ' '))]), 10, 64)
	if err != nil {
		panic("devicetest: a stack trace without a goroutine number")
	}
	return n
}
