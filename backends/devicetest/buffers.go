// SPDX-License-Identifier: Apache-2.0

package devicetest

import (
	"bytes"

	"pathgate/backends"
)

// testReadBuffers keeps what was read while the medium changes: it is the
// completer's, not the medium.
func testReadBuffers(s *suite) {
	n := min(s.maxTransfer(), 16*s.block)
	s.hand.do(s.write(0, n, 1))
	first, second := s.read(0, n), s.read(0, n)
	s.hand.start(first, second)
	s.ok(first, second)
	before := bytes.Clone(first.Data.Bytes())
	s.hand.do(s.write(0, n, 2))
	if !bytes.Equal(before, first.Data.Bytes()) || !bytes.Equal(before, second.Data.Bytes()) {
		s.errorf("what was read changed when the medium did")
	}
	first.Data.Release()
	if !bytes.Equal(before, second.Data.Bytes()) {
		s.errorf("what was read changed when another read was given back")
	}
	s.expect(0, n, 2)
}

// testWriteBuffers writes payloads of many shapes. That nobody holds or changes
// them is checked at the end, as for all cases.
func testWriteBuffers(s *suite) {
	blocks := min(s.maxTransfer()/s.block, 16)
	n := blocks * s.block
	// Each 16 bytes in a segment of their own, with empty ones between.
	c := s.newCall(backends.Write, 0, n, nil)
	want := randomBytes(s.rnd, n)
	for i := 0; i < len(want); i += 16 {
		s.append(c, want[i:i+16])
		if i%64 == 0 {
			s.append(c, nil)
		}
	}
	s.hand.start(c)
	s.ok(c)
	r := s.read(0, n)
	s.hand.start(r)
	s.ok(r)
	if !bytes.Equal(r.got, want) {
		s.errorf("a payload in %d segments was not written as it is", len(c.Data))
	}
	// Memory that needs no holder.
	c = s.newCall(backends.Write, 0, n, nil)
	c.Data.AppendZeros(int(n))
	s.hand.start(c)
	s.ok(c)
	s.expect(0, n, 0)
	// The same segment several times over.
	c = s.newCall(backends.Write, 0, n, nil)
	s.append(c, stamp(s.block, 9))
	for range blocks - 1 {
		c.Data.AppendRange(c.Data, 0, int(s.block))
	}
	s.hand.start(c)
	s.ok(c)
	s.expect(0, n, 9)
}

// testFlush flushes with writes outstanding and none, and opens the medium
// again where that is possible.
func testFlush(s *suite) {
	flush := func() *call { return s.newCall(backends.Flush, 0, 0, nil) }
	f := flush()
	s.hand.start(f)
	s.ok(f)
	var all []*call
	for i := range uint64(8) {
		c := s.write(i*s.block, s.block, 10+i)
		c.FUA = i%2 == 0
		all = append(all, c, flush())
	}
	z := s.newCall(backends.WriteZeroes, 8*s.block, s.block, nil)
	z.FUA = true
	all = append(all, z)
	s.hand.start(all...)
	s.ok(all...)
	f = flush()
	s.hand.start(f)
	s.ok(f)
	if s.hooks.Reopen != nil {
		s.closeDevice()
		s.dev = s.hooks.Reopen(s.t)
	}
	for i := range uint64(8) {
		s.expect(i*s.block, s.block, 10+i)
	}
	s.expect(8*s.block, s.block, 0)
}
