// SPDX-License-Identifier: Apache-2.0

//go:build !race

package nbd

import (
	"encoding/binary"
	"io"
	"runtime"
	"testing"
	"time"

	nc "pathgate/integration/nbdclient"
)

// Nothing between the socket and the device allocates: what is counted is the
// whole process, the server and a client that only writes and reads sockets.
func TestAllocations(t *testing.T) {
	b := offer(t, memory(t, diskSize))
	tests := []struct {
		name  string
		cmd   nc.Command
		n     uint32 // length field
		depth int
	}{
		{"read 4k", nc.CmdRead, 4096, 1},
		{"read 4k, 32 deep", nc.CmdRead, 4096, 32},
		{"read 256k", nc.CmdRead, 256 << 10, 1},
		{"write 4k", nc.CmdWrite, 4096, 1},
		{"write 4k, 32 deep", nc.CmdWrite, 4096, 32},
		{"write 256k", nc.CmdWrite, 256 << 10, 1},
		{"flush", nc.CmdFlush, 0, 1},
		{"trim", nc.CmdTrim, 4096, 1},
		{"write zeroes", nc.CmdWriteZeroes, 4096, 1},
		{"refused write", nc.CmdWriteZeroes, 4097, 1},
	}
	for _, tt := range tests {
		r := b.entered(t)
		msg, reply := conversation(tt.cmd, tt.n, tt.depth)
		round := func() {
			if _, err := r.Conn.Write(msg); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(r.Conn, reply); err != nil {
				t.Fatal(err)
			}
		}
		for range 50 {
			round()
		}
		// A collection empties the pools; its share is far below one per request.
		if got := testing.AllocsPerRun(400, round); got >= 1 {
			t.Errorf("%s: %v allocations per round, want 0", tt.name, got)
		}
		r.Close()
	}
}

// conversation gives depth requests and room for their replies.
func conversation(cmd nc.Command, n uint32, depth int) (msg, reply []byte) {
	size := 16
	for i := range depth {
		msg = nc.Request{Cmd: cmd, Cookie: uint64(i), Offset: uint64(i) * uint64(n) &^ 511, Length: n}.Append(msg)
		if cmd == nc.CmdWrite {
			msg = append(msg, make([]byte, n)...)
		}
	}
	if cmd == nc.CmdRead {
		size += int(n)
	}
	return msg, make([]byte, size*depth)
}

func BenchmarkRoundTrip(b *testing.B) {
	for _, bb := range []struct {
		name  string
		cmd   nc.Command
		n     uint32
		depth int
	}{
		{"read4k-1", nc.CmdRead, 4096, 1},
		{"read4k-32", nc.CmdRead, 4096, 32},
		{"write4k-1", nc.CmdWrite, 4096, 1},
		{"write4k-32", nc.CmdWrite, 4096, 32},
		{"read256k-4", nc.CmdRead, 256 << 10, 4},
		{"write256k-4", nc.CmdWrite, 256 << 10, 4},
	} {
		b.Run(bb.name, func(b *testing.B) {
			r := offer(b, memory(b, diskSize)).entered(b)
			r.Conn.SetDeadline(noDeadline)
			msg, reply := conversation(bb.cmd, bb.n, bb.depth)
			b.ReportAllocs()
			b.SetBytes(int64(bb.n) * int64(bb.depth))
			for b.Loop() {
				if _, err := r.Conn.Write(msg); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(r.Conn, reply); err != nil {
					b.Fatal(err)
				}
				if e := binary.BigEndian.Uint32(reply[4:]); e != 0 {
					b.Fatal(e)
				}
			}
		})
	}
}

var noDeadline time.Time

func heap() int64 {
	for range 3 { // the pools take two collections to empty
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// B67: an idle connection holds no data buffer, after it has done I/O too.
func TestB67IdleConnections(t *testing.T) {
	const n = 1000
	b := offer(t, memory(t, diskSize))
	clients := make([]*peer, n)
	dial := func(i int) {
		r := b.entered(t)
		r.Conn.SetDeadline(noDeadline)
		clients[i] = r
	}
	dial(0)
	before := heap()
	msg, reply := ioRound()
	for i := range clients {
		if i > 0 {
			dial(i)
		}
		clients[i].Send(msg)
		if _, err := io.ReadFull(clients[i].Conn, reply); err != nil {
			t.Fatal(err)
		}
	}
	each := (heap() - before) / n
	t.Logf("an idle connection takes %d bytes (heap and stacks; the test's own end is in it)", each)
	// The smallest receive segment is 64 KiB; a header chunk would be 4 KiB.
	if each > 24<<10 {
		t.Errorf("%d bytes per idle connection", each)
	}
	for _, r := range clients {
		r.Close()
	}
	eventually(t, "all gone", func() bool { return len(b.Connections()) == 0 })
}

// ioRound is a write and two reads, and room for the replies.
func ioRound() (msg, reply []byte) {
	msg = append(nc.Request{Cmd: nc.CmdWrite, Length: 65536}.Append(nil), make([]byte, 65536)...)
	msg = nc.Request{Cmd: nc.CmdRead, Length: 4096}.Append(msg)
	msg = nc.Request{Cmd: nc.CmdRead, Length: 32768}.Append(msg)
	return msg, make([]byte, 3*16+4096+32768)
}
