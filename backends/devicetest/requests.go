// SPDX-License-Identifier: Apache-2.0

package devicetest

import (
	"math"

	"pathgate/backends"
)

// testInfo looks at Info alone.
func testInfo(s *suite) {
	i := s.info
	powers := func(n uint32) bool { return n != 0 && n&(n-1) == 0 }
	switch {
	case !i.Available:
		s.errorf("the device is not available")
	case !powers(i.LogicalBlock) || i.LogicalBlock < 512 || !powers(i.PhysicalBlock) || i.PhysicalBlock < i.LogicalBlock:
		s.errorf("blocks of %d, physical %d", i.LogicalBlock, i.PhysicalBlock)
	case i.Size == 0 || i.Size%uint64(i.LogicalBlock) != 0:
		s.errorf("size %d is not in blocks of %d", i.Size, i.LogicalBlock)
	case i.MaxTransfer != 0 && i.MaxTransfer < i.LogicalBlock:
		s.errorf("at most %d bytes a transfer, blocks of %d", i.MaxTransfer, i.LogicalBlock)
	case i.Caps.Has(backends.UnmapZeroes) && !i.Caps.Has(backends.CanUnmap):
		s.errorf("UnmapZeroes without CanUnmap")
	}
}

// wrong is a request that must be refused.
type wrong struct {
	name string
	c    *call
	want backends.Class
}

// wrongOnes lists requests that no device takes, and those that this one does
// not.
func (s *suite) wrongOnes() []wrong {
	b, size := s.block, s.info.Size
	data := func(blocks uint64) []byte { return make([]byte, blocks*b) }
	bad := backends.IllegalRequest
	list := []wrong{
		{"offset inside a block", s.newCall(backends.Read, 1, b, nil), bad},
		{"length inside a block", s.newCall(backends.Read, 0, b+1, nil), bad},
		{"no length", s.newCall(backends.Read, 0, 0, nil), bad},
		{"beyond the end", s.newCall(backends.Read, size, b, nil), bad},
		{"across the end", s.newCall(backends.Read, size-b, 2*b, nil), bad},
		{"offset and length overflow", s.newCall(backends.Read, math.MaxUint64-b+1, b, nil), bad},
		{"length overflows", s.newCall(backends.Read, b, math.MaxUint64-b+1, nil), bad},
		{"read with a payload", s.newCall(backends.Read, 0, b, data(1)), bad},
		{"unknown operation", s.newCall(backends.BlockStatus+1, 0, b, nil), backends.Unsupported},
		{"no operation", s.newCall(0, 0, b, nil), backends.Unsupported},
	}
	if m := s.info.MaxTransfer; m != 0 && uint64(m)+b <= size {
		list = append(list, wrong{"longer than MaxTransfer", s.newCall(backends.Read, 0, uint64(m)/b*b+b, nil), bad})
	}
	if s.info.Caps.Has(backends.ReadOnly) {
		return list
	}
	list = append(list,
		wrong{"write with too little", s.newCall(backends.Write, 0, 2*b, data(1)), bad},
		wrong{"write with too much", s.newCall(backends.Write, 0, b, data(2)), bad},
		wrong{"write across the end", s.newCall(backends.Write, size-b, 2*b, data(2)), bad},
		wrong{"zeroes across the end", s.newCall(backends.WriteZeroes, size-b, 2*b, nil), bad})
	if m := s.info.MaxZeroes; m != 0 && m+b <= size {
		list = append(list, wrong{"longer than MaxZeroes", s.newCall(backends.WriteZeroes, 0, m/b*b+b, nil), bad})
	}
	if m := s.info.MaxUnmap; m != 0 && m+b <= size && s.info.Caps.Has(backends.CanUnmap) {
		list = append(list, wrong{"longer than MaxUnmap", s.newCall(backends.Unmap, 0, m/b*b+b, nil), bad})
	}
	for _, o := range []struct {
		cap  backends.Caps
		op   backends.Op
		data []byte
	}{
		{backends.CanUnmap, backends.Unmap, nil},
		{backends.CanCompareAndWrite, backends.CompareAndWrite, data(2)},
		{backends.CanVerify, backends.Verify, nil},
		{backends.CanCache, backends.Cache, nil},
		{backends.CanBlockStatus, backends.BlockStatus, nil},
	} {
		want := bad
		off := size // what it can do it refuses beyond its end
		if !s.info.Caps.Has(o.cap) {
			want, off = backends.Unsupported, 0
		}
		list = append(list, wrong{o.op.String(), s.newCall(o.op, off, b, o.data), want})
	}
	return list
}

// testWrong mixes wrong requests with right ones in the same Submit.
func testWrong(s *suite) {
	list := s.wrongOnes()
	canWrite := !s.info.Caps.Has(backends.ReadOnly)
	var all []*call
	right := func() {
		if canWrite {
			all = append(all, s.write(0, s.block, 7))
		} else {
			all = append(all, s.read(s.info.Size-s.block, s.block))
		}
	}
	right()
	for _, w := range list {
		all = append(all, w.c)
	}
	right()
	s.hand.start(all...)
	s.wait(all...)
	s.ok(all[0], all[len(all)-1])
	for _, w := range list {
		if w.c.res.Class != w.want || w.c.res.Sent == backends.SentSome {
			s.errorf("%s: %v, sent %v, want %v", w.name, w.c.res.Class, w.c.res.Sent, w.want)
		}
	}
	if canWrite {
		s.expect(0, s.block, 7)
		last := s.info.Size - s.block
		s.hand.do(s.write(last, s.block, 8))
		s.expect(last, s.block, 8)
	}
}

func testReadOnly(s *suite) {
	if !s.info.Caps.Has(backends.ReadOnly) {
		s.t.Log("does not apply: the device can be written")
		return
	}
	for _, c := range []*call{s.write(0, s.block, 1), s.newCall(backends.WriteZeroes, 0, s.block, nil)} {
		s.hand.do(c)
		if c.res.Class != backends.DataProtect {
			s.errorf("%v: %v, want data protect", c, c.res.Class)
		}
	}
	f := s.newCall(backends.Flush, 0, 0, nil)
	s.hand.start(f)
	s.ok(f)
}

// testThousands submits far more than any queue has room for, twice.
func testThousands(s *suite) {
	const n = 4096
	blocks := min(n, s.span/s.block)
	var writes, reads []*call
	for i := range uint64(n) {
		writes = append(writes, s.write(i%blocks*s.block, s.block, 1+i))
		reads = append(reads, s.read(i%blocks*s.block, s.block))
	}
	s.hand.start(writes...)
	s.ok(writes...)
	s.hand.start(reads...)
	s.ok(reads...)
	for i, c := range reads {
		want := 1 + uint64(i)%blocks
		for want+blocks <= n {
			want += blocks
		}
		if len(c.got) > 0 && s.stampOf(c.got) != want {
			s.errorf("%v: number %d, want %d", c, s.stampOf(c.got), want)
			return
		}
	}
}

// testReentrant submits the next request from inside Complete, and calls
// whatever else there is: a lock that is held there blocks for ever.
func testReentrant(s *suite) {
	const length = 300
	end := make(chan struct{})
	blocks := s.span / s.block
	var next func(b *backends.Batch, i uint64)
	next = func(b *backends.Batch, i uint64) {
		var c *call
		if off := i % blocks * s.block; i%3 == 1 {
			c = s.read(off, s.block)
		} else {
			c = s.write(off, s.block, i)
		}
		c.then = func(b *backends.Batch, c *call) {
			if !c.res.OK() {
				s.errorf("%v: %v", c, c.res.Err())
			}
			s.dev.Info()
			s.dev.Watch(func(backends.Change) {})()
			s.dev.Grant(nil).Take(1)
			if i == length/2 {
				s.in("Reset", func() { s.dev.Reset(b, func(*backends.Batch, backends.Result) {}) })
			}
			if i == length {
				close(end)
				return
			}
			next(b, i+1)
		}
		s.submitWith(b, c)
	}
	next(&s.hand.b, 0)
	s.hand.b.Run()
	s.await("the chain of requests", end)
}
