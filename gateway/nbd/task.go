// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"sync/atomic"

	"pathgate/backends"
	"pathgate/internal/stream"
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
	hdr    [replyLen]byte
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
	c := t.c
	e := errnoOf(r, res.Class, c.stopping.Load())
	if e == 0 && r.Op == backends.Read && r.Data.Len() != int(r.Length) {
		e = errIO // never a short read (promise P8)
	}
	t.end(b, e)
}

// end answers with e and gives back all that t holds.
func (t *task) end(b *backends.Batch, e errno) {
	c := t.c
	putReply(&t.hdr, t.cookie, e)
	m := stream.Message{Header: t.hdr[:]}
	if e == 0 && t.req.Op == backends.Read {
		m.Data = t.req.Data
	}
	if _, err := c.out.Append(&m); err == nil {
		b.Touch(c.out)
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
