// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"pathgate/backends"
	wire "pathgate/internal/iscsi"
)

// r2t answers a request for write data. Transfers have to come in order and
// without gaps or overlap, which we negotiated. RFC 7143 11.8 (Ready To Transfer
// (R2T)).
func (c *conn) r2t(b *backends.Batch) error {
	p, err := wire.DecodeR2T(&c.rx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tasks.find(p.ITT)
	switch {
	case t == nil:
		return errNoTask("R2T", p.ITT)
	case !t.write:
		return lost(backends.LossProtocol, "R2T for a task that writes nothing, tag %#x", uint32(p.ITT))
	case p.LUN != t.sess.field && p.LUN != (wire.LUNField{}): // gotgt gives none
		return lost(backends.LossProtocol, "R2T for another LUN than its task's, tag %#x", uint32(p.ITT))
	case t.stuck:
		// Aborted, or given up: it gets no more data.
		c.acknowledgeLocked(b, p.Numbers, false)
		return nil
	case p.R2TSN.Uint32() != t.r2tSN:
		return lost(backends.LossProtocol, "R2T number %v instead of %d", p.R2TSN, t.r2tSN)
	case p.BufferOffset != t.queued:
		return lost(backends.LossProtocol, "R2T at offset %d instead of %d", p.BufferOffset, t.queued)
	case p.DesiredDataTransferLength > t.edtl-t.queued:
		return lost(backends.LossProtocol, "R2T beyond the %d bytes of the task", t.edtl)
	case p.DesiredDataTransferLength > c.params.MaxBurstLength:
		return lost(backends.LossProtocol, "R2T for %d bytes, above MaxBurstLength", p.DesiredDataTransferLength)
	}
	// An R2T is outstanding until its data may have left.
	left := c.queue.Offered()
	for len(t.r2tEnds) > 0 && t.r2tEnds[0] <= left {
		t.r2tEnds = append(t.r2tEnds[:0], t.r2tEnds[1:]...)
	}
	if len(t.r2tEnds) >= int(c.params.MaxOutstandingR2T) {
		return lost(backends.LossProtocol, "more than %d R2Ts outstanding", c.params.MaxOutstandingR2T)
	}
	t.r2tSN++
	c.sendDataLocked(t, p.DesiredDataTransferLength, p.TTT)
	t.r2tEnds = append(t.r2tEnds, t.end)
	b.Touch(c.queue)
	c.acknowledgeLocked(b, p.Numbers, false)
	return nil
}
