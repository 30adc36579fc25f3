// SPDX-License-Identifier: Apache-2.0

package nbdclient

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Extent is a run of a context of BLOCK_STATUS.
type Extent struct{ Length, Flags uint64 }

// Run is a run of bytes of the export.
type Run struct{ Offset, Length uint64 }

// Answer is the whole reply to one request, checked against the protocol as it comes.
type Answer struct {
	Asked
	Dialect  Dialect
	Contexts []uint32 // that a BLOCK_STATUS asks for

	Errno   Errno
	Message string
	Data    []byte // of a READ
	Holes   []Run  // parts of Data that came as holes
	Content []Run  // all content chunks, in the order of coming
	Status  map[uint32][]Extent
	Done    bool
}

// Take adds a chunk. An error tells what of the protocol it breaks. The data of a
// simple reply to a READ is taken from raw.
func (a *Answer) Take(c *Chunk, raw *Raw) error {
	switch {
	case a.Done:
		return errors.New("a chunk behind the final one")
	case c.Simple:
		return a.simple(c, raw)
	case a.Dialect == Simple:
		return errors.New("a chunk that was not negotiated")
	case a.Dialect == Extended && c.Offset != a.Offset:
		return fmt.Errorf("the header has offset %d, want %d", c.Offset, a.Offset)
	case c.Flags&^ChunkDone != 0:
		return fmt.Errorf("flags %#x", c.Flags)
	}
	a.Done = c.Flags&ChunkDone != 0
	if err := a.chunk(c); err != nil {
		return err
	}
	if a.Done && a.Errno == 0 {
		return a.complete()
	}
	return a.failed()
}

// failed checks a reply that tells an error, as far as a command has errors of its own.
func (a *Answer) failed() error {
	resize := []Errno{0, EPERM, EIO, ENOSPC, ESHUTDOWN, EINVAL} // EINVAL: not offered, or makes no sense
	if a.Cmd == CmdResize && !slices.Contains(resize, a.Errno) {
		return fmt.Errorf("a RESIZE ends with %v", a.Errno)
	}
	return nil
}

func (a *Answer) simple(c *Chunk, raw *Raw) error {
	switch {
	case a.Dialect == Extended:
		return errors.New("a simple reply with extended headers")
	case a.Dialect == Structured && a.Cmd == CmdRead:
		return errors.New("a simple reply to a READ")
	case a.Cmd == CmdBlockStatus && c.Errno == 0:
		return errors.New("a simple reply to a BLOCK_STATUS")
	}
	a.Done, a.Errno = true, c.Errno
	if a.Cmd == CmdRead && c.Errno == 0 {
		var err error
		a.Data, err = raw.Read(int(a.Length))
		return err
	}
	return a.failed()
}

func (a *Answer) chunk(c *Chunk) error {
	d := c.Data
	switch c.Type {
	case ChunkNone:
		if len(d) > 0 || !a.Done {
			return fmt.Errorf("NONE with %d bytes, final %v", len(d), a.Done)
		}
	case ChunkData:
		if len(d) < 9 {
			return fmt.Errorf("OFFSET_DATA of %d bytes", len(d))
		}
		return a.content(Run{binary.BigEndian.Uint64(d), uint64(len(d) - 8)}, d[8:])
	case ChunkHole:
		if len(d) != 12 {
			return fmt.Errorf("OFFSET_HOLE of %d bytes", len(d))
		}
		return a.content(Run{binary.BigEndian.Uint64(d), uint64(binary.BigEndian.Uint32(d[8:]))}, nil)
	case ChunkStatus, ChunkStatusExt:
		return a.status(c)
	case ChunkError, ChunkErrorOffset:
		fixed := 6
		if c.Type == ChunkErrorOffset {
			fixed = 14
		}
		if len(d) < fixed || int(binary.BigEndian.Uint16(d[4:])) != len(d)-fixed {
			return fmt.Errorf("error chunk of %d bytes", len(d))
		}
		if a.Errno != 0 || binary.BigEndian.Uint32(d) == 0 {
			return errors.New("an error chunk without an error, or a second one")
		}
		a.Errno, a.Message = Errno(binary.BigEndian.Uint32(d)), string(d[6:6+binary.BigEndian.Uint16(d[4:])])
	default:
		return fmt.Errorf("unknown chunk type %d", c.Type)
	}
	return nil
}

// content takes a run of a READ; data nil: a hole.
func (a *Answer) content(r Run, data []byte) error {
	if a.Cmd != CmdRead {
		return fmt.Errorf("content in the reply to %v", a.Cmd)
	}
	if r.Length == 0 || r.Offset < a.Offset || r.Offset-a.Offset > a.Length || r.Length > a.Length-(r.Offset-a.Offset) {
		return fmt.Errorf("content %v outside %d+%d", r, a.Offset, a.Length)
	}
	for _, o := range a.Content {
		if r.Offset < o.Offset+o.Length && o.Offset < r.Offset+r.Length {
			return fmt.Errorf("content %v overlaps %v", r, o)
		}
	}
	a.Content = append(a.Content, r)
	if a.Flags&FlagDF != 0 && len(a.Content) > 1 {
		return errors.New("fragments in spite of DF")
	}
	if a.Data == nil {
		a.Data = make([]byte, a.Length)
	}
	if data == nil {
		a.Holes = append(a.Holes, r)
	} else {
		copy(a.Data[r.Offset-a.Offset:], data)
	}
	return nil
}

// status takes a chunk of a BLOCK_STATUS.
func (a *Answer) status(c *Chunk) error {
	head, size, want := 4, 8, ChunkStatus
	if a.Dialect == Extended {
		head, size, want = 8, 16, ChunkStatusExt
	}
	if a.Cmd != CmdBlockStatus || c.Type != want {
		return fmt.Errorf("chunk type %d in the reply to %v", c.Type, a.Cmd)
	}
	if len(c.Data) < head+size || (len(c.Data)-head)%size != 0 {
		return fmt.Errorf("status of %d bytes", len(c.Data))
	}
	n := (len(c.Data) - head) / size
	id := binary.BigEndian.Uint32(c.Data)
	if _, twice := a.Status[id]; twice || !slices.Contains(a.Contexts, id) {
		return fmt.Errorf("status of context %d, again or unasked", id)
	}
	if a.Dialect == Extended && binary.BigEndian.Uint32(c.Data[4:]) != uint32(n) {
		return fmt.Errorf("count %d of %d descriptors", binary.BigEndian.Uint32(c.Data[4:]), n)
	}
	if a.Flags&FlagReqOne != 0 && n != 1 || n > 1<<20 {
		return fmt.Errorf("%d descriptors", n)
	}
	var list []Extent
	sum := uint64(0)
	for b := c.Data[head:]; len(b) > 0; b = b[size:] {
		e := Extent{uint64(binary.BigEndian.Uint32(b)), uint64(binary.BigEndian.Uint32(b[4:]))}
		if a.Dialect == Extended {
			e = Extent{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
		}
		if e.Length == 0 || sum >= a.Length {
			return fmt.Errorf("descriptor %d of length %d at %d", len(list), e.Length, sum)
		}
		sum += e.Length
		list = append(list, e)
	}
	if a.Flags&FlagReqOne != 0 && sum > a.Length {
		return fmt.Errorf("a descriptor of %d bytes, beyond the range", sum)
	}
	if a.Status == nil {
		a.Status = make(map[uint32][]Extent)
	}
	a.Status[id] = list
	return nil
}

// complete checks a reply that tells success.
func (a *Answer) complete() error {
	switch a.Cmd {
	case CmdRead:
		var sum uint64
		for _, r := range a.Content {
			sum += r.Length
		}
		if sum != a.Length {
			return fmt.Errorf("%d of %d bytes were read", sum, a.Length)
		}
	case CmdBlockStatus:
		if len(a.Status) != len(a.Contexts) {
			return fmt.Errorf("status of %d contexts, want %d", len(a.Status), len(a.Contexts))
		}
	default:
	}
	return nil
}

// Do sends one request and reads its whole reply. contexts are those that a
// BLOCK_STATUS has to tell of. Nothing else may be in flight.
func (r *Raw) Do(d Dialect, asked *Asked, contexts ...uint32) (*Answer, error) {
	a := &Answer{Asked: *asked, Dialect: d, Contexts: contexts}
	if err := r.Send(d.Append(nil, asked)); err != nil {
		return a, err
	}
	for !a.Done {
		c, err := r.ReadChunk()
		if err != nil {
			return a, err
		}
		if c.Cookie != a.Cookie {
			return a, fmt.Errorf("cookie %#x, want %#x", c.Cookie, a.Cookie)
		}
		if err := a.Take(&c, r); err != nil {
			return a, fmt.Errorf("%v: %w", a.Cmd, err)
		}
	}
	return a, nil
}
