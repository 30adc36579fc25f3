// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"sync/atomic"
)

// maxLoginText bounds what is kept of the text of one connection's login.
const maxLoginText = 64 << 10

// span is a part of one PDU that lies contiguous in the read buffer.
type span struct {
	pdu   PDU
	off   int // offset of the first byte in the PDU
	len   int
	first bool // begins the PDU
	whole bool // is the complete PDU
}

// dataBytes returns how many bytes of the span belong to the data segment.
func (s span) dataBytes() int {
	lo, hi := s.pdu.headerLen(), s.pdu.headerLen()+s.pdu.DataLen
	return max(0, min(hi, s.off+s.len)-max(lo, s.off))
}

// session is what both directions of a connection know of its login.
type session struct {
	header, data atomic.Bool // digests in use
	full         atomic.Bool // full feature phase
}

// framer splits one direction into PDUs. With protocol Raw every read is one
// span without a PDU.
type framer struct {
	protocol Protocol
	session  *session
	index    int
	pdu      PDU
	done     int    // bytes of pdu that were handed out; 0 = at a border
	text     []byte // text of Login Responses, until full feature phase
}

// next returns the span at the start of b. ok is false if more bytes are
// needed: a whole header, or with whole set all of the PDU; need is then the
// number of bytes b must have.
func (f *framer) next(b []byte, whole bool) (s span, need int, ok bool) {
	if f.protocol == Raw {
		return span{len: len(b), first: true, whole: true}, 0, len(b) > 0
	}
	if f.done == 0 {
		if len(b) < bhsLen {
			return span{}, bhsLen, false
		}
		f.pdu = f.parse(b)
		if whole && len(b) < f.pdu.Len() {
			return span{}, f.pdu.Len(), false
		}
	}
	if len(b) == 0 {
		return span{}, 1, false
	}
	n := min(len(b), f.pdu.Len()-f.done)
	s = span{pdu: f.pdu, off: f.done, len: n, first: f.done == 0, whole: n == f.pdu.Len()}
	f.done += n
	f.learn(b[:n], s)
	if f.done == f.pdu.Len() {
		f.done = 0
		f.index++
	}
	return s, 0, true
}

func (f *framer) parse(b []byte) PDU {
	p := PDU{Opcode: Opcode(b[0] & 0x3f), DataLen: int(b[5])<<16 | int(b[6])<<8 | int(b[7]), Index: f.index}
	copy(p.BHS[:], b)
	if p.Opcode != Login && p.Opcode != LoginResponse { // RFC 7143 13.1: digests begin after the login phase
		p.digests = digests{header: f.session.header.Load(), data: f.session.data.Load()}
	}
	return p
}

// learn follows the login: the keys of the responses are the outcome of the
// negotiation, and the last response opens the full feature phase before the
// other side can have seen it.
func (f *framer) learn(b []byte, s span) {
	if s.pdu.Opcode != LoginResponse || f.session.full.Load() {
		return
	}
	lo, hi := s.pdu.headerLen(), s.pdu.headerLen()+s.pdu.DataLen
	if lo, hi = max(lo, s.off), min(hi, s.off+s.len); lo < hi && len(f.text)+hi-lo <= maxLoginText {
		f.text = append(f.text, b[lo-s.off:hi-s.off]...)
	}
	const transit, nextStage, full = 0x80, 0x03, 3 // RFC 7143 11.13.3, 11.13.4
	flags, statusClass := s.pdu.BHS[1], s.pdu.BHS[36]
	if s.off+s.len < s.pdu.Len() || statusClass != 0 || flags&transit == 0 || flags&nextStage != full {
		return
	}
	for key := range bytes.SplitSeq(f.text, []byte{0}) {
		switch string(key) {
		case "HeaderDigest=CRC32C":
			f.session.header.Store(true)
		case "DataDigest=CRC32C":
			f.session.data.Store(true)
		}
	}
	f.text = nil
	f.session.full.Store(true)
}
