// SPDX-License-Identifier: Apache-2.0

//go:build !race

package iscsi

import (
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	wire "pathgate/internal/iscsi"
	spc "pathgate/internal/scsi"
)

// round is depth commands of one kind, sent together, and room for what comes and
// goes. The first bytes of a write go with the command, the rest waits for R2Ts.
type round struct {
	r        *raw
	write    bool
	n, depth int
	first    int
	data     []byte
	head     wire.BHS
	cmd      wire.SCSICommand
	msg      []byte
	reply    []byte
	last     int // where the last header of the reply is
}

func (r *raw) round(write bool, n, depth int) *round {
	x := &round{r: r, write: write, n: n, depth: depth, first: n, data: make([]byte, n)}
	for i := range n {
		x.data[i] = byte(i >> 8)
	}
	for range depth {
		if write {
			x.last = len(x.reply)
			x.reply = append(x.reply, make([]byte, r.length(0))...)
			continue
		}
		for off := 0; off < n; off += int(r.params.MaxRecvDataSegmentLength) {
			x.last = len(x.reply)
			x.reply = append(x.reply, make([]byte, r.length(min(n-off, int(r.params.MaxRecvDataSegmentLength))))...)
		}
	}
	return x
}

// length is that of a PDU with n bytes of data.
func (r *raw) length(n int) int {
	n += wire.HeaderLength
	if r.recv.HeaderDigest {
		n += wire.DigestLength
	}
	if r.recv.DataDigest && n > 2*wire.HeaderLength {
		n += wire.DigestLength
	}
	return n
}

// turn sends the commands and reads the answers.
func (x *round) turn() {
	x.msg = x.msg[:0]
	for i := range x.depth {
		c := wire.SCSICommand{
			Final: true, Attribute: wire.Simple, ITT: x.r.tag(), CmdSN: x.r.next(),
			Read: !x.write, Write: x.write, ExpectedDataTransferLength: uint32(x.n),
		}
		op, lba := spc.OpRead10, i*x.n/512
		var data []byte
		if x.write {
			op, data = spc.OpWrite10, x.data[:x.first]
		}
		c.CDB = [16]byte{byte(op), 0, 0, byte(lba >> 16), byte(lba >> 8), byte(lba), 0, byte(x.n / 512 >> 8), byte(x.n / 512)}
		x.cmd = c
		x.cmd.Encode(&x.head)
		x.msg = x.r.send.AppendPacket(x.msg, &x.head, nil, data)
	}
	x.send()
	for left := x.depth; x.first < x.n && x.write && left > 0; left-- {
		x.answer()
	}
	x.receive(x.reply)
	if h := (*wire.BHS)(x.reply[x.last:]); h[3] != 0 || x.write != (h.Opcode() == wire.OpSCSIResponse) {
		x.r.tb.Fatalf("%v with status %d", h.Opcode(), h[3])
	}
}

// answer sends what one R2T asks for.
func (x *round) answer() {
	x.receive(x.reply[:x.r.length(0)])
	p, err := wire.DecodeR2T((*wire.BHS)(x.reply))
	if err != nil || int(p.BufferOffset) != x.first || int(p.DesiredDataTransferLength) != x.n-x.first {
		x.r.tb.Fatalf("%+v, %v; want all that is left", p, err)
	}
	x.msg = x.msg[:0]
	const most = 64 << 10
	for off, sn := x.first, uint32(0); off < x.n; off, sn = off+most, sn+1 {
		end := min(off+most, x.n)
		wire.DataOut{
			Final: end == x.n, LUN: p.LUN, ITT: p.ITT, TTT: p.TTT, DataSN: wire.SerialOf(sn), BufferOffset: uint32(off),
		}.Encode(&x.head)
		x.msg = x.r.send.AppendPacket(x.msg, &x.head, nil, x.data[off:end])
	}
	x.send()
}

func (x *round) send() {
	if _, err := x.r.conn.Write(x.msg); err != nil {
		x.r.tb.Fatal(err)
	}
}

func (x *round) receive(b []byte) {
	if _, err := io.ReadFull(x.r.conn, b); err != nil {
		x.r.tb.Fatal(err)
	}
}

// withDigests and withoutDigests are changes for login.
func withDigests(s *wire.Settings) {
	s.HeaderDigest, s.DataDigest = []wire.Digest{wire.DigestCRC32C}, []wire.Digest{wire.DigestCRC32C}
}

func withoutDigests(s *wire.Settings) {
	s.HeaderDigest, s.DataDigest = []wire.Digest{wire.DigestNone}, []wire.Digest{wire.DigestNone}
}

// allocations gives those of a turn once all has its size.
func (x *round) allocations() float64 {
	for range 30 {
		x.turn()
	}
	return testing.AllocsPerRun(200, x.turn)
}

// Nothing between the socket and the device allocates: what is counted is the
// whole process, the server, the device server and a client that only writes and
// reads sockets.
func TestAllocations(t *testing.T) {
	for name, change := range map[string]func(*wire.Settings){"digests": withDigests, "no digests": withoutDigests} {
		b := offer(t, Config{})
		for _, tt := range []struct {
			name            string
			write           bool
			n, depth, first int
		}{
			{"read 4k", false, 4 << 10, 1, 0},
			{"read 4k, 32 deep", false, 4 << 10, 32, 0},
			{"read 256k", false, 256 << 10, 1, 0},
			{"read 256k, 4 deep", false, 256 << 10, 4, 0},
			{"write 4k", true, 4 << 10, 1, 4 << 10},
			{"write 4k, 32 deep", true, 4 << 10, 32, 4 << 10},
			{"write 64k", true, 64 << 10, 1, 64 << 10},
			{"write 4k, R2T", true, 4 << 10, 1, 0},
			{"write 4k, 32 deep, R2T", true, 4 << 10, 32, 0},
			{"write 256k, R2T", true, 256 << 10, 1, 0},
			{"write 256k, 4 deep, R2T for what is not immediate", true, 256 << 10, 4, 64 << 10},
		} {
			r := b.dial(t)
			r.login(change)
			if got := r.recv.HeaderDigest && r.recv.DataDigest; got != (name == "digests") {
				t.Fatalf("%s: digests are %v", name, got)
			}
			r.attention()
			x := r.round(tt.write, tt.n, tt.depth)
			x.first = tt.first
			// A collection empties the pools; its share is far below one per command.
			if got := x.allocations(); got >= 1 {
				t.Errorf("%s, %s: %v allocations per round, want 0", tt.name, name, got)
			}
			_ = r.conn.Close()
			b.idle(t)
		}
	}
}

// TestUnevenBatchesDoNotAllocate: a session has as many tasks as are outstanding at
// once, however the commands come.
func TestUnevenBatchesDoNotAllocate(t *testing.T) {
	r := offer(t, Config{}).session(t)
	rounds := []*round{r.round(false, 512, 32), r.round(true, 512, 17), r.round(false, 512, 5)}
	random := rand.New(rand.NewPCG(1, 2))
	turn := func() { rounds[random.IntN(len(rounds))].turn() }
	for range 100 {
		turn()
	}
	if got := testing.AllocsPerRun(600, turn); got >= 1 {
		t.Errorf("%v allocations for about 18 commands, want 0", got)
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
		name            string
		write           bool
		n, depth, first int
		change          func(*wire.Settings)
	}{
		{"read4k-1", false, 4 << 10, 1, 0, nil},
		{"read4k-32", false, 4 << 10, 32, 0, nil},
		{"read4k-32-digests", false, 4 << 10, 32, 0, withDigests},
		{"write4k-1", true, 4 << 10, 1, 4 << 10, nil},
		{"write4k-32", true, 4 << 10, 32, 4 << 10, nil},
		{"write4k-32-digests", true, 4 << 10, 32, 4 << 10, withDigests},
		{"write4k-32-r2t", true, 4 << 10, 32, 0, nil},
		{"read256k-4", false, 256 << 10, 4, 0, nil},
		{"write256k-4", true, 256 << 10, 4, 64 << 10, nil},
	} {
		b.Run(bb.name, func(b *testing.B) {
			r := offer(b, Config{}).dial(b)
			r.login(bb.change)
			r.attention()
			_ = r.conn.SetDeadline(time.Time{})
			x := r.round(bb.write, bb.n, bb.depth)
			x.first = bb.first
			b.ReportAllocs()
			b.SetBytes(int64(bb.n) * int64(bb.depth))
			for b.Loop() {
				x.turn()
			}
		})
	}
}
