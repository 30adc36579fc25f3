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
		if c.behind && c.givenUp() {
			return errGivenUp
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
		h, err := c.next()
		if err != nil {
			return err
		}
		if h == nil {
			return nil
		}
		if err := c.request(h, geo); err != nil {
			return err
		}
	}
}

// next takes a request from the buffer, with the payload of a BLOCK_STATUS and
// without that of others; nil: it has not come in full. errDone is a DISC.
func (c *conn) next() (*header, error) {
	b, n := c.in.Buffered(), c.terms.dialect.headerLen()
	if len(b) < n {
		return nil, nil
	}
	h := &c.head
	*h = c.terms.dialect.decode(b)
	switch {
	case h.magic != c.terms.dialect.magic():
		return nil, fmt.Errorf("%w: request magic %#x", errProtocol, h.magic)
	case h.cmd == cmdDisc:
		return nil, errDone
	case h.payload > maxPayloadLimit:
		return nil, fmt.Errorf("%w: payload of %d bytes", errProtocol, h.payload)
	case h.cmd == cmdWrite && h.payload != h.length:
		// The document says that no payload follows; some servers take one. We
		// do not guess where the next request begins.
		return nil, fmt.Errorf("%w: write of %d bytes that has no payload", errProtocol, h.length)
	}
	h.contexts = c.terms.contexts
	if c.terms.narrows(h) {
		end := n + int(h.payload)
		if len(b) < end {
			return nil, nil
		}
		h.narrow(b[n:end])
		n = end
	}
	c.in.Discard(n)
	return h, nil
}

// request begins the request of h, whose payload, if any, is still in the
// stream.
func (c *conn) request(h *header, geo *geometry) error {
	if c.stopping.Load() {
		return c.refuseStopping(h)
	}
	cmd, e := c.terms.check(h, geo)
	if e.e != 0 {
		c.refuse(h, e)
		return nil
	}
	var credit int64
	switch {
	case cmd.payload:
		credit = int64(h.length)
	case cmd.op == backends.BlockStatus:
		credit = statusBytes
	}
	if !c.grant.Take(credit) {
		c.submit()
		if !c.grant.Wait(credit, c.ctx.Done()) {
			return c.refuseStopping(h) // or nobody reads the answer
		}
		if c.behind = true; c.givenUp() {
			c.grant.Give(credit)
			return errGivenUp
		}
	}
	t := c.newTask()
	t.cookie, t.credit, t.split, t.probe = h.cookie, credit, nil, false
	t.whole = h.flags&cmdFlagDF != 0
	r := &t.req
	r.Op, r.Offset, r.Length = cmd.op, h.offset, h.length
	r.FUA = h.flags&cmdFlagFUA != 0 && cmd.changes
	r.NoUnmap = h.flags&cmdFlagNoHole != 0
	r.FastZero = h.flags&cmdFlagFastZero != 0
	r.Origin, r.Completer = c.handle.Origin, t
	switch cmd.op {
	case backends.Write:
		c.partial = t
		return nil
	case backends.BlockStatus:
		t.query = h.query()
	default:
	}
	if cmd.resize {
		c.resize(t)
		return nil
	}
	c.begin(t, geo)
	return nil
}

// refuseStopping refuses h because of a stop, or ends the connection.
func (c *conn) refuseStopping(h *header) error {
	if c.terms.reconnects || c.leaving.Load() || c.srv.cfg.CloseOnStop {
		return errStopped
	}
	c.refuse(h, refusedStopping)
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
	switch {
	case t.req.Op == backends.BlockStatus:
		c.due += statusBytes
		if !geo.canStatus || t.query.contexts&metaAllocation == 0 {
			c.answerStatus(&t.query, nil)
			t.finish(&c.batch)
			return
		}
	case t.req.Op == backends.Read:
		c.due += int64(t.req.Length)
		if c.probes(t, geo) {
			t.probe, t.req.Op = true, backends.BlockStatus
		}
	}
	c.subs = append(c.subs, &t.req)
}

// refuse answers h with e, after its payload has been consumed.
func (c *conn) refuse(h *header, e refusal) {
	if h.payload > 0 {
		c.skip, c.refused, c.refusal = int(h.payload), *h, e
		return
	}
	c.answer(h, e)
}

// skipPayload consumes a refused payload and answers when it is through.
func (c *conn) skipPayload() bool {
	for c.skip > 0 {
		n := c.in.Discard(c.skip)
		if n == 0 {
			return false
		}
		c.skip -= n
	}
	c.answer(&c.refused, c.refusal)
	return true
}

// answer refuses h.
func (c *conn) answer(h *header, e refusal) {
	n := c.hdr.end(c.terms.dialect, h.cookie, h.offset, e)
	if _, err := c.out.Append(&stream.Message{Header: c.hdr[:n]}); err == nil {
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
	if c.behind = true; c.givenUp() {
		return errGivenUp
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
