// SPDX-License-Identifier: Apache-2.0

package nbdclient

import (
	"encoding/binary"
	"fmt"
)

// Dialect is how requests and replies look (NBD proto.md "Transmission").
type Dialect uint8

// Dialects.
const (
	Simple     Dialect = iota // simple replies only
	Structured                // NBD_OPT_STRUCTURED_REPLY
	Extended                  // NBD_OPT_EXTENDED_HEADERS
)

// Asked is one request in any dialect. Payload follows the header; that of a WRITE
// gives the length.
type Asked struct {
	Cmd            Command
	Flags          Flags
	Cookie, Offset uint64
	Length         uint64
	Payload        []byte
}

// Append adds a to b as d has it. In the extended dialect PAYLOAD_LEN is set for a
// request with a payload, whose header then has the payload's length.
func (d Dialect) Append(b []byte, a *Asked) []byte {
	length := a.Length
	if len(a.Payload) > 0 {
		length = uint64(len(a.Payload))
	}
	if d != Extended {
		b = Request{Flags: a.Flags, Cmd: a.Cmd, Cookie: a.Cookie, Offset: a.Offset, Length: uint32(length)}.Append(b)
		return append(b, a.Payload...)
	}
	flags := a.Flags
	if len(a.Payload) > 0 {
		flags |= FlagPayloadLen
	}
	b = binary.BigEndian.AppendUint32(b, MagicExtendedRequest)
	b = binary.BigEndian.AppendUint16(b, uint16(flags))
	b = binary.BigEndian.AppendUint16(b, uint16(a.Cmd))
	b = binary.BigEndian.AppendUint64(b, a.Cookie)
	b = binary.BigEndian.AppendUint64(b, a.Offset)
	b = binary.BigEndian.AppendUint64(b, length)
	return append(b, a.Payload...)
}

// Speak negotiates d.
func (r *Raw) Speak(d Dialect) error {
	switch d {
	case Structured:
		_, err := r.Ask(OptStructuredReply, nil)
		return err
	case Extended:
		_, err := r.Ask(OptExtendedHeaders, nil)
		return err
	default:
		return nil
	}
}

// MetaData is the payload of LIST_META_CONTEXT and SET_META_CONTEXT.
func MetaData(export string, queries ...string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(export)))
	b = append(b, export...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(queries)))
	for _, q := range queries {
		b = binary.BigEndian.AppendUint32(b, uint32(len(q)))
		b = append(b, q...)
	}
	return b
}

// Meta performs NBD_OPT_SET_META_CONTEXT or LIST_META_CONTEXT and gives the IDs of
// the contexts by name.
func (r *Raw) Meta(option uint32, export string, queries ...string) (map[string]uint32, error) {
	reps, err := r.Ask(option, MetaData(export, queries...))
	if err != nil {
		return nil, err
	}
	ids := make(map[string]uint32)
	for _, rep := range reps {
		if rep.Type != RepMetaContext || len(rep.Data) < 4 {
			return ids, fmt.Errorf("NBD option %d: reply type %d with %d bytes", option, rep.Type, len(rep.Data))
		}
		name := string(rep.Data[4:])
		if _, twice := ids[name]; twice {
			return ids, fmt.Errorf("NBD option %d: context %s came twice", option, name)
		}
		ids[name] = binary.BigEndian.Uint32(rep.Data)
	}
	return ids, nil
}

// ChunkType is the type of a chunk (NBD proto.md "Structured reply types").
type ChunkType uint16

// Chunk types.
const (
	ChunkNone        ChunkType = 0
	ChunkData        ChunkType = 1
	ChunkHole        ChunkType = 2
	ChunkStatus      ChunkType = 5
	ChunkStatusExt   ChunkType = 6
	ChunkError       ChunkType = 1<<15 + 1
	ChunkErrorOffset ChunkType = 1<<15 + 2
)

// ChunkDone is the flag of the last chunk of a reply.
const ChunkDone = 1

// Chunk is one message of a server in the transmission phase. A simple reply is a
// chunk with Simple set, which is never of a READ that succeeds: a client that has
// asked such a one knows how much data follows.
type Chunk struct {
	Simple bool
	Errno  Errno // of a simple reply
	Flags  uint16
	Type   ChunkType
	Cookie uint64
	Offset uint64 // in the extended dialect
	Data   []byte // payload
}

// maxChunk is the longest payload that a server may send: the longest data and an
// offset.
const maxChunk = 1<<25 + 8

// ReadChunk reads one message.
func (r *Raw) ReadChunk() (Chunk, error) {
	b, err := r.Read(4)
	if err != nil {
		return Chunk{}, fmt.Errorf("read NBD reply: %w", err)
	}
	var c Chunk
	var n uint64
	rest := map[uint32]int{MagicSimpleReply: 12, MagicStructuredReply: 16, MagicExtendedReply: 28}
	magic := binary.BigEndian.Uint32(b)
	k, known := rest[magic]
	if !known {
		return c, fmt.Errorf("NBD reply has magic %#x", magic)
	}
	if b, err = r.Read(k); err != nil {
		return c, fmt.Errorf("read NBD reply: %w", err)
	}
	c.Cookie = binary.BigEndian.Uint64(b[4:])
	switch magic {
	case MagicSimpleReply:
		c.Simple, c.Errno = true, Errno(binary.BigEndian.Uint32(b))
		return c, nil
	case MagicStructuredReply:
		n = uint64(binary.BigEndian.Uint32(b[12:]))
	default:
		c.Offset, n = binary.BigEndian.Uint64(b[12:]), binary.BigEndian.Uint64(b[20:])
	}
	c.Flags, c.Type = binary.BigEndian.Uint16(b), ChunkType(binary.BigEndian.Uint16(b[2:]))
	if n > maxChunk {
		return c, fmt.Errorf("NBD chunk of %d bytes", n)
	}
	if c.Data, err = r.Read(int(n)); err != nil {
		return c, fmt.Errorf("read NBD chunk: %w", err)
	}
	return c, nil
}
