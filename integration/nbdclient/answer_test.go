// SPDX-License-Identifier: Apache-2.0

package nbdclient

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"
)

func be64(list ...uint64) (b []byte) {
	for _, n := range list {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	return b
}

func be32(list ...uint32) (b []byte) {
	for _, n := range list {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}

func data(off uint64, n int) Chunk {
	return Chunk{Type: ChunkData, Data: append(be64(off), bytes.Repeat([]byte{7}, n)...)}
}

func hole(off uint64, n uint32) Chunk {
	return Chunk{Type: ChunkHole, Data: append(be64(off), be32(n)...)}
}

// failed is an error chunk with a text of n bytes that is told to have m.
func failed(errno uint32, n, m int) Chunk {
	b := binary.BigEndian.AppendUint16(be32(errno), uint16(m))
	return Chunk{Type: ChunkError, Data: append(b, strings.Repeat("x", n)...)}
}

func status(id uint32, extents ...uint32) Chunk {
	return Chunk{Type: ChunkStatus, Data: append(be32(id), be32(extents...)...)}
}

// final has the last of list say that it is.
func final(list ...Chunk) []Chunk {
	list[len(list)-1].Flags = ChunkDone
	return list
}

// TestAnswer: what keeps to the protocol is taken, and every breach of it is told.
func TestAnswer(t *testing.T) {
	read := Asked{Cmd: CmdRead, Offset: 1000, Length: 100}
	df := Asked{Cmd: CmdRead, Flags: FlagDF, Offset: 1000, Length: 100}
	ask := Asked{Cmd: CmdBlockStatus, Offset: 1000, Length: 100}
	one := Asked{Cmd: CmdBlockStatus, Flags: FlagReqOne, Offset: 1000, Length: 100}
	write := Asked{Cmd: CmdWrite}
	resize := Asked{Cmd: CmdResize, Offset: 1 << 20}
	none := Chunk{Type: ChunkNone}
	tests := []struct {
		name   string
		asked  Asked
		chunks []Chunk
		want   string // part of the error; "": it is right
	}{
		{"data", read, final(data(1000, 100)), ""},
		{"in any order, with a hole", read, final(hole(1050, 50), data(1000, 50), none), ""},
		{"an error behind a part", read, final(data(1000, 50), failed(5, 3, 3)), ""},
		{"simple error of a write", write, []Chunk{{Simple: true, Errno: EIO}}, ""},
		{"success of a write", write, final(none), ""},
		{"success of a resize", resize, final(none), ""},
		{"simple success of a resize", resize, []Chunk{{Simple: true}}, ""},
		{"resize without room", resize, final(failed(28, 3, 3)), ""},
		{"status", ask, final(status(1, 60, 0, 40, 3), status(2, 10, 1)), ""},
		{"status beyond the range", ask, final(status(1, 60, 0, 400, 3), status(2, 10, 1)), ""},

		{"less than all", read, final(data(1000, 99)), "99 of 100 bytes"},
		{"nothing", read, final(none), "0 of 100 bytes"},
		{"before the range", read, final(data(999, 50)), "outside"},
		{"behind it", read, final(data(1050, 51)), "outside"},
		{"a hole outside", read, final(hole(1<<63, 1)), "outside"},
		{"an empty hole", read, final(hole(1000, 0)), "outside"},
		{"overlap", read, final(data(1000, 50), hole(1049, 51)), "overlaps"},
		{"fragments", df, final(data(1000, 50), data(1050, 50)), "DF"},
		{"data without a byte", read, final(data(1000, 0)), "OFFSET_DATA"},
		{"a hole of another size", read, final(Chunk{Type: ChunkHole, Data: be64(1000, 1)}), "OFFSET_HOLE"},
		{"behind the end", read, append(final(data(1000, 100)), none), "behind the final"},
		{"NONE that is not final", read, []Chunk{none}, "NONE"},
		{"unknown type", read, final(Chunk{Type: 3}), "unknown"},
		{"unknown flag", read, []Chunk{{Type: ChunkNone, Flags: 3}}, "flags"},
		{"a text that is too long", read, final(failed(5, 3, 4)), "error chunk"},
		{"an error without an error", read, final(failed(0, 0, 0)), "without an error"},
		{"two errors", read, final(failed(5, 0, 0), failed(5, 0, 0)), "second"},
		{"simple reply to a READ", read, []Chunk{{Simple: true, Errno: EIO}}, "simple"},
		{"simple success of a status", ask, []Chunk{{Simple: true}}, "simple"},
		{"an error that is none of a resize", resize, final(failed(95, 0, 0)), "RESIZE ends with"},
		{"the same in a simple reply", resize, []Chunk{{Simple: true, Errno: EOVERFLOW}}, "RESIZE ends with"},
		{"content for a resize", resize, final(data(1<<20, 1)), "content"},
		{"content for a write", write, final(data(0, 1)), "content"},
		{"status for a read", read, final(status(1, 100, 0)), "in the reply to READ"},
		{"one context is missing", ask, final(status(1, 100, 0)), "1 contexts, want 2"},
		{"a context twice", ask, final(status(1, 100, 0), status(1, 100, 0)), "again"},
		{"a context unasked", ask, final(status(4, 100, 0)), "unasked"},
		{"no descriptor", ask, final(status(1)), "status of 4 bytes"},
		{"half a descriptor", ask, final(status(1, 100, 0, 1)), "status of 16 bytes"},
		{"an empty descriptor", ask, final(status(1, 0, 0)), "length 0"},
		{"a descriptor behind the range", ask, final(status(1, 100, 0, 1, 0)), "descriptor 1"},
		{"more than one", one, final(status(1, 50, 0, 50, 1)), "2 descriptors"},
		{"one beyond the range", one, final(status(1, 101, 0)), "beyond"},
		{"the other dialect's status", ask, final(Chunk{Type: ChunkStatusExt, Data: append(be32(1, 1), be64(100, 0)...)}), "chunk type 6"},
	}
	for _, tt := range tests {
		a := &Answer{Asked: tt.asked, Dialect: Structured, Contexts: []uint32{1, 2}}
		var err error
		for i := range tt.chunks {
			if err = a.Take(&tt.chunks[i], nil); err != nil {
				break
			}
		}
		switch {
		case tt.want == "" && (err != nil || !a.Done):
			t.Errorf("%s: got %v, done %v", tt.name, err, a.Done)
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: got %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestAnswerOfExtendedHeaders(t *testing.T) {
	for name, c := range map[string]Chunk{
		"another offset": {Type: ChunkNone, Flags: ChunkDone, Offset: 1},
		"simple":         {Simple: true},
		"short status":   {Type: ChunkStatus, Flags: ChunkDone, Data: be32(1, 100, 0)},
		"wrong count":    {Type: ChunkStatusExt, Flags: ChunkDone, Data: append(be32(1, 2), be64(100, 0)...)},
	} {
		a := &Answer{Asked: Asked{Cmd: CmdBlockStatus, Length: 100}, Dialect: Extended, Contexts: []uint32{1}}
		if err := a.Take(&c, nil); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	a := &Answer{Asked: Asked{Cmd: CmdBlockStatus, Length: 1 << 40}, Dialect: Extended, Contexts: []uint32{1}}
	c := Chunk{Type: ChunkStatusExt, Flags: ChunkDone, Data: append(be32(1, 2), be64(1<<39, 3, 1<<39, 0)...)}
	if err := a.Take(&c, nil); err != nil || !slices.Equal(a.Status[1], []Extent{{1 << 39, 3}, {1 << 39, 0}}) {
		t.Errorf("got %v, %v", a.Status, err)
	}
}

func TestExtendedRequest(t *testing.T) {
	got := Extended.Append(nil, &Asked{Cmd: CmdWrite, Flags: FlagFUA, Cookie: 1, Offset: 512, Payload: []byte("abc")})
	want := append(append(be32(MagicExtendedRequest, 0x210001), be64(1, 512, 3)...), "abc"...)
	if !bytes.Equal(got, want) {
		t.Errorf("got % x, want % x", got, want)
	}
}
