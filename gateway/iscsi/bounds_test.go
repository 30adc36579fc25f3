// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"testing"
	"time"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

// B68: data that a command has no use for is not kept: its credit is for what it wants.
func TestB68UselessData(t *testing.T) {
	for name, want := range map[string]int{"a part": 1000, "all": 4096, "none": 0} {
		tk := task{state: taskCollecting, unsolicited: true, limit: 1 << 20}
		tk.cmd.Want = uint32(want)
		for i := range uint32(64) {
			var p pdu
			p.vec.AppendBytes(make([]byte, 64))
			tk.take(&wire.DataOut{DataSN: wire.SerialOf(i), BufferOffset: 64 * i, DataSegmentLength: 64, Final: i == 63}, &p)
			p.vec.Release()
			if n := tk.cmd.Out.Len(); n > want {
				t.Fatalf("%s: %d bytes are kept of %d that are wanted", name, n, want)
			}
		}
		if n := tk.cmd.Out.Len(); n != want || tk.broken || tk.got != 4096 {
			t.Errorf("%s: %d bytes are kept, want %d; broken %v, %d have come", name, n, want, tk.broken, tk.got)
		}
		tk.cmd.Out.Release()
	}
}

// A write whose expected length is longer than what its CDB moves writes that.
func TestB68UselessDataIsNotWritten(t *testing.T) {
	b := offer(t, Config{})
	r := b.dial(t)
	r.login(func(s *wire.Settings) { s.InitialR2T = false })
	r.attention()
	data := noise(68, 4096)
	c := r.scsiWrite(7, 2)
	c.Final, c.ExpectedDataTransferLength = false, 4096
	r.pdu(c, data[:512])
	for off := 512; off < 4096; off += 512 {
		r.pdu(wire.DataOut{
			Final: off == 3584, ITT: c.ITT, TTT: wire.NoTag, DataSN: wire.SerialOf(uint32(off/512 - 1)), BufferOffset: uint32(off),
		}, data[off:off+512])
	}
	p, _ := r.status(c.ITT)
	if p.Status != 0 || !p.Residual.Underflow || p.Residual.Count != 3072 {
		t.Errorf("%+v", p)
	}
	r.blocks(7, append(data[:1024:1024], make([]byte, 1024)...))
}

// B68: what comes before its turn is bounded, be it with a command or behind it, and
// less so while memory is short.
func TestB68EarlyData(t *testing.T) {
	for name, tt := range map[string]struct {
		behind bool
		debt   int64
		most   int // bytes before the end of the session
	}{
		"with commands":                 {most: maxHeldBytes},
		"behind commands":               {behind: true, most: maxHeldBytes},
		"with commands, out of memory":  {debt: 2, most: fewHeldBytes},
		"behind commands, short of all": {behind: true, debt: 2, most: fewHeldBytes},
	} {
		t.Run(name, func(t *testing.T) {
			pool := backends.NewPool(100, 1<<30)
			s := newSource().add(t, testTarget, memory(t))
			s.memory = backends.Account{pool}
			b := serve(t, Config{MaxBurstLength: 1 << 20, FirstBurstLength: 1 << 20}, s)
			r := b.dial(t)
			r.login(func(s *wire.Settings) { s.InitialR2T, s.FirstBurstLength, s.MaxBurstLength = false, 1<<20, 1<<20 })
			r.attention()
			s.memory.Charge(tt.debt << 29)
			if tt.debt > 0 {
				s.memory.Charge(1)
			}
			r.next() // never comes
			sent := 0
			early := func(p encoder, n int) bool {
				if _, err := r.conn.Write(r.bytes(p, nil, make([]byte, n))); err != nil {
					return false
				}
				sent += n
				return true
			}
			const part = 16 << 10
			for ok := true; ok && sent < 4<<20; {
				c := r.scsiWrite(0, part/512)
				if tt.behind {
					c.Final, c.ExpectedDataTransferLength = false, 1<<20
					ok = early(c, 0)
					for i := range uint32(64) {
						ok = ok && early(wire.DataOut{ITT: c.ITT, TTT: wire.NoTag, DataSN: wire.SerialOf(i), BufferOffset: i * part, Final: i == 63}, part)
					}
					continue
				}
				ok = early(c, part)
			}
			b.idle(t) // it was ended, although the connection is open
			if _, free := pool.Free(); free != 1<<30-tt.debt<<29-min(tt.debt, 1) {
				t.Errorf("%d bytes are free at the end", free)
			}
			if sent < tt.most {
				t.Errorf("ended after %d bytes, want %d", sent, tt.most)
			}
		})
	}
}

// Data that came early is given back when its turn comes, and answers that wait are
// counted until they have left.
func TestMemoryIsGivenBack(t *testing.T) {
	pool := backends.NewPool(100, 1<<30)
	s := newSource().add(t, testTarget, memory(t))
	s.memory = backends.Account{pool}
	b := serve(t, Config{}, s)
	r := b.session(t)
	free := func() int64 { _, n := pool.Free(); return n }
	first := r.scsiWrite(0, 8)
	c := r.scsiWrite(8, 8)
	r.pdu(c, make([]byte, 4096))
	eventually(t, "early data is counted", func() bool { return free() == 1<<30-4096 })
	r.pdu(first, make([]byte, 4096))
	r.goods(first.ITT, c.ITT)
	eventually(t, "it is given back", func() bool { return free() == 1<<30 })
	r.strict = false
	for range 64 {
		r.pdu(r.scsiRead(0, 1024), nil) // nobody reads 32 MiB
	}
	eventually(t, "answers are counted", func() bool { return free() < 1<<30-1<<20 })
	_ = r.conn.Close()
	b.idle(t)
	eventually(t, "nothing is counted", func() bool { return free() == 1<<30 })
}

// A connection of an address that has all it may is told so; others are let in.
func TestB67PerAddress(t *testing.T) {
	b := offer(t, Config{MaxPerAddress: 1})
	first := b.session(t)
	r := b.dial(t)
	r.isid[5]++
	r.loginPDU(wire.OperationalNegotiation, wire.FullFeaturePhase, r.fast())
	r.refusedWith(wire.LoginOutOfResources)
	first.ping()
	other := b.dialFrom(t, "127.0.0.9")
	other.isid[5] += 2
	other.login(nil)
	first.ping()
	_ = first.conn.Close()
	eventually(t, "room for another", func() bool {
		r := b.dial(t)
		defer r.conn.Close()
		r.loginPDU(wire.OperationalNegotiation, wire.FullFeaturePhase, r.fast())
		p, _ := r.loginAnswer()
		return p.Status == wire.LoginSuccess
	})
}

// B66: a payload that its initiator never ends is given up with it, and leaves nothing.
func TestB66HalfAPDU(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, srv *Server, p *pipes, _ func()) {
		r := p.dial(t)
		r.login(nil)
		b := r.bytes(wire.NOPOut{Immediate: true, ITT: 1, TTT: wire.NoTag, CmdSN: r.cmdSN}, nil, make([]byte, 200<<10))
		r.write(b[:len(b)-1])
		begun := time.Now()
		for {
			if _, _, err := r.read(); err != nil {
				break
			}
		}
		if got := time.Since(begun); got > 2*(DefaultNOPInterval+DefaultNOPTimeout) {
			t.Errorf("given up after %v", got)
		}
	})
}
