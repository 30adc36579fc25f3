// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"pathgate/backends"
	wire "pathgate/internal/iscsi"
	"pathgate/internal/scsi"
)

// response ends a task. RFC 7143 11.4 (SCSI Response).
func (c *conn) response(b *backends.Batch, data []byte) error {
	p, err := wire.DecodeSCSIResponse(&c.rx)
	if err != nil {
		return err
	}
	// A sense length that lies leaves the command without readable sense.
	sense, _, err := wire.SplitSense(data)
	if err != nil || len(sense) > scsi.MaxSenseBytes {
		sense = nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tasks.find(p.ITT)
	if t == nil || t.kind == kindTMF || t.kind == kindLogout || t.isTMF {
		return errNoTask("SCSI Response", p.ITT)
	}
	if p.Response != wire.CommandCompleted && t.kind != kindLate {
		c.settleLocked(b, t, backends.Result{Class: backends.Transport, Sent: backends.SentAnswered}, nil)
		c.acknowledgeLocked(b, p.Numbers, true)
		return nil
	}
	err = c.statusLocked(b, t, p.Status, p.Residual, sense)
	c.acknowledgeLocked(b, p.Numbers, true)
	return err
}

// statusLocked ends t with a status. An error: the target lied about data that it
// did not take, and cannot be trusted with what is in flight.
func (c *conn) statusLocked(b *backends.Batch, t *task, status uint8, residual wire.Residual, sense []byte) error {
	if t.kind == kindLate {
		c.unentombLocked(t)
		return nil
	}
	res := classify(status, sense)
	if !res.OK() {
		c.settleLocked(b, t, res, sense)
		return nil
	}
	unsent := t.owed || t.queued < t.edtl || t.end > c.queue.Offered()
	if t.write && unsent && (!residual.Underflow || residual.Count == 0) {
		c.settleLocked(b, t, short(status), sense)
		return lost(backends.LossProtocol, "success for a write whose data was not sent, tag %#x", t.itt)
	}
	if !complete(t, residual) {
		res = short(status)
	}
	c.settleLocked(b, t, res, sense)
	return nil
}

// short is the result of a command that was answered with success but did not do
// all of it: another path may know better.
func short(status uint8) backends.Result {
	return backends.Result{Class: backends.Transport, Sent: backends.SentAnswered, Status: status}
}

// complete tells whether the bytes that were moved and the residual agree, and
// are all of them where that is needed: reads and writes of blocks have one right
// length, answers to an Exec or a BlockStatus may be shorter than asked for, and
// tgtd calls an UNMAP list that it has read a residual.
// RFC 7143 11.4.5 (Residual Count).
func complete(t *task, residual wire.Residual) bool {
	if t.kind == kindExec || t.req.Op == backends.BlockStatus || t.req.Op == backends.Unmap {
		// An overflow tells that the answer was cut to what was asked for. gotgt
		// counts the bytes that came, not those that did not.
		return !t.read || !residual.Underflow || uint64(t.got)+uint64(residual.Count) == uint64(t.edtl) ||
			t.kind == kindExec && t.got == residual.Count
	}
	if residual.Overflow || residual.Underflow && residual.Count != 0 {
		return false
	}
	return !t.read || t.got == t.edtl
}

// settleLocked completes t with res, the target's answer, or goes on to the next
// command of a request that takes several.
func (c *conn) settleLocked(b *backends.Batch, t *task, res backends.Result, sense []byte) {
	if res.Sense.Valid && res.Sense.Key == uint8(scsi.UnitAttention) && !res.Sense.Deferred {
		b.Defer(attention{t.sess, res.Sense})
	}
	if t.write && !res.OK() && t.end > c.queue.Sent() {
		// The target waits for no more data: take out what has not begun.
		c.queue.Remove(t.queueTag())
	}
	if t.exec != nil {
		t.exec.Raw = append([]byte(nil), sense...)
		c.endTaskLocked(b, t, res, 0)
		return
	}
	if res.OK() {
		g := t.sess.geo.Load()
		if t.req.Op == backends.BlockStatus && !extents(t.req, t.in, &g.Geometry) {
			res = short(res.Status)
		} else if step, more := nextStep(t, &g.Geometry); more && t.stuck {
			res.Class = backends.Aborted
		} else if more {
			s, r := t.sess, t.req
			c.dropLocked(t)
			c.admitLocked(s, waiter{req: r, step: step})
			b.Touch(c.queue)
			return
		}
	}
	c.endTaskLocked(b, t, res, 0)
}

// attention tells the handler of a unit attention, as deferred work of the
// reader's batch, where no lock is held.
type attention struct {
	s     *session
	sense backends.Sense
}

// RunBatch implements backends.Runner.
func (a attention) RunBatch(b *backends.Batch) { a.s.n.handler.UnitAttention(b, a.s, a.sense) }
