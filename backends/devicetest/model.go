// SPDX-License-Identifier: Apache-2.0

package devicetest

import (
	"bytes"
	"math/rand/v2"

	"pathgate/backends"
)

// model is what the medium must hold, by block: a known content or an unknown
// one (never written, or unmapped).
type model struct {
	s     *suite
	bytes []byte
	known []bool
}

func (s *suite) newModel() *model {
	return &model{s: s, bytes: make([]byte, s.span), known: make([]bool, s.span/s.block)}
}

func (m *model) mark(off, n uint64, known bool) {
	for i := off / m.s.block; i < (off+n)/m.s.block; i++ {
		m.known[i] = known
	}
}

// isKnown tells whether all of the range is.
func (m *model) isKnown(off, n uint64) bool {
	for i := off / m.s.block; i < (off+n)/m.s.block; i++ {
		if !m.known[i] {
			return false
		}
	}
	return true
}

// apply carries out c, which has succeeded.
func (m *model) apply(c *call) {
	off, n := c.Offset, c.Length
	switch c.Op {
	case backends.Write:
		c.Data.CopyTo(m.bytes[off:])
		m.mark(off, n, true)
	case backends.CompareAndWrite:
		copy(m.bytes[off:off+n], c.Data.Bytes()[n:])
	case backends.WriteZeroes:
		clear(m.bytes[off : off+n])
		m.mark(off, n, true)
	case backends.Unmap:
		clear(m.bytes[off : off+n])
		m.mark(off, n, m.s.info.Caps.Has(backends.UnmapZeroes))
	default: // the others change nothing
	}
}

// check compares what c read with the model.
func (m *model) check(c *call) {
	for at := uint64(0); at < c.Length && at+m.s.block <= uint64(len(c.got)); at += m.s.block {
		off := c.Offset + at
		if m.known[off/m.s.block] && !bytes.Equal(c.got[at:at+m.s.block], m.bytes[off:off+m.s.block]) {
			m.s.errorf("%v: the block at %d is not what was written", c, off)
			return
		}
	}
}

// checkAll reads everything.
func (m *model) checkAll() {
	s := m.s
	for off := uint64(0); off < s.span; {
		c := s.read(off, min(s.span-off, s.maxTransfer()))
		s.hand.start(c)
		s.ok(c)
		m.check(c)
		off += c.Length
	}
}

// limit gives the longest range for op that is used, in bytes.
func (s *suite) limit(op backends.Op) uint64 {
	var limit uint64
	switch op {
	case backends.Unmap:
		limit = s.info.MaxUnmap
	case backends.WriteZeroes:
		limit = s.info.MaxZeroes
	case backends.Read, backends.Write, backends.Verify:
		limit = s.maxTransfer()
	case backends.CompareAndWrite:
		limit = s.info.CompareLimit()
	case backends.Flush, backends.Cache, backends.BlockStatus:
	}
	if limit == 0 {
		return s.span
	}
	return max(s.block, min(limit, s.span)/s.block*s.block)
}

// ops gives the operations that the device does, the usual ones more often.
func (s *suite) ops() []backends.Op {
	ops := []backends.Op{
		backends.Write, backends.Write, backends.Write, backends.Write,
		backends.Read, backends.Read, backends.Read, backends.Flush, backends.WriteZeroes,
	}
	for cap, op := range map[backends.Caps]backends.Op{
		backends.CanUnmap: backends.Unmap, backends.CanCompareAndWrite: backends.CompareAndWrite,
		backends.CanVerify: backends.Verify, backends.CanCache: backends.Cache, backends.CanBlockStatus: backends.BlockStatus,
	} {
		if s.info.Caps.Has(cap) {
			ops = append(ops, op)
		}
	}
	return ops
}

// random makes a request of any kind.
func (m *model) random(r *rand.Rand, ops []backends.Op) *call {
	s := m.s
	op := ops[r.IntN(len(ops))]
	if op == backends.Flush {
		return s.newCall(op, 0, 0, nil)
	}
	off := r.Uint64N(s.span/s.block) * s.block
	n := min((1+r.Uint64N(min(s.limit(op)/s.block, 1+r.Uint64N(256))))*s.block, s.span-off)
	var data []byte
	switch op {
	case backends.Write:
		data = randomBytes(r, n)
	case backends.CompareAndWrite:
		n = min(n, 4*s.block, s.limit(op))
		data = append(bytes.Clone(m.bytes[off:off+n]), randomBytes(r, n)...)
		if r.IntN(2) == 0 {
			data[r.Uint64N(n)] ^= 0x55
		}
	case backends.Verify:
		if r.IntN(2) == 0 {
			data = bytes.Clone(m.bytes[off : off+n])
			if r.IntN(2) == 0 {
				data[r.Uint64N(n)] ^= 0x55
			}
		}
	case backends.Read, backends.Flush, backends.Unmap, backends.WriteZeroes, backends.Cache, backends.BlockStatus:
	}
	c := s.newCall(op, off, n, data)
	c.FUA = op.Changes() && r.IntN(8) == 0
	c.NoUnmap = op == backends.WriteZeroes && r.IntN(3) == 0
	c.FastZero = op == backends.WriteZeroes && r.IntN(4) == 0
	return c
}

func randomBytes(r *rand.Rand, n uint64) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(r.Uint32())
	}
	return p
}

// judge compares the end of c with the model, and carries it out there.
func (m *model) judge(c *call) {
	s, want := m.s, backends.OK
	off, n := c.Offset, c.Length
	switch c.Op {
	case backends.Read:
		m.check(c)
	case backends.CompareAndWrite, backends.Verify:
		if len(c.Data) == 0 {
			break
		}
		p := c.Data.Bytes()[:n]
		at := 0
		for at < len(p) && p[at] == m.bytes[off+uint64(at)] {
			at++
		}
		switch {
		case !m.isKnown(off, n):
			want = c.res.Class // either may be right
			m.mark(off, n, false)
		case at < len(p):
			want = backends.Miscompare
			if sn := c.res.Sense; c.res.Class == want && sn.HasInfo && sn.Information != uint64(at) {
				s.errorf("%v: miscompare told at byte %d, it is at %d", c, sn.Information, at)
			}
		}
	case backends.WriteZeroes:
		if c.FastZero && c.res.Class == backends.Unsupported {
			return
		}
	case backends.Write, backends.Flush, backends.Unmap, backends.Cache, backends.BlockStatus:
	}
	if c.res.Class != want {
		s.errorf("%v: %v, want %v", c, c.res.Class, want)
	}
	if c.res.OK() && m.isKnown(off, n) || c.Op == backends.Write || c.Op == backends.WriteZeroes || c.Op == backends.Unmap {
		m.apply(c)
	}
	if c.Op == backends.BlockStatus && c.res.OK() {
		m.checkStatus(c)
	}
}

// checkStatus looks for data in what is told to be zeros.
func (m *model) checkStatus(c *call) {
	off := c.Offset
	for _, e := range c.Extents {
		for p := off; e.Zero && p < off+e.Length; p += m.s.block {
			if m.known[p/m.s.block] && len(bytes.Trim(m.bytes[p:p+m.s.block], "\x00")) > 0 {
				m.s.errorf("%v: told zero at %d, where there is data", c, p)
				return
			}
		}
		off += e.Length
	}
}

// testModel compares random requests, one after the other, with the model.
func testModel(s *suite) {
	m, ops := s.newModel(), s.ops()
	for range 400 {
		c := m.random(s.rnd, ops)
		s.hand.do(c)
		m.judge(c)
	}
	m.checkAll()
}
