// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"pathgate/internal/buffer"
)

const (
	// maxVector is the most slices that one vector write takes. A longer list
	// gains nothing: the copy into the kernel outweighs the call.
	maxVector = 64
	// maxWrite is how many bytes one vector write takes, but for a single slice
	// that is longer: what is in a write cannot be overtaken any more.
	maxWrite = 1 << 20
	// headerChunk is the memory in which headers are collected, in bytes.
	headerChunk = 4096
	// joinBytes is the most that writeConn puts into one Write: a TLS record.
	joinBytes = 16 << 10
)

// ErrClosed is what Append returns on a queue that was closed.
var ErrClosed = errors.New("send queue is closed")

// NoTag marks messages that Remove never takes.
const NoTag uint64 = 0

// Queue is the send side of one connection. Make it with [NewQueue].
//
// Invariant: at most one goroutine writes to the connection at a time; it is
// the one that set writing.
type Queue struct {
	conn  net.Conn
	raw   syscall.RawConn // nil: no raw descriptor, the writer goroutine does all
	fail  func(error)
	try   func(fd uintptr) bool // one attempt, never waits
	wait  func(fd uintptr) bool // asks the netpoller to call again
	begin func()                // the writer goroutine; made once, so that go does not allocate
	ended sync.WaitGroup        // the writer goroutine

	secure *Secure  // nil: what is appended is what is sent
	over   net.Conn // what encrypts it

	sent    atomic.Uint64 // position of the first byte that has not left
	offered atomic.Uint64 // position behind the last byte that a write was given
	pending atomic.Int64  // bytes appended and not sent
	urgent  atomic.Int32  // messages of Urgent that were not handed over completely

	mu      sync.Mutex
	ledger  Ledger // nil: none
	ents    []entry
	head    int // first entry that is not completely sent
	inWrite int // entries, from head on, that a write is looking at now
	end     uint64
	hdr     *buffer.Segment
	hdrUsed int
	writing bool
	idle    sync.Cond // writing became false, or a drainer may go on
	drains  int       // goroutines in Drain
	err     error
	sealed  int // bytes of entries that are encrypted and not sent

	// Owned by the goroutine that has set writing.
	vec    [maxVector][]byte
	iov    [maxVector]syscall.Iovec
	niov   int
	wrote  int
	werrno syscall.Errno
}

// entry is a run of bytes of one message. start is the position of b[0].
type entry struct {
	b     []byte
	seg   *buffer.Segment
	start uint64
	tag   uint64
	hend  int  // where b ends in seg, for header memory
	first bool // b[0] is the first byte of its message
	// urgent: a message of Urgent. It has no position: start means nothing.
	urgent bool
}

// Message is what Append adds: Header (copied), Data (borrowed; the queue
// takes holds of its own), Trailer (copied; padding and digests). Tag names it
// for Remove; NoTag if it is never to be removed.
type Message struct {
	Header  []byte
	Data    buffer.Vec
	Trailer []byte
	Tag     uint64
}

// NewQueue makes the send queue of conn. fail is called at most once, on an
// unspecified goroutine and without a lock, when writing has failed; it must
// not call Close itself, which waits for the writer. NewQueue does not take
// conn: the caller closes it, before Close.
func NewQueue(conn net.Conn, fail func(error)) *Queue {
	q := &Queue{conn: conn, fail: fail}
	q.idle.L = &q.mu
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			q.raw = raw
		}
	}
	q.try = func(fd uintptr) bool {
		q.writev(fd)
		return true
	}
	q.wait = func(fd uintptr) bool {
		q.writev(fd)
		return q.werrno != syscall.EAGAIN
	}
	q.begin = func() {
		defer q.ended.Done()
		q.writer()
	}
	return q
}

// Ledger counts the bytes of several queues together. Charge takes bytes that wait,
// negative: that have left or were dropped. It is called with the queue locked.
type Ledger interface{ Charge(n int64) }

// Count has the bytes that wait to be sent, from now on, counted by l too. It is called
// once at most.
func (q *Queue) Count(l Ledger) {
	q.mu.Lock()
	q.ledger = l
	q.chargeLocked(q.pending.Load())
	q.mu.Unlock()
}

func (q *Queue) chargeLocked(n int64) {
	if q.ledger != nil && n != 0 {
		q.ledger.Charge(n)
	}
}

// Append adds a message and gives back the position of its first byte. It
// sends nothing: the caller calls Flush when it has appended all that it has.
// Append never blocks. Error ErrClosed, or the error that writing met.
func (q *Queue) Append(m *Message) (start uint64, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return q.end, q.err
	}
	start = q.end
	first := true
	q.addCopyLocked(m.Header, m.Tag, &first)
	for i := range m.Data {
		s := &m.Data[i]
		if len(s.B) == 0 {
			continue
		}
		if s.Seg != nil {
			s.Seg.Retain()
		}
		q.addLocked(entry{b: s.B, seg: s.Seg, tag: m.Tag, first: first})
		first = false
	}
	q.addCopyLocked(m.Trailer, m.Tag, &first)
	q.chargeLocked(int64(q.end - start))
	return start, nil
}

// Urgent adds a message that overtakes those that wait: it goes to the first
// border between two messages of which the one before ends, and the one behind
// starts, at or behind position after, and has not begun. It has no payload
// and no position: Sent and Offered do not count it. Messages of Urgent with the
// same after keep their order. Like Append it sends nothing.
func (q *Queue) Urgent(header []byte, after uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return q.err
	}
	i := q.head + q.inWrite
	for i < len(q.ents) {
		if e := &q.ents[i]; e.first && !e.urgent && e.start >= after {
			break
		}
		i++
	}
	from := q.copyHeaderLocked(header)
	q.hdr.Retain()
	q.pending.Add(int64(len(header)))
	q.chargeLocked(int64(len(header)))
	q.urgent.Add(1)
	q.ents = slices.Insert(q.ents, i, entry{
		b: q.hdr.Bytes()[from:q.hdrUsed:q.hdrUsed], seg: q.hdr, tag: NoTag, first: true, urgent: true,
	})
	return nil
}

// UrgentPending gives the number of messages of Urgent that still wait.
func (q *Queue) UrgentPending() int { return int(q.urgent.Load()) }

func (q *Queue) addLocked(e entry) {
	e.start = q.end
	q.end += uint64(len(e.b))
	q.pending.Add(int64(len(e.b)))
	q.ents = append(q.ents, e)
}

// addCopyLocked adds a copy of p in the header memory of q. Headers that
// follow each other without a payload between them become one entry when they
// are of untagged messages, so that one iovec carries them all. A message never
// begins inside an entry that does not begin with one: Urgent looks for borders at
// the beginnings of entries.
func (q *Queue) addCopyLocked(p []byte, tag uint64, first *bool) {
	if len(p) == 0 {
		return
	}
	from := q.copyHeaderLocked(p)
	if n := len(q.ents); tag == NoTag && n > q.head+q.inWrite {
		last := &q.ents[n-1]
		if last.tag == NoTag && last.seg == q.hdr && last.hend == from && (last.first || !*first) && !last.urgent {
			last.b = q.hdr.Bytes()[from-len(last.b) : q.hdrUsed : q.hdrUsed]
			last.hend = q.hdrUsed
			q.end += uint64(len(p))
			q.pending.Add(int64(len(p)))
			*first = false
			return
		}
	}
	q.hdr.Retain()
	q.addLocked(entry{b: q.hdr.Bytes()[from:q.hdrUsed:q.hdrUsed], seg: q.hdr, tag: tag, hend: q.hdrUsed, first: *first})
	*first = false
}

// copyHeaderLocked copies p into the header memory and tells where it begins.
func (q *Queue) copyHeaderLocked(p []byte) (from int) {
	if q.hdr == nil || q.hdr.Cap()-q.hdrUsed < len(p) {
		if q.hdr != nil {
			q.hdr.Release()
		}
		q.hdr, q.hdrUsed = buffer.Get(max(headerChunk, len(p))), 0
	}
	from = q.hdrUsed
	q.hdrUsed += copy(q.hdr.Bytes()[from:], p)
	return from
}

// Sent gives the position of the first byte that was not handed to the kernel.
// A message that starts at or behind it has sent nothing. After Close it no
// longer moves.
func (q *Queue) Sent() uint64 { return q.sent.Load() }

// Offered gives the position behind the last byte that was given to a write,
// which may be running or have ended. Unlike Sent it is never behind what the
// peer can know: an answer to a message that ends above it is a lie.
func (q *Queue) Offered() uint64 { return q.offered.Load() }

// Pending gives the number of bytes that wait to be sent.
func (q *Queue) Pending() int64 { return q.pending.Load() }

// Remove takes out every message tagged tag of which no byte has been handed
// to the kernel. It tells how many messages it took out, and how many stayed
// because theirs had begun. Positions of other messages do not change.
func (q *Queue) Remove(tag uint64) (removed, stayed int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	keep := q.head
	begun := false // the message that the last entry belongs to stays
	for i := q.head; i < len(q.ents); i++ {
		e := q.ents[i]
		inWrite := i < q.head+q.inWrite
		switch {
		case e.tag != tag:
			begun = false
		case inWrite || !e.first && (begun || i == q.head):
			if e.first || i == q.head {
				stayed++
			}
			begun = true
		default:
			begun = false
			if e.first {
				removed++
			}
			q.pending.Add(-int64(len(e.b)))
			q.chargeLocked(-int64(len(e.b)))
			if e.seg != nil {
				e.seg.Release()
			}
			continue
		}
		q.ents[keep] = e
		keep++
	}
	clear(q.ents[keep:])
	q.ents = q.ents[:keep]
	q.wakeDrainsLocked()
	return removed, stayed
}

// Drain waits until at most limit bytes wait to be sent: the back-pressure of a
// peer that does not read. It flushes nothing: whoever appended does. When
// writing has failed, or after Close, it returns that error at once.
func (q *Queue) Drain(limit int64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drains++
	for q.err == nil && q.pending.Load() > limit {
		q.idle.Wait()
	}
	q.drains--
	return q.err
}

func (q *Queue) wakeDrainsLocked() {
	if q.drains > 0 {
		q.idle.Broadcast()
	}
}

// Flush hands what is queued to the kernel. It never waits: what the kernel
// does not take is left to the queue's writer goroutine.
func (q *Queue) Flush() {
	q.mu.Lock()
	if q.writing || q.emptyLocked() || q.err != nil {
		// Whoever is writing looks again before it stops.
		q.mu.Unlock()
		return
	}
	q.writing = true
	for q.raw != nil {
		if err := q.loadLocked(); err != nil {
			q.failLocked(err)
			return
		}
		q.mu.Unlock()
		err := q.raw.Write(q.try)
		q.mu.Lock()
		if err := q.vectorError(err); err != nil {
			q.failLocked(err)
			return
		}
		q.sentLocked()
		if q.doneLocked() {
			return
		}
		if q.werrno == syscall.EAGAIN {
			break
		}
	}
	q.ended.Add(1)
	go q.begin()
	q.mu.Unlock()
}

func (q *Queue) emptyLocked() bool {
	return q.head == len(q.ents) && (q.secure == nil || !q.secure.waits())
}

// doneLocked ends a turn of writing if nothing is left; it then has unlocked q.
func (q *Queue) doneLocked() bool {
	if !q.emptyLocked() && q.err == nil {
		return false
	}
	if q.head == len(q.ents) {
		q.ents, q.head = q.ents[:0], 0
		if q.hdr != nil { // an idle queue holds no memory
			q.hdr.Release()
			q.hdr = nil
		}
	}
	q.endTurnLocked()
	q.mu.Unlock()
	return true
}

func (q *Queue) endTurnLocked() {
	q.writing, q.inWrite = false, 0
	q.idle.Broadcast()
}

// writer finishes what Flush could not, and ends.
func (q *Queue) writer() {
	for {
		q.mu.Lock()
		if q.doneLocked() {
			return
		}
		if err := q.loadLocked(); err != nil {
			q.failLocked(err)
			return
		}
		q.mu.Unlock()
		var err error
		if q.raw != nil {
			err = q.raw.Write(q.wait)
		} else {
			err = q.writeConn()
		}
		q.mu.Lock()
		q.sentLocked()
		if err != nil || q.wrote == 0 {
			q.failLocked(q.writeError(err))
			return
		}
		q.mu.Unlock()
	}
}

// gatherLocked fills the vector with the first entries, up to most bytes.
func (q *Queue) gatherLocked(most int) {
	n, size := 0, 0
	for i := q.head; i < len(q.ents) && n < maxVector; i++ {
		if size += len(q.ents[i].b); size > most && n > 0 {
			break
		}
		q.vec[n] = q.ents[i].b
		n++
	}
	for i := q.head + n - 1; i >= q.head; i-- {
		if last := &q.ents[i]; !last.urgent {
			q.offered.Store(last.start + uint64(len(last.b)))
			break
		}
	}
	q.niov, q.inWrite = n, n
	q.wrote, q.werrno = 0, 0
}

// writev tries once to write the vector to fd.
func (q *Queue) writev(fd uintptr) {
	total := 0
	for i, b := range q.vec[:q.niov] {
		q.iov[i].Base = &b[0]
		q.iov[i].SetLen(len(b))
		total += len(b)
	}
	n, errno := vectorCall(syscall.SYS_WRITEV, fd, q.iov[:q.niov], total <= quietBytes)
	q.werrno = errno
	if errno == 0 {
		q.wrote = n
	}
}

// writeConn writes the vector to a connection that has no descriptor. Small
// slices are put together, since each Write may be a TLS record.
func (q *Queue) writeConn() error {
	if q.niov == 1 {
		n, err := q.conn.Write(q.vec[0])
		q.wrote = n
		return err
	}
	s := buffer.Get(joinBytes)
	defer s.Release()
	n := 0
	for _, b := range q.vec[:q.niov] {
		if n > 0 && n+len(b) > joinBytes {
			break
		}
		if len(b) > joinBytes {
			k, err := q.conn.Write(b)
			q.wrote = k
			return err
		}
		n += copy(s.Bytes()[n:], b)
	}
	k, err := q.conn.Write(s.Bytes()[:n])
	q.wrote = k
	return err
}

// leftLocked counts n bytes that have left.
func (q *Queue) leftLocked(n int) {
	q.pending.Add(-int64(n))
	q.chargeLocked(-int64(n))
	q.wakeDrainsLocked()
}

// consumeLocked gives back the first n bytes of the entries.
func (q *Queue) consumeLocked(n int) {
	for n > 0 {
		e := &q.ents[q.head]
		if n < len(e.b) {
			e.b = e.b[n:]
			e.first = false
			if !e.urgent {
				e.start += uint64(n)
				q.sent.Store(e.start)
			}
			return
		}
		n -= len(e.b)
		if e.urgent {
			q.urgent.Add(-1)
		} else {
			q.sent.Store(e.start + uint64(len(e.b)))
		}
		if e.seg != nil {
			e.seg.Release()
		}
		*e = entry{}
		q.head++
	}
	if q.head > 256 && q.head*2 > len(q.ents) {
		m := copy(q.ents, q.ents[q.head:])
		clear(q.ents[m:])
		q.ents, q.head = q.ents[:m], 0
	}
}

func (q *Queue) writeError(err error) error {
	if err != nil {
		return err
	}
	if q.werrno != 0 {
		return q.werrno
	}
	return errors.New("connection takes no bytes")
}

// failLocked ends the writing side. It unlocks q and reports err once.
func (q *Queue) failLocked(err error) {
	q.endTurnLocked()
	report := q.err == nil
	if report {
		q.err = err
	}
	q.mu.Unlock()
	if report && q.fail != nil {
		q.fail(err)
	}
}

// Close ends the queue: it waits until nobody writes any more and then gives
// back every payload. The caller closes the connection first, or a writer that
// waits for a silent peer keeps Close waiting. Twice is safe. Unsent messages
// are dropped: Sent tells which.
func (q *Queue) Close() {
	q.mu.Lock()
	if q.err == nil {
		q.err = ErrClosed
	}
	q.wakeDrainsLocked()
	for q.writing {
		q.idle.Wait()
	}
	for i := q.head; i < len(q.ents); i++ {
		if s := q.ents[i].seg; s != nil {
			s.Release()
		}
	}
	q.ents, q.head = nil, 0
	q.chargeLocked(-q.pending.Swap(0))
	q.urgent.Store(0)
	clear(q.vec[:])
	if q.secure != nil {
		q.secure.close()
	}
	if q.hdr != nil {
		q.hdr.Release()
		q.hdr = nil
	}
	q.mu.Unlock()
	q.ended.Wait()
}
