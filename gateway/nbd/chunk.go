// SPDX-License-Identifier: Apache-2.0

package nbd

import "encoding/binary"

// dialect is how replies look, as negotiated.
type dialect uint8

const (
	// simple: every reply is a simple one; also what a connection begins with.
	simple dialect = iota
	// structured: a READ, a BLOCK_STATUS and every error is answered in
	// chunks, the success of anything else simply, which is shorter.
	structured
	// extended: 64-bit lengths, and nothing but chunks.
	extended
)

// headerLen is the length of a request without its payload.
func (d dialect) headerLen() int {
	if d == extended {
		return extendedHeaderLen
	}
	return headerLen
}

// magic is what a request begins with.
func (d dialect) magic() uint32 {
	if d == extended {
		return magicExtendedRequest
	}
	return magicRequest
}

// decode takes the first headerLen bytes of b.
func (d dialect) decode(b []byte) header {
	if d == extended {
		return decodeExtendedHeader(b)
	}
	return decodeHeader(b)
}

// chunkType is the type of a chunk (NBD proto.md "Structured reply types").
type chunkType uint16

const (
	chunkNone      chunkType = 0
	chunkData      chunkType = 1
	chunkHole      chunkType = 2
	chunkStatus    chunkType = 5
	chunkStatusExt chunkType = 6
	chunkError     chunkType = 1<<15 + 1
)

// chunkDone is the flag of the last chunk of a reply.
const chunkDone = uint16(1 << 0)

const (
	chunkLen         = 20 // header of a structured chunk
	extendedChunkLen = 32
	// maxReason is the most text that an error chunk carries.
	maxReason = 64
	// maxReplyHeader is the longest reply without its payload: an error chunk.
	maxReplyHeader = extendedChunkLen + 6 + maxReason
)

// replyHeader is room for a reply without its payload.
type replyHeader [maxReplyHeader]byte

// chunk encodes the header of a chunk with n bytes of payload and gives its
// length (NBD proto.md "Structured reply chunk message", extension-ext-header
// proto.md "Extended reply chunk message"). offset is that of the request.
func (b *replyHeader) chunk(d dialect, flags uint16, t chunkType, cookie, offset uint64, n int) int {
	binary.BigEndian.PutUint16(b[4:], flags)
	binary.BigEndian.PutUint16(b[6:], uint16(t))
	binary.BigEndian.PutUint64(b[8:], cookie)
	if d == extended {
		binary.BigEndian.PutUint32(b[:], magicExtendedReply)
		binary.BigEndian.PutUint64(b[16:], offset)
		binary.BigEndian.PutUint64(b[24:], uint64(n))
		return extendedChunkLen
	}
	binary.BigEndian.PutUint32(b[:], magicStructuredReply)
	binary.BigEndian.PutUint32(b[16:], uint32(n))
	return chunkLen
}

// data encodes a chunk of n bytes of the export from at on, which follow it.
func (b *replyHeader) data(d dialect, flags uint16, cookie, offset, at uint64, n int) int {
	k := b.chunk(d, flags, chunkData, cookie, offset, 8+n)
	binary.BigEndian.PutUint64(b[k:], at)
	return k + 8
}

// hole encodes a chunk that tells of n zeros from at on.
func (b *replyHeader) hole(d dialect, flags uint16, cookie, offset, at uint64, n int) int {
	k := b.chunk(d, flags, chunkHole, cookie, offset, 12)
	binary.BigEndian.PutUint64(b[k:], at)
	binary.BigEndian.PutUint32(b[k+8:], uint32(n))
	return k + 12
}

// end encodes a whole reply without content: success when r is the zero refusal.
// It is not for the success of a READ or a BLOCK_STATUS.
func (b *replyHeader) end(d dialect, cookie, offset uint64, r refusal) int {
	switch {
	case d == simple, d == structured && r.e == 0:
		binary.BigEndian.PutUint32(b[:], magicReply)
		binary.BigEndian.PutUint32(b[4:], uint32(r.e))
		binary.BigEndian.PutUint64(b[8:], cookie)
		return replyLen
	case r.e == 0:
		return b.chunk(d, chunkDone, chunkNone, cookie, offset, 0)
	}
	text := r.text[:min(len(r.text), maxReason)]
	k := b.chunk(d, chunkDone, chunkError, cookie, offset, 6+len(text))
	binary.BigEndian.PutUint32(b[k:], uint32(r.e))
	binary.BigEndian.PutUint16(b[k+4:], uint16(len(text)))
	return k + 6 + copy(b[k+6:], text)
}
