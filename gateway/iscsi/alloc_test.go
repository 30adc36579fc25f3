// SPDX-License-Identifier: Apache-2.0

//go:build !race

package iscsi

import (
	"io"
	"runtime"
	"testing"
	"time"

	wire "pathgate/internal/iscsi"
)

// round is depth commands of one kind, whose CmdSN move on with every turn, and room
// for their answers.
type round struct {
	r     *raw
	msg   []byte
	at    []int // where the headers with a CmdSN are
	reply []byte
}

func (r *raw) round(write bool, n, depth int) *round {
	x := &round{r: r}
	for i := range depth {
		x.at = append(x.at, len(x.msg))
		if write {
			x.msg = append(x.msg, r.bytes(r.scsiWrite(i*n/512, n/512), nil, make([]byte, n))...)
			x.reply = append(x.reply, make([]byte, wire.HeaderLength+r.digests(0, false))...)
			continue
		}
		x.msg = append(x.msg, r.bytes(r.scsiRead(i*n/512, n/512), nil, nil)...)
		for off := 0; off < n; off += int(r.params.MaxRecvDataSegmentLength) {
			k := min(n-off, int(r.params.MaxRecvDataSegmentLength))
			x.reply = append(x.reply, make([]byte, wire.HeaderLength+r.digests(k, true)+k)...)
		}
	}
	r.cmdSN = r.cmdSN.Add(-uint32(depth))
	return x
}

func (r *raw) digests(n int, data bool) (bytes int) {
	if r.recv.HeaderDigest {
		bytes += wire.DigestLength
	}
	if r.recv.DataDigest && data && n > 0 {
		bytes += wire.DigestLength
	}
	return bytes
}

// turn sends the commands and reads the answers.
func (x *round) turn() {
	for _, at := range x.at {
		(*wire.BHS)(x.msg[at:]).SetCmdSN(x.r.next())
	}
	if _, err := x.r.conn.Write(x.msg); err != nil {
		x.r.tb.Fatal(err)
	}
	if _, err := io.ReadFull(x.r.conn, x.reply); err != nil {
		x.r.tb.Fatal(err)
	}
}

// Nothing between the socket and the device allocates: what is counted is the
// whole process, the server, the device server and a client that only writes and
// reads sockets.
func TestAllocations(t *testing.T) {
	b := offer(t, Config{})
	for _, tt := range []struct {
		name     string
		write    bool
		n, depth int
	}{
		{"read 4k", false, 4096, 1},
		{"read 4k, 32 deep", false, 4096, 32},
		{"read 256k", false, 256 << 10, 1},
		{"write 4k", true, 4096, 1},
		{"write 4k, 32 deep", true, 4096, 32},
		{"write 64k", true, 64 << 10, 1},
	} {
		r := b.session(t)
		x := r.round(tt.write, tt.n, tt.depth)
		for range 50 {
			x.turn()
		}
		// A collection empties the pools; its share is far below one per command.
		if got := testing.AllocsPerRun(400, x.turn); got >= 1 {
			t.Errorf("%s: %v allocations per round, want 0", tt.name, got)
		}
		_ = r.conn.Close()
		b.idle(t)
	}
	r := b.dial(t)
	r.login(func(s *wire.Settings) { s.DataDigest = []wire.Digest{wire.DigestCRC32C} })
	r.attention()
	x := r.round(false, 4096, 32)
	for range 50 {
		x.turn()
	}
	if got := testing.AllocsPerRun(400, x.turn); got >= 1 {
		t.Errorf("read with data digests: %v allocations per round, want 0", got)
	}
}

func heap() int64 {
	for range 3 { // the pools take two collections to empty
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// B67: an idle session holds no data buffer, after it has done I/O too.
func TestB67IdleSessions(t *testing.T) {
	const n = 300
	b := offer(t, Config{})
	sessions := make([]*raw, n)
	begin := func(i int) {
		r := b.dial(t)
		r.isid[4], r.isid[5] = byte(i>>8), byte(i)
		r.login(nil)
		r.attention()
		_ = r.conn.SetDeadline(time.Time{})
		sessions[i] = r
	}
	begin(0)
	before := heap()
	for i := range sessions {
		if i > 0 {
			begin(i)
		}
		sessions[i].round(true, 16<<10, 4).turn()
		sessions[i].round(false, 64<<10, 1).turn()
	}
	each := (heap() - before) / n
	t.Logf("an idle session takes %d bytes (heap and stacks; the test's own end is in it)", each)
	// The smallest receive segment is 64 KiB.
	if each > 48<<10 {
		t.Errorf("%d bytes per idle session", each)
	}
	for _, r := range sessions {
		_ = r.conn.Close()
	}
	b.idle(t)
}

func BenchmarkRoundTrip(b *testing.B) {
	for _, bb := range []struct {
		name     string
		write    bool
		n, depth int
	}{
		{"read4k-1", false, 4096, 1},
		{"read4k-32", false, 4096, 32},
		{"write4k-1", true, 4096, 1},
		{"write4k-32", true, 4096, 32},
		{"read256k-4", false, 256 << 10, 4},
	} {
		b.Run(bb.name, func(b *testing.B) {
			r := offer(b, Config{}).session(b)
			_ = r.conn.SetDeadline(time.Time{})
			x := r.round(bb.write, bb.n, bb.depth)
			b.ReportAllocs()
			b.SetBytes(int64(bb.n) * int64(bb.depth))
			for b.Loop() {
				x.turn()
			}
		})
	}
}
