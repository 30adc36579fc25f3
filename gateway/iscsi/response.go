// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"pathgate/internal/buffer"
	wire "pathgate/internal/iscsi"
	spc "pathgate/internal/scsi"
	"pathgate/internal/stream"
)

// numbersLocked gives the numbers of a PDU that does not advance StatSN.
func (s *session) numbersLocked() wire.Numbers {
	return wire.Numbers{StatSN: s.statSN, ExpCmdSN: s.win.exp, MaxCmdSN: s.win.max}
}

// statusLocked gives the numbers of a PDU that carries a status.
func (s *session) statusLocked() wire.Numbers {
	n := s.numbersLocked()
	s.statSN = s.statSN.Next()
	return n
}

// sendLocked appends a PDU with a short data segment, which is copied.
func (s *session) sendLocked(h *wire.BHS, data []byte) {
	s.scratch = s.send.AppendPacket(s.scratch[:0], h, nil, data)
	_, _ = s.c.out.Append(&stream.Message{Header: s.scratch}) // a lost connection ends by itself
}

// sendDataLocked appends a PDU whose data segment is data, which is borrowed.
func (s *session) sendDataLocked(h *wire.BHS, data buffer.Vec, n int) {
	h.SetDataSegmentLength(uint32(n))
	head := append(s.scratch[:0], h[:]...)
	var word [wire.DigestLength]byte
	if s.send.HeaderDigest {
		wire.CRC32C(0).Update(h[:]).Put(word[:])
		head = append(head, word[:]...)
	}
	end := len(head)
	pad := wire.PadLength(n)
	head = append(head, zeros[:pad]...)
	if s.send.DataDigest && n > 0 {
		digestOf(data).Pad(pad).Put(word[:])
		head = append(head, word[:]...)
	}
	s.scratch = head
	_, _ = s.c.out.Append(&stream.Message{Header: head[:end], Data: data, Trailer: head[end:]})
}

var zeros [3]byte

// respondLocked answers a task: read data, and the status in the last Data-In when
// it is a good one. RFC 7143 11.4 (SCSI Response), 11.7 (SCSI Data-Out and SCSI
// Data-In).
func (s *session) respondLocked(t *task) {
	c := &t.cmd
	residual := wire.Residual{Overflow: c.Overflow, Underflow: !c.Overflow && c.Residual > 0, Count: c.Residual}
	collapse := c.Status == spc.StatusGood && len(c.In) > 0
	sent := s.dataInLocked(t, residual, collapse)
	if collapse {
		return
	}
	r := wire.SCSIResponse{
		Status: uint8(c.Status), ITT: t.itt, Numbers: s.statusLocked(),
		ExpDataSN: wire.SerialOf(sent), Residual: residual,
	}
	s.sense = s.sense[:0]
	if len(c.Sense) > 0 {
		s.sense = wire.AppendSense(s.sense, c.Sense)
	}
	r.Encode(&s.head)
	s.sendLocked(&s.head, s.sense)
}

// dataInLocked sends the read data of t, cut to what the initiator takes, and tells
// in how many PDUs.
func (s *session) dataInLocked(t *task, residual wire.Residual, collapse bool) (sent uint32) {
	in := t.cmd.In
	total := in.Len()
	segment := int(min(s.send.MaxData, s.params.MaxBurstLength))
	burst := int(s.params.MaxBurstLength)
	slice, skip := 0, 0
	for off := 0; off < total; {
		n := min(segment, total-off, burst-off%burst)
		last := off+n == total
		d := wire.DataIn{
			Final: last || (off+n)%burst == 0, HasStatus: last && collapse,
			DataSegmentLength: uint32(n), ITT: t.itt, DataSN: wire.SerialOf(sent), BufferOffset: uint32(off),
		}
		if d.HasStatus {
			d.Status, d.Residual, d.Numbers = uint8(t.cmd.Status), residual, s.statusLocked()
		} else {
			d.Numbers = s.numbersLocked()
		}
		d.Encode(&s.head)
		s.cut = s.cut[:0]
		for left := n; left > 0; {
			b := in[slice].B[skip:]
			if len(b) > left {
				s.cut = append(s.cut, buffer.Slice{B: b[:left:left], Seg: in[slice].Seg})
				skip += left
				break
			}
			s.cut = append(s.cut, buffer.Slice{B: b, Seg: in[slice].Seg})
			left -= len(b)
			slice, skip = slice+1, 0
		}
		s.sendDataLocked(&s.head, s.cut, n)
		off += n
		sent++
	}
	clear(s.cut)
	return sent
}
