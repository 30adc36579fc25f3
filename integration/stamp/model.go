// SPDX-License-Identifier: Apache-2.0

package stamp

import (
	"hash/crc64"
	"io"
	"math"
	"slices"
	"sync"
	"time"
)

const never = math.MaxInt64

// op is one write. Times are the model's counter; begun and ended are for reports.
type op struct {
	writer       uint32
	seq          uint64
	lba, count   uint64
	start, end   int64 // end: acknowledgement or error; never while in flight
	failed       bool
	begun, ended time.Duration
}

// acked is when the write was acknowledged.
func (o *op) acked() int64 {
	if o.failed {
		return never
	}
	return o.end
}

// value is one value that a sector has had or may have.
type value struct {
	op       *op   // the initial contents have an op with writer and seq 0
	seen     int64 // end of the first read that returned it
	lastRead int64 // start of the latest such read
}

func (v *value) first() int64 { return min(v.op.acked(), v.seen) }

func (v *value) last() int64 { return max(v.op.start, v.lastRead) }

// blocks tells whether a read of u that began at start breaks the history
// because of v.
func (v *value) blocks(u *value, start int64) bool {
	if u.first() < v.last() && v.first() < max(u.last(), start) {
		return true
	}
	return u.op.failed && u.op.end < v.op.start && v.op.acked() < start
}

// pruneAt is the number of values of a sector from which the dead are removed.
const pruneAt = 8

// model is the journal in memory and the judge. Safe for concurrent use.
type model struct {
	run     uint64
	began   time.Time
	initial *op  // what the sectors held before the run
	atomic  bool // a read in the middle of a write is a violation

	mu      sync.Mutex
	now     int64 // counts events
	sectors [][]value
	hashes  []uint64 // of the initial contents
	ops     map[uint32][]*op
	reads   []int64 // starts of the reads in flight
	races   int64   // sectors read in the middle of a write
	log     io.Writer
	logErr  error
}

func newModel(run uint64, sectors uint64, log io.Writer) *model {
	m := &model{
		run: run, began: time.Now(), initial: &op{count: sectors}, log: log,
		sectors: make([][]value, sectors), hashes: make([]uint64, sectors), ops: make(map[uint32][]*op),
	}
	zero := hash(make([]byte, SectorSize))
	for i := range m.hashes {
		m.hashes[i] = zero
	}
	m.write(entry{kind: recBegin, lba: sectors, hash: run})
	return m
}

func hash(b []byte) uint64 { return crc64.Checksum(b, crc64.MakeTable(crc64.ECMA)) }

// setInitial records what the sectors from lba hold before the first write.
func (m *model) setInitial(lba uint64, b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := entry{kind: recInitial}
	for i := uint64(0); i*SectorSize < uint64(len(b)); i++ {
		h := hash(b[i*SectorSize : (i+1)*SectorSize])
		m.hashes[lba+i] = h
		if e.count > 0 && e.hash == h {
			e.count++
			continue
		}
		m.write(e)
		e = entry{kind: recInitial, lba: lba + i, count: 1, hash: h}
	}
	m.write(e)
}

func (m *model) at(lba uint64) *[]value {
	s := &m.sectors[lba]
	if *s == nil {
		*s = append(*s, value{op: m.initial, seen: never})
	}
	return s
}

// beginWrite records the intent of a write; the request must be sent after it.
func (m *model) beginWrite(writer uint32, lba, count uint64) *op {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.beginWriteLocked(writer, lba, count, time.Since(m.began))
}

func (m *model) beginWriteLocked(writer uint32, lba, count uint64, begun time.Duration) *op {
	m.now++
	o := &op{writer: writer, lba: lba, count: count, start: m.now, end: never, begun: begun}
	m.ops[writer] = append(m.ops[writer], o)
	o.seq = uint64(len(m.ops[writer]))
	m.write(entry{kind: recIntent, writer: writer, seq: o.seq, lba: lba, count: count, time: begun})
	for i := lba; i < lba+count; i++ {
		s := m.at(i)
		if len(*s) >= pruneAt {
			m.prune(s)
		}
		*s = append(*s, value{op: o, seen: never})
	}
	return o
}

// endWrite records the answer to a write.
func (m *model) endWrite(o *op, failed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.endWriteLocked(o, failed, time.Since(m.began))
}

func (m *model) endWriteLocked(o *op, failed bool, ended time.Duration) {
	m.now++
	o.end, o.failed, o.ended = m.now, failed, ended
	kind := uint8(recAck)
	if failed {
		kind = recError
	}
	m.write(entry{kind: kind, writer: o.writer, seq: o.seq, lba: o.lba, count: o.count, time: o.ended})
}

// prune removes the values that no read may return any more. A value is kept
// while it could still forbid another one to a read in flight, so nothing that
// a removed value forbade becomes permissible.
func (m *model) prune(s *[]value) {
	horizon := m.now + 1
	for _, start := range m.reads {
		horizon = min(horizon, start)
	}
	var dead []bool
	for i := range *s {
		v, d := &(*s)[i], false
		settled := v.op.end < horizon && (v.first() < horizon || v.first() == never)
		for j := range *s {
			w := &(*s)[j]
			d = d || i != j && settled && w.first() < horizon && w.blocks(v, horizon)
		}
		dead = append(dead, d)
	}
	i := -1
	*s = slices.DeleteFunc(*s, func(value) bool { i++; return dead[i] })
}

// read is one read in flight.
type read struct {
	lba, count uint64
	start      int64
	begun      time.Duration
}

// beginRead notes that a read is about to be sent.
func (m *model) beginRead(lba, count uint64) read {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now++
	m.reads = append(m.reads, m.now)
	return read{lba: lba, count: count, start: m.now, begun: time.Since(m.began)}
}

// endRead judges what a read returned; b is nil if it failed.
func (m *model) endRead(r read, b []byte) (bad []Violation) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now++
	i := slices.Index(m.reads, r.start)
	m.reads = slices.Delete(m.reads, i, i+1)
	if b == nil {
		return nil
	}
	for i := range r.count {
		if v, ok := m.judge(r, r.lba+i, b[i*SectorSize:(i+1)*SectorSize]); !ok {
			bad = append(bad, v)
		}
	}
	return bad
}

// judge checks one sector and, if it is well, notes that its value was seen.
func (m *model) judge(r read, lba uint64, b []byte) (Violation, bool) {
	values := m.at(lba)
	s, err := parse(b, m.run)
	found, kind := m.identify(lba, b, s, err)
	if found == nil && err != nil && !m.atomic && m.raced(r, *values, lba, b) {
		m.races++
		return Violation{}, true
	}
	if found == nil {
		return m.violation(kind, r, lba, describe(s, err), nil), false
	}
	at := slices.IndexFunc(*values, func(v value) bool { return v.op == found })
	if at < 0 { // pruned: overwritten long ago
		return m.violation(Ghost, r, lba, describe(s, err), nil), false
	}
	v := &(*values)[at]
	for i := range *values {
		if w := &(*values)[i]; i != at && w.blocks(v, r.start) {
			kind := Stale
			if w.seen != never {
				kind = Ghost
			}
			return m.violation(kind, r, lba, describe(s, err), w), false
		}
	}
	v.seen = min(v.seen, m.now)
	v.lastRead = max(v.lastRead, r.start)
	return Violation{}, true
}

// identify finds the write that the contents of a sector come from; s and err
// are what parse said of them.
func (m *model) identify(lba uint64, b []byte, s Stamp, err error) (*op, ViolationKind) {
	switch {
	case err == errTorn:
		return nil, Torn
	case err != nil && hash(b) == m.hashes[lba]:
		return m.initial, 0
	case err != nil:
		return nil, Corrupt
	case s.LBA != lba:
		return nil, Misdirected
	}
	ops := m.ops[s.Writer]
	if s.Seq == 0 || s.Seq > uint64(len(ops)) {
		return nil, Corrupt // whole, but never issued
	}
	o := ops[s.Seq-1]
	if lba < o.lba || lba >= o.lba+o.count {
		return nil, Misdirected
	}
	return o, 0
}
