// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"math"

	"pathgate/internal/buffer"
	wire "pathgate/internal/iscsi"
	"pathgate/internal/stream"
)

// encoder is memory in which PDUs are put together, one at a time. Guarded by
// conn.mu: with it, sending allocates nothing.
type encoder struct {
	head    [wire.HeaderLength + wire.DigestLength]byte
	trailer [3 + wire.DigestLength]byte
	msg     stream.Message
}

// neverSent is the position of a message that the queue refused.
const neverSent = math.MaxUint64

// header is where the next PDU's header is encoded.
func (c *conn) header() *wire.BHS { return (*wire.BHS)(c.enc.head[:]) }

// maxDataOut bounds the data segment of a Data-Out, in bytes, whatever the target
// would take: urgent PDUs go between others only.
const maxDataOut = 256 << 10

// digestHeaderLocked gives the encoded header with its digest.
func (c *conn) digestHeaderLocked() []byte {
	h := c.enc.head[:wire.HeaderLength]
	if c.sendFraming.HeaderDigest {
		wire.CRC32C(0).Update(h).Put(c.enc.head[wire.HeaderLength:])
		h = c.enc.head[:]
	}
	return h
}

// appendUrgentLocked adds the PDU whose header was encoded ahead of all in the send
// queue that lies behind position after and has not begun. It does not fail: a
// queue that takes nothing has lost its session.
func (c *conn) appendUrgentLocked(after uint64) { _ = c.queue.Urgent(c.digestHeaderLocked(), after) }

// appendLocked appends the PDU whose header was encoded, with bytes [off, off+n)
// of payload, to the send queue and gives the position of its first byte.
func (c *conn) appendLocked(payload buffer.Vec, off, n uint32, tag uint64) (start uint64) {
	m := &c.enc.msg
	m.Header, m.Trailer, m.Tag = c.digestHeaderLocked(), nil, tag
	if n > 0 {
		m.Data = view(m.Data[:0], payload, int(off), int(n))
		pad := wire.PadLength(int(n))
		t := c.enc.trailer[:pad]
		clear(t)
		if c.sendFraming.DataDigest {
			t = c.enc.trailer[:pad+wire.DigestLength]
			digestOf(m.Data).Pad(pad).Put(t[pad:])
		}
		m.Trailer = t
	}
	start, err := c.queue.Append(m)
	// The queue holds what it needs: a slice that stays here holds nothing alive.
	clear(m.Data)
	m.Data = m.Data[:0]
	if err != nil {
		return neverSent
	}
	return start
}

// view appends bytes [off, off+n) of w to dst, borrowed: without holds of its own.
func view(dst, w buffer.Vec, off, n int) buffer.Vec {
	for i := range w {
		s := w[i].B
		if off >= len(s) {
			off -= len(s)
			continue
		}
		s = s[off:]
		off = 0
		if len(s) > n {
			s = s[:n]
		}
		dst = append(dst, buffer.Slice{B: s, Seg: w[i].Seg})
		if n -= len(s); n == 0 {
			break
		}
	}
	return dst
}

func digestOf(v buffer.Vec) wire.CRC32C {
	d := wire.CRC32C(0)
	for i := range v {
		d = d.Update(v[i].B)
	}
	return d
}

// issueLocked sends w if there is room for it. False: there is none.
func (c *conn) issueLocked(s *session, w waiter) bool {
	if c.win.room() == 0 || c.leave.sent {
		return false
	}
	t := c.tasks.get()
	if t == nil {
		return false
	}
	t.sess = s
	var cdb [16]byte
	if w.exec != nil {
		x := w.exec
		t.kind, t.exec, cdb, t.deadline = kindExec, x, x.CDB, w.deadline
		c.timeLocked(t)
		if n := x.Out.Len(); n > 0 {
			t.write, t.edtl, t.out = true, uint32(n), x.Out
		} else if x.MaxIn > 0 {
			t.read, t.edtl = true, uint32(x.MaxIn)
		}
	} else {
		t.kind = kindRequest
		plan(&cdb, t, w.req, w.step, &s.geo.Load().Geometry)
	}
	c.sendCommandLocked(t, &cdb)
	return true
}

// sendCommandLocked numbers t's command and appends it with the data that needs
// no R2T. RFC 7143 11.3 (SCSI Command), 13.10 (InitialR2T), 13.11 (ImmediateData),
// 13.14 (FirstBurstLength).
func (c *conn) sendCommandLocked(t *task, cdb *[16]byte) {
	t.cmdSN = c.win.take()
	c.room.Store(int32(c.win.room()))
	var immediate, unsolicited uint32
	if t.write {
		first := min(t.edtl, c.params.FirstBurstLength)
		if c.params.ImmediateData {
			immediate = min(first, c.params.MaxSendDataSegmentLength)
		}
		if !c.params.InitialR2T {
			unsolicited = first - immediate
		}
	}
	wire.SCSICommand{
		Final:                      unsolicited == 0,
		Read:                       t.read,
		Write:                      t.write,
		Attribute:                  wire.Simple,
		DataSegmentLength:          immediate,
		LUN:                        t.sess.field,
		ITT:                        wire.InitiatorTaskTag(t.itt),
		ExpectedDataTransferLength: t.edtl,
		CmdSN:                      t.cmdSN,
		ExpStatSN:                  c.expStatSN,
		CDB:                        *cdb,
	}.Encode(c.header())
	t.start = c.appendLocked(t.out, 0, immediate, stream.NoTag)
	t.queued = immediate
	t.end = c.behind(t.start, immediate)
	if unsolicited > 0 {
		c.sendDataLocked(t, unsolicited, wire.NoTag)
	}
}

// sendDataLocked appends the next n bytes of t's data as one sequence of Data-Out.
func (c *conn) sendDataLocked(t *task, n uint32, ttt wire.TargetTransferTag) {
	var lun wire.LUNField
	if ttt != wire.NoTag {
		lun = t.sess.field
	}
	for sn := wire.SerialOf(0); n > 0; sn = sn.Next() {
		part := min(n, c.params.MaxSendDataSegmentLength, maxDataOut)
		n -= part
		wire.DataOut{
			Final:             n == 0,
			DataSegmentLength: part,
			LUN:               lun,
			ITT:               wire.InitiatorTaskTag(t.itt),
			TTT:               ttt,
			ExpStatSN:         c.expStatSN,
			DataSN:            sn,
			BufferOffset:      t.queued,
		}.Encode(c.header())
		start := c.appendLocked(t.out, t.queued, part, t.queueTag())
		t.queued += part
		t.end = c.behind(start, part)
	}
}

// behind gives the position behind a PDU at start with n bytes of data.
func (c *conn) behind(start uint64, n uint32) uint64 {
	if start == neverSent {
		return neverSent
	}
	total := wire.HeaderLength
	if c.sendFraming.HeaderDigest {
		total += wire.DigestLength
	}
	if n > 0 {
		total += int(n) + wire.PadLength(int(n))
		if c.sendFraming.DataDigest {
			total += wire.DigestLength
		}
	}
	return start + uint64(total)
}
