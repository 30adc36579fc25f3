// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"io"
	"net"
	"syscall"

	"pathgate/internal/buffer"
)

const (
	// readChunk is how much one read asks for, in bytes: fifteen writes of
	// 4 KiB with their headers.
	readChunk = 64 << 10
	// minRoom is the least room for which a read is worth its call.
	minRoom = 8 << 10
	// payloadChunk is the most memory that is set aside for a payload before
	// its bytes have come, so that no peer sizes our memory.
	payloadChunk = 256 << 10
	// copyBelow is how much has to be in the receive memory, in bytes, before a
	// payload holds on to it. Sparse traffic would otherwise pin a whole chunk
	// for each small payload.
	copyBelow = 16 << 10
)

// Reader is the receive side of one connection. It belongs to one goroutine.
// While it waits with nothing buffered it holds no memory. Make it with
// [NewReader].
type Reader struct {
	conn net.Conn
	raw  syscall.RawConn
	call func(fd uintptr) bool

	secure *Secure // nil: conn is the socket

	seg  *buffer.Segment // nil while idle
	r, w int             // seg[r:w] has not been consumed

	// A payload that is being received goes into target; behind it, left more
	// bytes belong to it.
	target *buffer.Segment
	have   int // bytes of target that have come
	want   int // bytes of target that the payload needs
	left   int

	iov    [2]syscall.Iovec
	n      int
	errno  syscall.Errno
	streak int // calls since the last that found nothing
}

// NewReader makes the receive side of conn, which stays the caller's.
func NewReader(conn net.Conn) *Reader {
	r := &Reader{conn: conn}
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			r.raw = raw
		}
	}
	r.call = r.readv
	return r
}

// Buffered gives the bytes that have come and were not consumed. Borrowed:
// valid until the next call of a method of r.
func (r *Reader) Buffered() []byte {
	if r.seg == nil {
		return nil
	}
	return r.seg.Bytes()[r.r:r.w]
}

// Discard consumes up to n buffered bytes and tells how many.
func (r *Reader) Discard(n int) int {
	n = min(n, r.w-r.r)
	r.r += n
	return n
}

// Fill waits for bytes and reads what has come, at least one. Before it may
// wait, the caller has to flush what it has appended elsewhere. Errors are
// those of the connection; io.EOF when the peer has ended the stream.
func (r *Reader) Fill() error {
	if r.secure != nil {
		return r.fillSecure()
	}
	if r.raw == nil {
		return r.fillConn()
	}
	r.n, r.errno = 0, 0
	if err := r.raw.Read(r.call); err != nil {
		return err
	}
	if r.errno != 0 {
		return r.errno
	}
	if r.n == 0 {
		return io.EOF
	}
	r.came(r.n)
	return nil
}

// readv is one attempt on fd; false asks the netpoller to call again when the
// socket is readable.
func (r *Reader) readv(fd uintptr) bool {
	r.makeRoom()
	iov := r.iov[:0]
	if r.target != nil && r.have < r.want {
		iov = append(iov, iovec(r.target.Bytes()[r.have:r.want]))
	}
	iov = append(iov, iovec(r.seg.Bytes()[r.w:]))
	r.streak++
	n, errno := vectorCall(syscall.SYS_READV, fd, iov, r.streak%quietCalls != 0)
	switch errno {
	case 0:
		r.n = n
	case syscall.EAGAIN:
		r.streak = 0
		r.idle()
		return false
	default:
		r.errno = errno
	}
	return true
}

func iovec(b []byte) syscall.Iovec {
	v := syscall.Iovec{Base: &b[0]}
	v.SetLen(len(b))
	return v
}

// fillConn is Fill for a connection without a descriptor.
func (r *Reader) fillConn() error {
	r.makeRoom()
	p := r.seg.Bytes()[r.w:]
	if r.target != nil && r.have < r.want {
		p = r.target.Bytes()[r.have:r.want]
	}
	n, err := r.conn.Read(p)
	if n > 0 {
		r.came(n)
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// came shares n new bytes out: first to the payload, then to the buffer.
func (r *Reader) came(n int) {
	if r.target != nil {
		k := min(n, r.want-r.have)
		r.have += k
		n -= k
	}
	r.w += n
}

// makeRoom sees to it that seg has room for a read that is worth its call.
func (r *Reader) makeRoom() {
	if r.seg == nil {
		r.seg, r.r, r.w = buffer.Get(readChunk), 0, 0
		return
	}
	if r.r == r.w && !r.seg.Shared() {
		r.r, r.w = 0, 0
	}
	if r.seg.Cap()-r.w >= minRoom {
		return
	}
	s := buffer.Get(max(readChunk, 2*(r.w-r.r)))
	n := copy(s.Bytes(), r.seg.Bytes()[r.r:r.w])
	r.seg.Release()
	r.seg, r.r, r.w = s, 0, n
}

// idle gives the memory back when nothing is buffered.
func (r *Reader) idle() {
	if r.seg != nil && r.r == r.w {
		r.seg.Release()
		r.seg = nil
		r.r, r.w = 0, 0
	}
}

// Payload moves a payload of n bytes to v: what is buffered by reference (or as
// a copy, when that is less memory), the rest straight from the socket into
// memory of its own. It is true when all n
// bytes are in v. When it is false the caller calls Fill and then Payload
// again with the same v and n; between the two it must call nothing else of r.
func (r *Reader) Payload(v *buffer.Vec, n int) bool {
	if r.target == nil {
		k := min(n, r.w-r.r)
		switch {
		case k == 0:
		case r.w < copyBelow:
			v.AppendBytes(r.seg.Bytes()[r.r : r.r+k])
			r.r += k
		default:
			r.seg.Retain()
			v.Append(r.seg.Slice(r.r, r.r+k))
			r.r += k
		}
		if r.left = n - k; r.left == 0 {
			return true
		}
		r.nextTarget()
	}
	for r.have == r.want {
		v.Append(r.target.Slice(0, r.want))
		r.target = nil
		if r.left == 0 {
			return true
		}
		r.nextTarget()
		// Bytes that were read behind the last chunk belong to this one.
		k := copy(r.target.Bytes()[:r.want], r.Buffered())
		r.r += k
		r.have = k
	}
	return false
}

func (r *Reader) nextTarget() {
	r.want = min(r.left, payloadChunk)
	r.left -= r.want
	r.have = 0
	r.target = buffer.Get(r.want)
}

// Close gives back all memory. It does not close the connection.
func (r *Reader) Close() {
	if r.secure != nil {
		r.secure.in.Close()
	}
	if r.target != nil {
		r.target.Release()
		r.target = nil
	}
	if r.seg != nil {
		r.seg.Release()
		r.seg = nil
	}
	r.r, r.w = 0, 0
}
