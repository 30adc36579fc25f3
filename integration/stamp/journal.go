// SPDX-License-Identifier: Apache-2.0

package stamp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"
)

// Kinds of journal records. The first record of a journal is recBegin.
const (
	recBegin   = 'B' // lba: sectors; hash: run
	recInitial = 'I' // count sectors from lba have contents with this hash
	recIntent  = 'W' // a write is about to be sent
	recAck     = 'A' // it was acknowledged
	recError   = 'E' // it was answered with an error
)

const entrySize = 56

// entry is one record: 56 bytes, little-endian, with CRC32C. A journal that
// ends in the middle of a record is good up to there.
type entry struct {
	kind   uint8
	writer uint32
	seq    uint64
	lba    uint64
	count  uint64
	hash   uint64
	time   time.Duration
}

func (e entry) append(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, uint32(e.kind))
	b = le.AppendUint32(b, e.writer)
	for _, v := range []uint64{e.seq, e.lba, e.count, e.hash, uint64(e.time)} {
		b = le.AppendUint64(b, v)
	}
	b = le.AppendUint32(b, 0)
	return le.AppendUint32(b, crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

func (e *entry) decode(b []byte) error {
	le := binary.LittleEndian
	if crc32.Checksum(b[:entrySize-4], crc32.MakeTable(crc32.Castagnoli)) != le.Uint32(b[entrySize-4:]) {
		return errors.New("checksum is wrong")
	}
	*e = entry{
		kind: uint8(le.Uint32(b)), writer: le.Uint32(b[4:]), seq: le.Uint64(b[8:]), lba: le.Uint64(b[16:]),
		count: le.Uint64(b[24:]), hash: le.Uint64(b[32:]), time: time.Duration(le.Uint64(b[40:])),
	}
	return nil
}

// write appends to the journal. It is one write call per record, so that the
// record is the kernel's before the request is anybody's.
func (m *model) write(e entry) {
	if m.log == nil || m.logErr != nil || e.kind == recInitial && e.count == 0 {
		return
	}
	if _, err := m.log.Write(e.append(make([]byte, 0, entrySize))); err != nil {
		m.logErr = fmt.Errorf("write the stamp journal: %w", err)
	}
}

// maxSectors bounds what a damaged journal can make replay allocate (4 TiB).
const maxSectors = 1 << 33

// replay builds the model that a journal describes.
func replay(journal io.Reader) (*model, error) {
	in := bufio.NewReaderSize(journal, 1<<20)
	var m *model
	var b [entrySize]byte
	for n := 0; ; n++ {
		if _, err := io.ReadFull(in, b[:]); err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read the stamp journal: %w", err)
		}
		var e entry
		if err := e.decode(b[:]); err != nil {
			return nil, fmt.Errorf("stamp journal, record %d: %w", n, err)
		}
		if (n == 0) != (e.kind == recBegin) {
			return nil, fmt.Errorf("stamp journal, record %d: kind %q is out of place", n, e.kind)
		}
		if e.kind == recBegin {
			if e.lba > maxSectors {
				return nil, fmt.Errorf("stamp journal is for %d sectors", e.lba)
			}
			m = newModel(e.hash, e.lba, nil)
		} else if err := m.apply(e); err != nil {
			return nil, fmt.Errorf("stamp journal, record %d: %w", n, err)
		}
	}
	if m == nil {
		return nil, errors.New("stamp journal is empty")
	}
	return m, nil
}

func (m *model) apply(e entry) error {
	if size := uint64(len(m.sectors)); e.lba > size || e.count > size-e.lba {
		return fmt.Errorf("LBA %d + %d is outside the region", e.lba, e.count)
	}
	switch e.kind {
	case recInitial:
		for i := e.lba; i < e.lba+e.count; i++ {
			m.hashes[i] = e.hash
		}
	case recIntent:
		if o := m.beginWriteLocked(e.writer, e.lba, e.count, e.time); o.seq != e.seq {
			return fmt.Errorf("write %d.%d where %d was due", e.writer, e.seq, o.seq)
		}
	case recAck, recError:
		ops := m.ops[e.writer]
		if e.seq == 0 || e.seq > uint64(len(ops)) || ops[e.seq-1].end != never {
			return fmt.Errorf("end of write %d.%d, which is not in flight", e.writer, e.seq)
		}
		m.endWriteLocked(ops[e.seq-1], e.kind == recError, e.time)
	default:
		return fmt.Errorf("unknown kind %q", e.kind)
	}
	return nil
}
