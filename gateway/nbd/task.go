// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"sync/atomic"

	"pathgate/backends"
	"pathgate/internal/buffer"
)

// task is one request of a client from its header to its reply. Tasks belong to
// their connection and are used again and again.
type task struct {
	req    backends.Request
	c      *conn
	next   *task
	cookie uint64
	credit int64  // payload bytes taken from the grant
	split  *split // owned by the connection's goroutine; nil: not split
	whole  bool   // of a READ: one chunk of content
	probe  bool   // of a READ: the device is asked whether the range is a hole
	query  query  // of a BLOCK_STATUS
	hdr    replyHeader
	part   buffer.Vec
	list   [1]*backends.Request
	active atomic.Bool // submitted and not completed
}

// newTask gives a task that is not in use. Called by the connection's goroutine.
func (c *conn) newTask() *task {
	if c.free == nil {
		c.free = c.returned.Swap(nil)
	}
	t := c.free
	if t == nil {
		t = &task{c: c}
		c.all = append(c.all, t)
		return t
	}
	c.free, t.next = t.next, nil
	return t
}

// putTask gives t back from any goroutine. Only the connection's goroutine takes
// tasks out, and it takes all of them, so the list has no ABA problem.
func (c *conn) putTask(t *task) {
	t.req.Reset()
	for {
		t.next = c.returned.Load()
		if c.returned.CompareAndSwap(t.next, t) {
			return
		}
	}
}

// Complete answers the client. It is called on any goroutine.
func (t *task) Complete(b *backends.Batch, r *backends.Request, res backends.Result) {
	switch {
	case t.probe:
		t.probed(b, res)
		return
	case r.Op == backends.BlockStatus:
		t.told(b, res)
		return
	}
	e := refusalOf(r, res.Class, t.c.stopping.Load())
	if e.e == 0 && r.Op == backends.Read && r.Data.Len() != int(r.Length) {
		e = refusedShort
	}
	t.end(b, e)
}

// end answers with e and gives back all that t holds.
func (t *task) end(b *backends.Batch, e refusal) {
	if e.e == 0 && t.req.Op == backends.Read {
		t.answerRead(false)
	} else {
		t.send(t.hdr.end(t.c.terms.dialect, t.cookie, t.req.Offset, e), nil)
	}
	t.finish(b)
}

// finish gives back all that t, which has been answered, holds.
func (t *task) finish(b *backends.Batch) {
	c := t.c
	b.Touch(c.out)
	if cap(t.req.Extents) > keepExtents {
		t.req.Extents = nil
	}
	credit := t.credit
	t.active.Store(false)
	c.putTask(t)
	c.grant.Give(credit)
	if c.outstanding.Add(-1) == 0 {
		close(c.drained)
	}
}

// abort asks the device to end what is outstanding. The connection reads no
// more, so no task is used again meanwhile.
func (c *conn) abort() {
	for _, t := range c.all {
		if !t.active.Load() {
			continue
		}
		if t.split != nil {
			t.split.abort(&c.batch)
		} else {
			c.dev.Abort(&c.batch, &t.req)
		}
	}
	c.batch.Run()
}
