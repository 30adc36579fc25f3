// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"fmt"
	"sync"
	"sync/atomic"

	"pathgate/internal/buffer"
)

const (
	memChunk    = 1 << 20 // unit of allocation and of locking
	memBlock    = 512
	memStatus   = 1 << 16  // most chunks that one BlockStatus looks at
	memExtents  = 1024     // and most extents that it tells
	memCommands = 1024     // credits of a flow, as the scheduler's default
	memBytes    = 64 << 20 // likewise
)

// Memory is a disk in memory, sparse in units of 1 MiB. It is for tests,
// benchmarks of front-ends, and scratch disks. Every operation but abort takes
// effect inside Submit; completions come by the batch. Make it with NewMemory.
type Memory struct {
	info     Info
	chunks   []memoryChunk
	closed   atomic.Bool
	pool     *Pool
	watchers Watchers
}

type memoryChunk struct {
	mu sync.RWMutex
	b  []byte // nil: zeros
}

// NewMemory makes a disk of size bytes, a positive multiple of 512.
func NewMemory(size uint64) (*Memory, error) {
	if size == 0 || size%memBlock != 0 || size > 1<<50 {
		return nil, fmt.Errorf("memory device of %d bytes: size must be a positive multiple of %d", size, memBlock)
	}
	return &Memory{
		info: Info{
			Size: size, LogicalBlock: memBlock, PhysicalBlock: 4096, Available: true, MaxAtomic: memChunk,
			Caps: CanFUA | CanUnmap | UnmapZeroes | CanWriteZeroes | CanCompareAndWrite |
				CanVerify | CanCache | CanBlockStatus | MultiConn,
		},
		chunks: make([]memoryChunk, (size+memChunk-1)/memChunk),
		pool:   NewPool(memCommands, memBytes),
	}, nil
}

// Info describes the disk.
func (m *Memory) Info() Info { return m.info }

// Grant gives the credits of a connection.
func (m *Memory) Grant(*Origin) *Grant { return NewGrant(memCommands, m.pool) }

// Watch never calls fn: a memory disk does not change.
func (m *Memory) Watch(fn func(Change)) (stop func()) { return m.watchers.Watch(fn) }

// Abort does nothing: whatever was submitted is already complete.
func (m *Memory) Abort(*Batch, *Request) {}

// Reset calls done: whatever was submitted is already complete.
func (m *Memory) Reset(b *Batch, done func(*Batch, Result)) {
	b.Defer(runFunc(func(b *Batch) { done(b, Done()) }))
}

// runFunc makes a Runner of a function.
type runFunc func(b *Batch)

// RunBatch calls f.
func (f runFunc) RunBatch(b *Batch) { f(b) }

// Close refuses further requests. The content is lost when m is.
func (m *Memory) Close() error {
	m.closed.Store(true)
	return nil
}

// Submit carries reqs out.
func (m *Memory) Submit(b *Batch, reqs []*Request) {
	for _, r := range reqs {
		if m.closed.Load() {
			b.Complete(r, Failed(Aborted))
			continue
		}
		res := m.info.Check(r)
		if res.OK() {
			res = m.do(r)
		}
		b.Complete(r, res)
	}
}

func (m *Memory) do(r *Request) Result {
	switch r.Op {
	case Read:
		m.read(r)
	case Write:
		m.write(r)
	case Unmap, WriteZeroes:
		m.each(r.Offset, r.Length, func(c *memoryChunk, at, n, _ int) { c.zero(at, n) })
	case CompareAndWrite:
		return m.compareAndWrite(r)
	case Verify:
		if len(r.Data) > 0 {
			return m.compare(r, r.Data)
		}
	case BlockStatus:
		m.status(r)
	default: // Flush and Cache have nothing to do
	}
	return Done()
}

// each calls fn for the part of the range in each chunk: at is the offset in
// the chunk, done that in the range.
func (m *Memory) each(off, length uint64, fn func(c *memoryChunk, at, n, done int)) {
	for done := uint64(0); done < length; {
		at := (off + done) % memChunk
		n := min(length-done, memChunk-at)
		fn(&m.chunks[(off+done)/memChunk], int(at), int(n), int(done))
		done += n
	}
}

// touched gives the chunks of the range. Who locks several does so in order.
func (m *Memory) touched(r *Request) []memoryChunk {
	return m.chunks[r.Offset/memChunk : (r.Offset+r.Length-1)/memChunk+1]
}

// read holds all chunks of the range, so that it sees all of a write or nothing.
func (m *Memory) read(r *Request) {
	touched := m.touched(r)
	for i := range touched {
		touched[i].mu.RLock()
	}
	for done := uint64(0); done < r.Length; {
		at := (r.Offset + done) % memChunk
		n := min(r.Length-done, memChunk-at)
		seg := buffer.Get(int(n))
		m.chunks[(r.Offset+done)/memChunk].readLocked(seg.Bytes()[:n], int(at))
		r.Data.Append(seg.Slice(0, int(n)))
		done += n
	}
	for i := range touched {
		touched[i].mu.RUnlock()
	}
}

func (c *memoryChunk) readLocked(p []byte, at int) {
	if c.b == nil {
		clear(p)
	} else {
		copy(p, c.b[at:])
	}
}

// write holds all chunks of the range.
func (m *Memory) write(r *Request) {
	touched := m.touched(r)
	for i := range touched {
		touched[i].mu.Lock()
	}
	m.each(r.Offset, r.Length, func(c *memoryChunk, at, n, done int) {
		c.writeLocked(at, r.Data, done, n)
	})
	for i := range touched {
		touched[i].mu.Unlock()
	}
}

// writeLocked stores bytes [from, from+n) of v at offset at.
func (c *memoryChunk) writeLocked(at int, v buffer.Vec, from, n int) {
	if c.b == nil {
		c.b = make([]byte, memChunk)
	}
	for i := range v {
		p := v[i].B
		if from >= len(p) {
			from -= len(p)
			continue
		}
		p = p[from:]
		from = 0
		k := copy(c.b[at:at+n], p)
		at, n = at+k, n-k
		if n == 0 {
			return
		}
	}
}

func (c *memoryChunk) zero(at, n int) {
	c.mu.Lock()
	switch {
	case c.b == nil:
	case n == memChunk:
		c.b = nil
	default:
		clear(c.b[at : at+n])
	}
	c.mu.Unlock()
}

// compare tells where the range first differs from v.
func (m *Memory) compare(r *Request, v buffer.Vec) Result {
	var have buffer.Vec
	defer have.Release()
	tmp := Request{Offset: r.Offset, Length: r.Length}
	m.read(&tmp)
	have.Move(&tmp.Data)
	return firstDifference(have.Bytes(), v.Bytes()[:r.Length])
}

func firstDifference(a, b []byte) Result {
	for i := range a {
		if a[i] != b[i] {
			return Result{
				Class: Miscompare, Sent: SentAnswered, Status: 2,
				Sense: Sense{Valid: true, Key: 0xe, ASC: 0x1d, HasInfo: true, Information: uint64(i)},
			}
		}
	}
	return Done()
}

// compareAndWrite holds the locks of all chunks of the range, lowest first.
func (m *Memory) compareAndWrite(r *Request) Result {
	touched := m.touched(r)
	for i := range touched {
		touched[i].mu.Lock()
		defer touched[i].mu.Unlock()
	}
	want := r.Data.Bytes()
	res := Done()
	m.each(r.Offset, r.Length, func(c *memoryChunk, at, n, done int) {
		if !res.OK() {
			return
		}
		have := c.b
		if have == nil {
			have = make([]byte, memChunk)
		}
		if d := firstDifference(have[at:at+n], want[done:done+n]); !d.OK() {
			d.Sense.Information += uint64(done)
			res = d
		}
	})
	if res.OK() {
		m.each(r.Offset, r.Length, func(c *memoryChunk, at, n, done int) {
			c.writeLocked(at, r.Data, int(r.Length)+done, n)
		})
	}
	return res
}

// status tells the begin of a range that is long or fragmented.
func (m *Memory) status(r *Request) {
	m.each(r.Offset, min(r.Length, memStatus*memChunk), func(c *memoryChunk, _, n, _ int) {
		c.mu.RLock()
		hole := c.b == nil
		c.mu.RUnlock()
		if len(r.Extents) <= memExtents {
			r.Extents = appendExtent(r.Extents, Extent{Length: uint64(n), Hole: hole, Zero: hole})
		}
	})
	r.Extents = r.Extents[:min(len(r.Extents), memExtents)]
}

// appendExtent adds e, joined with the last one when it is of the same kind.
func appendExtent(x []Extent, e Extent) []Extent {
	if n := len(x); n > 0 && x[n-1].Hole == e.Hole && x[n-1].Zero == e.Zero {
		x[n-1].Length += e.Length
		return x
	}
	return append(x, e)
}
