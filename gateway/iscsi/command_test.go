// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"pathgate/backends"
	wire "pathgate/internal/iscsi"
	spc "pathgate/internal/scsi"
)

// noise gives n bytes that differ.
func noise(seed uint64, n int) []byte {
	p := make([]byte, n)
	rng := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = rng.Read(p)
	return p
}

// blocks demands what is on the disk at lba.
func (r *raw) blocks(lba int, want []byte) {
	r.tb.Helper()
	c := r.scsiRead(lba, len(want)/512)
	r.pdu(c, nil)
	if got, _ := r.readData(c.ITT); !bytes.Equal(got, want) {
		r.tb.Errorf("the %d bytes at block %d are not what was written", len(want), lba)
	}
}

// transfer writes data at lba as the negotiated parameters have it: as much
// immediate and unsolicited data as may be, and then what R2Ts ask for.
func (r *raw) transfer(lba int, data []byte) {
	r.tb.Helper()
	c := r.scsiWrite(lba, len(data)/512)
	p := &r.params
	first := min(len(data), int(p.FirstBurstLength))
	immediate := 0
	if p.ImmediateData {
		immediate = min(first, int(p.MaxSendDataSegmentLength))
	}
	c.Final = p.InitialR2T || immediate == first
	r.pdu(c, data[:immediate])
	off, sn := immediate, uint32(0)
	for !c.Final && off < first {
		n := min(first-off, int(p.MaxSendDataSegmentLength))
		r.pdu(wire.DataOut{Final: off+n == first, ITT: c.ITT, TTT: wire.NoTag, DataSN: wire.SerialOf(sn), BufferOffset: uint32(off)}, data[off:off+n])
		off, sn = off+n, sn+1
	}
	for off < len(data) {
		q := r.r2t(c.ITT)
		if int(q.BufferOffset) != off || q.DesiredDataTransferLength > p.MaxBurstLength {
			r.tb.Fatalf("R2T %+v, want offset %d", q, off)
		}
		// With several open, they come before any is answered.
		r.answer(q, data, int(p.MaxSendDataSegmentLength))
		off += int(q.DesiredDataTransferLength)
	}
	r.good(c.ITT)
}

func TestTransfers(t *testing.T) {
	b := offer(t, Config{MaxRecvDataSegmentLength: 32 << 10, MaxBurstLength: 128 << 10})
	for _, tt := range []struct {
		name   string
		change func(s *wire.Settings)
	}{
		{"all kinds of data", nil},
		{"solicited only", func(s *wire.Settings) { s.InitialR2T, s.ImmediateData = true, false }},
		{"immediate and solicited", func(s *wire.Settings) { s.InitialR2T = true }},
		{"unsolicited and solicited", func(s *wire.Settings) { s.ImmediateData = false }},
		{"one R2T", func(s *wire.Settings) { s.MaxOutstandingR2T = 1 }},
		{"small bursts", func(s *wire.Settings) { s.MaxBurstLength, s.FirstBurstLength = 4096, 512 }},
		{"small segments", func(s *wire.Settings) { s.MaxRecvDataSegmentLength = 512 }},
		{"odd segments", func(s *wire.Settings) {
			s.MaxRecvDataSegmentLength, s.MaxBurstLength, s.FirstBurstLength = 1021, 3333, 3333
		}},
		{"digests", digests},
		{"digests and odd segments", func(s *wire.Settings) { digests(s); s.MaxRecvDataSegmentLength = 777 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := b.dial(t)
			r.login(tt.change)
			r.attention()
			for i, n := range []int{512, 4096, 32 << 10, 33 << 10, 64 << 10, 300 << 10} {
				data := noise(uint64(i), n)
				r.transfer(i*7, data)
				c := r.scsiRead(i*7, n/512)
				r.pdu(c, nil)
				got, pdus := r.readData(c.ITT)
				if !bytes.Equal(got, data) {
					t.Fatalf("%d bytes came back different", n)
				}
				for j, d := range pdus {
					end := d.BufferOffset + d.DataSegmentLength
					final := end%r.params.MaxBurstLength == 0 || j == len(pdus)-1
					if d.Final != final || d.DataSegmentLength > min(r.params.MaxRecvDataSegmentLength, r.params.MaxBurstLength) {
						t.Errorf("Data-In %d of %d: %+v", j, len(pdus), d)
					}
				}
			}
			_ = r.conn.Close()
			b.idle(t)
		})
	}
}

// Several R2Ts of one task are open at once, and answered in order.
func TestOutstandingR2Ts(t *testing.T) {
	b := offer(t, Config{MaxBurstLength: 8192, MaxOutstandingR2T: 3})
	r := b.dial(t)
	r.login(func(s *wire.Settings) {
		s.InitialR2T, s.ImmediateData, s.MaxOutstandingR2T, s.FirstBurstLength = true, false, 8, 512
	})
	r.attention()
	data := noise(1, 40<<10)
	c := r.scsiWrite(0, 80)
	r.pdu(c, nil)
	var open []wire.R2T
	for i := range 3 {
		q := r.r2t(c.ITT)
		if q.R2TSN.Uint32() != uint32(i) || q.BufferOffset != uint32(i*8192) || q.DesiredDataTransferLength != 8192 {
			t.Errorf("R2T %d: %+v", i, q)
		}
		open = append(open, q)
	}
	for i := range 5 {
		r.answer(open[i], data, 5000)
		if i < 2 {
			open = append(open, r.r2t(c.ITT))
		}
	}
	r.good(c.ITT)
	r.blocks(0, data)
}

func TestB06DataDigest(t *testing.T) {
	b := offer(t, Config{})
	r := b.dial(t)
	r.login(digests)
	r.attention()
	data := noise(2, 4096)
	// In immediate data: the command is rejected, and may be sent again.
	c := r.scsiWrite(0, 8)
	bad := r.bytes(c, nil, data)
	bad[len(bad)-100] ^= 4
	r.write(bad)
	r.reject(wire.RejectDataDigest)
	r.pdu(c, data)
	r.good(c.ITT)
	r.blocks(0, data)
	// In a Data-Out: the task fails when all its data have come, and nothing is written.
	c = r.scsiWrite(0, 8)
	c.Final = false
	r.pdu(c, nil)
	bad = r.bytes(wire.DataOut{ITT: c.ITT, TTT: wire.NoTag}, nil, noise(3, 2048))
	bad[len(bad)-5] ^= 4
	r.write(bad)
	r.reject(wire.RejectDataDigest)
	r.ping()
	r.pdu(wire.DataOut{Final: true, ITT: c.ITT, TTT: wire.NoTag, DataSN: wire.SerialOf(1), BufferOffset: 2048}, noise(3, 2048))
	r.check(c.ITT, spc.CodeProtocolServiceCRC)
	r.blocks(0, data)
}

func TestB08Tags(t *testing.T) {
	d := backends.NewHoldFault(memory(t))
	b := serve(t, Config{}, newSource().add(t, testTarget, d))
	r := b.session(t)
	d.Hold(&backends.FaultRule{})
	c := r.scsiRead(0, 1)
	r.pdu(c, nil)
	r.pdu(c, nil) // outside the window
	twin := r.scsiRead(8, 1)
	twin.ITT, twin.CmdSN = c.ITT, r.cmdSN.Prev()
	r.pdu(twin, nil)
	r.reject(wire.RejectTaskInProgress)
	r.cmdSN = twin.CmdSN
	var running []wire.InitiatorTaskTag
	for range maxImmediate {
		i := r.scsiRead(0, 1)
		i.Immediate, r.cmdSN = true, i.CmdSN
		running = append(running, i.ITT)
		r.pdu(i, nil)
	}
	i := r.scsiRead(0, 1)
	i.Immediate, r.cmdSN = true, i.CmdSN
	r.pdu(i, nil)
	r.reject(wire.RejectTooManyImmediate)
	r.pdu(wire.TaskManagementRequest{Immediate: true, Function: wire.ClearACA, ITT: r.tag(), CmdSN: r.cmdSN}, nil)
	r.reject(wire.RejectTooManyImmediate)
	r.ping()
	d.Release()
	for range running {
		h, _ := r.expect(wire.OpDataIn)
		r.statSN = h.StatSN().Next()
	}
	h, _ := r.expect(wire.OpDataIn)
	r.statSN = h.StatSN().Next()
	r.ping()
}

// B9, B10: write data that is not what it has to be. The task ends with a check
// condition when its data are through, the disk is what it was, and the session goes
// on.
func TestB09DataOut(t *testing.T) {
	b := offer(t, Config{MaxBurstLength: 8192, FirstBurstLength: 4096, MaxOutstandingR2T: 1})
	keep := noise(9, 32<<10)
	out := func(itt wire.InitiatorTaskTag, ttt wire.TargetTransferTag, sn, off uint32, final bool) wire.DataOut {
		return wire.DataOut{Final: final, ITT: itt, TTT: ttt, DataSN: wire.SerialOf(sn), BufferOffset: off}
	}
	for _, tt := range []struct {
		name string
		do   func(r *raw, c *wire.SCSICommand, q wire.R2T) // q answers c, or is zero
		r2t  bool
		want spc.SenseCode
	}{
		{"unsolicited data beyond FirstBurstLength", func(r *raw, c *wire.SCSICommand, _ wire.R2T) {
			r.pdu(out(c.ITT, wire.NoTag, 0, 0, false), make([]byte, 4096))
			r.pdu(out(c.ITT, wire.NoTag, 1, 4096, true), make([]byte, 512))
		}, false, spc.CodeNotEnoughUnsolicitedData},
		{"unsolicited data at the wrong offset", func(r *raw, c *wire.SCSICommand, _ wire.R2T) {
			r.pdu(out(c.ITT, wire.NoTag, 0, 512, true), make([]byte, 512))
		}, false, spc.CodeProtocolServiceCRC},
		{"unsolicited data at the end of the world", func(r *raw, c *wire.SCSICommand, _ wire.R2T) {
			r.pdu(out(c.ITT, wire.NoTag, 0, 0xfffffc00, true), make([]byte, 512))
		}, false, spc.CodeProtocolServiceCRC},
		{"gap in DataSN", func(r *raw, c *wire.SCSICommand, _ wire.R2T) {
			r.pdu(out(c.ITT, wire.NoTag, 1, 0, true), make([]byte, 512))
		}, false, spc.CodeProtocolServiceCRC},
		{"R2T answered with too much", func(r *raw, c *wire.SCSICommand, q wire.R2T) {
			d := out(c.ITT, q.TTT, 0, q.BufferOffset, true)
			r.pdu(d, make([]byte, 8704))
		}, true, spc.CodeNotEnoughUnsolicitedData},
		{"F early", func(r *raw, c *wire.SCSICommand, q wire.R2T) {
			r.pdu(out(c.ITT, q.TTT, 0, q.BufferOffset, true), make([]byte, 512))
		}, true, spc.CodeNotEnoughUnsolicitedData},
		{"F late", func(r *raw, c *wire.SCSICommand, q wire.R2T) {
			r.pdu(out(c.ITT, q.TTT, 0, q.BufferOffset, false), make([]byte, 8192))
			r.pdu(out(c.ITT, q.TTT, 1, q.BufferOffset+8192, true), make([]byte, 512))
		}, true, spc.CodeNotEnoughUnsolicitedData},
		{"offset before the R2T", func(r *raw, c *wire.SCSICommand, q wire.R2T) {
			r.pdu(out(c.ITT, q.TTT, 0, q.BufferOffset-512, true), make([]byte, 8192))
		}, true, spc.CodeProtocolServiceCRC},
		{"wrong tags are refused, and the right data complete the task", func(r *raw, c *wire.SCSICommand, q wire.R2T) {
			r.pdu(out(c.ITT, q.TTT+1, 0, q.BufferOffset, true), make([]byte, 8192))
			r.reject(wire.RejectInvalidPDUField)
			d := out(c.ITT, q.TTT, 0, q.BufferOffset, true)
			d.LUN[1] = 3
			r.pdu(d, make([]byte, 8192))
			r.reject(wire.RejectInvalidPDUField)
			r.pdu(out(c.ITT, wire.NoTag, 0, q.BufferOffset, true), make([]byte, 512))
			r.reject(wire.RejectInvalidPDUField)
			r.pdu(out(c.ITT+1000, q.TTT, 0, 0, true), make([]byte, 512)) // of no task
			for off := int(q.BufferOffset); ; {
				r.answer(q, keep, 8192)
				if off += 8192; off >= len(keep) {
					break
				}
				q = r.r2t(c.ITT)
			}
		}, true, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := b.dial(t)
			r.login(nil)
			r.attention()
			r.transfer(0, keep)
			c := r.scsiWrite(0, 64)
			var q wire.R2T
			if tt.r2t { // the first burst is immediate, so that an R2T starts behind it
				r.send.MaxData = 32 << 10
				c.ExpectedDataTransferLength = 32 << 10
				r.pdu(c, keep[:4096])
				q = r.r2t(c.ITT)
			} else {
				c.Final = false
				r.pdu(c, nil)
			}
			tt.do(r, &c, q)
			if tt.want == 0 {
				r.good(c.ITT)
			} else {
				r.check(c.ITT, tt.want)
			}
			r.pdu(out(c.ITT, q.TTT, 0, 0, true), make([]byte, 512)) // after the end: dropped
			r.ping()
			r.blocks(0, keep)
			_ = r.conn.Close()
		})
	}
	b.idle(t)
}

func TestB10UnsolicitedData(t *testing.T) {
	b := offer(t, Config{})
	for _, tt := range []struct {
		name   string
		change func(s *wire.Settings)
		do     func(r *raw, c *wire.SCSICommand)
	}{
		{"ImmediateData=No", func(s *wire.Settings) { s.ImmediateData = false }, func(r *raw, c *wire.SCSICommand) {
			r.pdu(*c, make([]byte, 512))
		}},
		{"InitialR2T=Yes", func(s *wire.Settings) { s.InitialR2T = true }, func(r *raw, c *wire.SCSICommand) {
			c.Final = false
			r.pdu(*c, nil)
			r.ping()
			r.pdu(wire.DataOut{Final: true, ITT: c.ITT, TTT: wire.NoTag}, make([]byte, 512))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := b.dial(t)
			r.login(tt.change)
			r.attention()
			keep := noise(4, 512)
			c := r.scsiWrite(0, 1)
			if r.params.ImmediateData {
				r.pdu(c, keep)
			} else {
				r.pdu(c, nil)
				r.answer(r.r2t(c.ITT), keep, 512)
			}
			r.good(c.ITT)
			c = r.scsiWrite(0, 1)
			tt.do(r, &c)
			r.check(c.ITT, spc.CodeUnexpectedUnsolicitedData)
			r.blocks(0, keep)
			_ = r.conn.Close()
		})
	}
	b.idle(t)
}

// B11: what the initiator expects is not what the CDB moves.
func TestB11Residuals(t *testing.T) {
	b := offer(t, Config{})
	r := b.session(t)
	keep := noise(5, 4096)
	r.transfer(0, keep)
	over, under := wire.Residual{Overflow: true, Count: 512}, wire.Residual{Underflow: true, Count: 512}
	// READ of 2 blocks, 1 and 3 of them expected.
	for _, tt := range []struct {
		edtl uint32
		n    int
		want wire.Residual
	}{{512, 512, over}, {1536, 1024, under}, {0xffffffff, 1024, wire.Residual{Underflow: true, Count: 0xffffffff - 1024}}} {
		c := r.scsiRead(0, 2)
		c.ExpectedDataTransferLength = tt.edtl
		r.pdu(c, nil)
		data, pdus := r.readData(c.ITT)
		if !bytes.Equal(data, keep[:tt.n]) || pdus[len(pdus)-1].Residual != tt.want {
			t.Errorf("EDTL %d: %d bytes, %+v; want %d, %+v", tt.edtl, len(data), pdus[len(pdus)-1].Residual, tt.n, tt.want)
		}
	}
	// Nothing expected at all.
	c := r.scsiRead(0, 2)
	c.Read, c.ExpectedDataTransferLength = false, 0
	r.pdu(c, nil)
	if p, _ := r.status(c.ITT); p.Residual != (wire.Residual{Overflow: true, Count: 1024}) {
		t.Errorf("no direction: %+v", p)
	}
	// WRITE of 1 block, 2 expected: only the block is asked for.
	c = r.scsiWrite(0, 1)
	c.ExpectedDataTransferLength = 1024
	r.pdu(c, nil)
	q := r.r2t(c.ITT)
	if q.DesiredDataTransferLength != 512 {
		t.Errorf("R2T for %d bytes, want 512", q.DesiredDataTransferLength)
	}
	r.answer(q, keep[512:], 512)
	if p, _ := r.status(c.ITT); p.Status != 0 || p.Residual != under {
		t.Errorf("WRITE of less than expected: %+v", p)
	}
	r.blocks(0, append(bytes.Clone(keep[512:1024]), keep[512:1024]...))
	// The same with immediate data: the rest is no part of the write.
	c = r.scsiWrite(0, 1)
	c.ExpectedDataTransferLength = 1024
	r.pdu(c, keep[1024:2048])
	if p, _ := r.status(c.ITT); p.Status != 0 || p.Residual != under {
		t.Errorf("WRITE with more data than blocks: %+v", p)
	}
	r.blocks(0, append(bytes.Clone(keep[1024:1536]), keep[512:1024]...))
	// A direction that contradicts the CDB, and both at once: no data phase.
	c = r.scsiRead(0, 1)
	c.Read, c.Write = false, true
	r.pdu(c, nil)
	r.status(c.ITT)
	c = r.scsiRead(0, 1)
	c.Write = true
	r.pdu(c, nil)
	if p, _ := r.status(c.ITT); p.Status != uint8(spc.StatusCheckCondition) {
		t.Errorf("both directions: status %#x", p.Status)
	}
	r.ping()
}

// A status waits until the data that is on its way has come. RFC 7143 11.4.2.
func TestStatusWaitsForData(t *testing.T) {
	b := offer(t, Config{})
	r := b.session(t)
	c := r.scsiWrite(1<<30, 8) // beyond the end
	c.Final = false
	r.pdu(c, nil)
	r.pdu(wire.DataOut{ITT: c.ITT, TTT: wire.NoTag}, make([]byte, 512))
	r.ping() // no status yet
	r.pdu(wire.DataOut{Final: true, ITT: c.ITT, TTT: wire.NoTag, DataSN: wire.SerialOf(1), BufferOffset: 512}, make([]byte, 512))
	r.check(c.ITT, spc.CodeLBAOutOfRange)
	r.ping()
}

// Unsolicited data may come for a command that still waits for its turn.
func TestHeldWrite(t *testing.T) {
	b := offer(t, Config{})
	r := b.session(t)
	data := noise(6, 4096)
	first := r.next()
	w := r.scsiWrite(16, 8)
	w.Final = false
	r.pdu(w, data[:1024])
	r.pdu(wire.DataOut{Final: true, ITT: w.ITT, TTT: wire.NoTag, BufferOffset: 1024}, data[1024:2048])
	r.ping()
	c := r.command([]byte{0})
	c.CmdSN = first
	r.cmdSN = w.CmdSN.Next()
	r.pdu(c, nil)
	r.answer(r.r2t(w.ITT), data, 4096)
	r.good(c.ITT)
	r.good(w.ITT)
	r.blocks(16, data)
}
