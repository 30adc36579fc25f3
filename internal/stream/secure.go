// SPDX-License-Identifier: Apache-2.0

package stream

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"pathgate/internal/buffer"
)

const (
	// recordBytes is the most plaintext of one TLS record (RFC 8446 5.1).
	recordBytes = 16 << 10
	// sealBytes is how much is encrypted at once, in bytes: what is sealed can
	// neither be taken back nor overtaken, and waits twice as long as it takes.
	sealBytes = 8 * recordBytes
	// sealRoom is what ciphertext is collected in, in bytes: a full record of any
	// version with its header and tag.
	sealRoom = recordBytes + 512
	// maxHeld is how many bytes of ciphertext may wait to be sent when more is read. The
	// queue seals no more than sealBytes at a time; what is beyond are answers of the
	// library's own, which a peer can ask for without end (RFC 8446 4.6.3).
	maxHeld = 2 * sealBytes
)

// errDeaf ends a connection whose peer has the library answer and does not read.
var errDeaf = errors.New("peer takes none of what TLS itself has to say")

// errAgain tells the TLS library that the socket has nothing now. It is no failure:
// what has come of a record is kept.
var errAgain net.Error = again{}

type again struct{}

func (again) Error() string   { return "nothing has come" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

// Secure is what a TLS library takes for its connection, so that a [Reader] and a
// [Queue] over TLS wait on the socket as others do: nobody waits inside the library,
// whose writes can not be resumed. What the library writes is collected here and sent
// by the Queue; what it reads comes from the Reader that was there before.
//
// Until Begin it is an ordinary connection: for the handshake. Make it with
// [NewSecure].
type Secure struct {
	net.Conn         // the socket
	in       *Reader // its ciphertext
	begun    bool    // set before the Reader and the Queue are made
	flush    func()  // of the Queue

	mu     sync.Mutex
	runs   []run // ciphertext that waits to be sent
	bytes  int   // of it
	closed bool
}

// run is ciphertext that lies together: b is what waits of it, up to used.
type run struct {
	b    []byte
	seg  *buffer.Segment
	used int
}

// NewSecure makes the carrier of a TLS connection over conn, which stays the
// caller's, as do its deadlines. in is the reader of conn; what it has buffered is the
// first that the library reads.
func NewSecure(conn net.Conn, in *Reader) *Secure { return &Secure{Conn: conn, in: in} }

// Begin makes the Reader and the Queue of over, the library's connection on s, whose
// handshake is complete. fail is that of [NewQueue]. Closing the new Reader closes the
// one of the ciphertext too.
func (s *Secure) Begin(over net.Conn, fail func(error)) (*Reader, *Queue) {
	s.begun = true
	q := NewQueue(s.Conn, fail)
	q.secure, q.over = s, over
	s.flush = q.Flush
	return &Reader{conn: over, secure: s}, q
}

// Read gives the library what has come.
func (s *Secure) Read(p []byte) (int, error) {
	for len(s.in.Buffered()) == 0 {
		if s.begun {
			return 0, errAgain
		}
		if err := s.in.Fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.in.Buffered())
	s.in.Discard(n)
	return n, nil
}

// Write takes ciphertext of the library.
func (s *Secure) Write(p []byte) (int, error) {
	if !s.begun {
		return s.Conn.Write(p)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, net.ErrClosed
	}
	for rest := p; len(rest) > 0; {
		last := len(s.runs) - 1
		if last < 0 || s.runs[last].used == s.runs[last].seg.Cap() {
			s.runs = append(s.runs, run{seg: buffer.Get(max(min(len(rest), sealRoom), headerChunk))})
			last++
		}
		r := &s.runs[last]
		k := copy(r.seg.Bytes()[r.used:], rest)
		s.bytes += k
		r.b = r.seg.Bytes()[r.used-len(r.b) : r.used+k]
		r.used += k
		rest = rest[k:]
	}
	return len(p), nil
}

// SetDeadline does nothing: the deadlines of the socket are its owner's.
func (s *Secure) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing, as SetDeadline.
func (s *Secure) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing, as SetDeadline.
func (s *Secure) SetWriteDeadline(time.Time) error { return nil }

// waits tells whether there is ciphertext to be sent.
func (s *Secure) waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.runs) > 0
}

// held tells how much ciphertext waits to be sent, in bytes.
func (s *Secure) held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// gather fills vec with ciphertext and tells how many slices it has.
func (s *Secure) gather(vec *[maxVector][]byte) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for ; n < len(s.runs) && n < maxVector; n++ {
		vec[n] = s.runs[n].b
	}
	return n
}

// advance drops n bytes that were sent.
func (s *Secure) advance(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes -= n
	done := 0
	for n > 0 {
		r := &s.runs[done]
		if n < len(r.b) {
			r.b = r.b[n:]
			break
		}
		n -= len(r.b)
		r.b = nil
		r.seg.Release()
		done++
	}
	k := copy(s.runs, s.runs[done:])
	clear(s.runs[k:])
	s.runs = s.runs[:k]
}

// close drops what was not sent.
func (s *Secure) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.bytes = true, 0
	for i := range s.runs {
		s.runs[i].seg.Release()
	}
	s.runs = nil
}

// fillSecure is Fill over TLS.
func (r *Reader) fillSecure() error {
	for {
		r.makeRoom()
		some, err := r.open()
		if r.secure.waits() {
			r.secure.flush() // the library has answered a message of its own
			if r.secure.held() > maxHeld {
				return errDeaf
			}
		}
		if some {
			return nil // an error comes again
		}
		if !errors.Is(err, errAgain) {
			return err
		}
		r.idle()
		if err := r.secure.in.Fill(); err != nil {
			return err
		}
	}
}

// open decrypts what has come, as far as there is room.
func (r *Reader) open() (some bool, err error) {
	for {
		p := r.seg.Bytes()[r.w:]
		if r.target != nil && r.have < r.want {
			p = r.target.Bytes()[r.have:r.want]
		}
		if len(p) == 0 {
			return some, nil
		}
		n, err := r.conn.Read(p)
		if n > 0 {
			r.came(n)
			some = true
		}
		if err != nil {
			return some, err
		}
	}
}

// loadLocked fills the vector: with the first entries, or over TLS with what they
// become.
func (q *Queue) loadLocked() error {
	if q.secure == nil {
		q.gatherLocked(maxWrite)
		return nil
	}
	if !q.secure.waits() && q.head < len(q.ents) {
		if err := q.sealLocked(); err != nil {
			return err
		}
	}
	q.niov = q.secure.gather(&q.vec)
	q.wrote, q.werrno = 0, 0
	return nil
}

// sealLocked encrypts the first entries, up to sealBytes. They are given back, and
// still count as pending. q is unlocked meanwhile.
func (q *Queue) sealLocked() error {
	q.gatherLocked(sealBytes)
	n := 0
	for i, b := range q.vec[:q.niov] { // one payload may be long
		q.vec[i] = b[:min(len(b), sealBytes-n)]
		n += len(q.vec[i])
	}
	q.mu.Unlock()
	err := q.seal(q.vec[:q.niov])
	q.mu.Lock()
	clear(q.vec[:q.niov])
	q.inWrite = 0
	if err != nil {
		return err
	}
	q.sealed += n
	q.consumeLocked(n)
	return nil
}

// seal has the library write vec in records as long as can be.
func (q *Queue) seal(vec [][]byte) error {
	s := buffer.Get(recordBytes)
	defer s.Release()
	join, used := s.Bytes()[:recordBytes], 0
	for _, b := range vec {
		for len(b) > 0 {
			if whole := len(b) / recordBytes * recordBytes; used == 0 && whole > 0 {
				if _, err := q.over.Write(b[:whole]); err != nil {
					return err
				}
				b = b[whole:]
				continue
			}
			k := copy(join[used:], b)
			b = b[k:]
			if used += k; used == recordBytes {
				if _, err := q.over.Write(join); err != nil {
					return err
				}
				used = 0
			}
		}
	}
	if used == 0 {
		return nil
	}
	_, err := q.over.Write(join[:used])
	return err
}

// sentLocked gives back what was written.
func (q *Queue) sentLocked() {
	if q.secure == nil {
		q.inWrite = 0
		q.leftLocked(q.wrote)
		q.consumeLocked(q.wrote)
		return
	}
	q.secure.advance(q.wrote)
	if !q.secure.waits() {
		q.leftLocked(q.sealed)
		q.sealed = 0
	}
}

// vectorError is what a write that took nothing met; nil: it has to wait.
func (q *Queue) vectorError(err error) error {
	if q.wrote > 0 || err == nil && q.werrno == syscall.EAGAIN {
		return nil
	}
	return q.writeError(err)
}
