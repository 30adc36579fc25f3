// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"fmt"

	"pathgate/backends"
	"pathgate/internal/stream"
)

// transmit is the transmission phase. It returns why it ended, with nothing left
// to submit.
func (c *conn) transmit() error {
	for {
		err := c.decode()
		c.submit()
		if err != nil {
			return err
		}
		if err := c.fill(); err != nil {
			return err
		}
	}
}

// submit hands the device what was decoded and runs the batch.
func (c *conn) submit() {
	if len(c.subs) > 0 {
		c.dev.Submit(&c.batch, c.subs)
		clear(c.subs)
		c.subs, c.due = c.subs[:0], 0
	}
	c.batch.Run()
}

// decode takes every complete request from the buffer.
func (c *conn) decode() error {
	geo := c.geo.Load()
	for {
		if c.partial != nil {
			if !c.in.Payload(&c.partial.req.Data, int(c.partial.req.Length)) {
				return nil
			}
			t := c.partial
			c.partial = nil
			c.begin(t, geo)
		}
		if c.skip > 0 && !c.skipPayload() {
			return nil
		}
		if err := c.pause(); err != nil {
			return err
		}
		b := c.in.Buffered()
		if len(b) < headerLen {
			return nil
		}
		h := decodeHeader(b)
		if h.magic != magicRequest {
			return fmt.Errorf("%w: request magic %#x", errProtocol, h.magic)
		}
		c.in.Discard(headerLen)
		if h.cmd == cmdDisc {
			return errDone
		}
		if err := c.request(&h, geo); err != nil {
			return err
		}
	}
}

// request begins the request of h, whose payload, if any, is still in the
// stream.
func (c *conn) request(h *header, geo *geometry) error {
	if h.cmd == cmdWrite && h.length > maxPayloadLimit {
		return fmt.Errorf("%w: write of %d bytes", errProtocol, h.length)
	}
	if c.stopping.Load() {
		c.refuse(h, errShutdown)
		return nil
	}
	cmd, e := check(h, c.tx, geo, c.srv.cfg.MaxPayload)
	if e != 0 {
		c.refuse(h, e)
		return nil
	}
	var credit int64
	if cmd.payload {
		credit = int64(h.length)
	}
	if !c.grant.Take(credit) {
		c.submit()
		if !c.grant.Wait(credit, c.ctx.Done()) {
			c.refuse(h, errShutdown) // stopping, or nobody reads the answer
			return nil
		}
	}
	t := c.newTask()
	t.cookie, t.credit, t.split = h.cookie, credit, nil
	r := &t.req
	r.Op, r.Offset, r.Length = cmd.op, h.offset, uint64(h.length)
	r.FUA = h.flags&cmdFlagFUA != 0 && cmd.changes
	r.NoUnmap = h.flags&cmdFlagNoHole != 0
	r.FastZero = h.flags&cmdFlagFastZero != 0
	r.Origin, r.Completer = c.handle.Origin, t
	if cmd.op == backends.Write {
		c.partial = t
		return nil
	}
	c.begin(t, geo)
	return nil
}

// begin has t submitted. From here on it is outstanding.
func (c *conn) begin(t *task, geo *geometry) {
	c.outstanding.Add(1)
	t.active.Store(true)
	if limit := geo.limit(t.req.Op); limit > 0 && t.req.Length > limit {
		c.submit() // keeps the order of submission
		newSplit(t, limit).start(&c.batch)
		return
	}
	if t.req.Op == backends.Read {
		c.due += int64(t.req.Length)
	}
	c.subs = append(c.subs, &t.req)
}

// refuse answers h with e, after its payload has been consumed.
func (c *conn) refuse(h *header, e errno) {
	if h.cmd == cmdWrite && h.length > 0 {
		c.skip, c.refused, c.refusal = h.length, *h, e
		return
	}
	c.answer(h.cookie, e)
}

// skipPayload consumes a refused payload and answers when it is through.
func (c *conn) skipPayload() bool {
	for c.skip > 0 {
		n := c.in.Discard(int(c.skip))
		if n == 0 {
			return false
		}
		c.skip -= uint32(n)
	}
	c.answer(c.refused.cookie, c.refusal)
	return true
}

// answer sends a reply without a request behind it.
func (c *conn) answer(cookie uint64, e errno) {
	putReply(&c.hdr, cookie, e)
	if _, err := c.out.Append(&stream.Message{Header: c.hdr[:]}); err == nil {
		c.batch.Touch(c.out)
	}
}

// pause waits while the client takes no replies. What was decoded is submitted
// first, also when its replies alone may be too many.
func (c *conn) pause() error {
	if c.out.Pending()+c.due <= c.srv.cfg.MaxPending {
		return nil
	}
	c.submit()
	if c.out.Pending() <= c.srv.cfg.MaxPending {
		return nil
	}
	if err := c.out.Drain(c.srv.cfg.MaxPending / 2); err != nil {
		if c.stopping.Load() {
			return errStopped
		}
		return err
	}
	return nil
}

// drop gives up a request whose payload never came in full.
func (c *conn) drop() {
	t := c.partial
	if t == nil {
		return
	}
	c.partial = nil
	credit := t.credit
	c.putTask(t)
	c.grant.Give(credit)
}
