// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"time"

	"pathgate/backends"
)

// waiter is a request, or an Exec command, that has no task yet.
type waiter struct {
	req  *backends.Request
	step uint64 // bytes of req that earlier commands have done; see plan
	exec *backends.Command

	deadline time.Time // of exec
}

// waitQueue is a FIFO on a ring that grows and is kept, so that waiting allocates
// nothing in the long run. Invariant: len(ring) is 0 or a power of two.
type waitQueue struct {
	ring   []waiter
	head   int
	n      int
	listed bool // its session is in conn.waiting
}

func (q *waitQueue) at(i int) *waiter { return &q.ring[(q.head+i)&(len(q.ring)-1)] }

func (q *waitQueue) push(w waiter) {
	if q.n == len(q.ring) {
		ring := make([]waiter, max(16, 2*len(q.ring)))
		for i := range q.n {
			ring[i] = *q.at(i)
		}
		q.ring, q.head = ring, 0
	}
	q.n++
	*q.at(q.n - 1) = w
}

func (q *waitQueue) pop() waiter {
	w := *q.at(0)
	*q.at(0) = waiter{}
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.n--
	return w
}

// remove takes out the first waiter that match accepts.
func (q *waitQueue) remove(match func(*waiter) bool) (waiter, bool) {
	for i := range q.n {
		if !match(q.at(i)) {
			continue
		}
		w := *q.at(i)
		for ; i < q.n-1; i++ {
			*q.at(i) = *q.at(i + 1)
		}
		q.n--
		*q.at(q.n) = waiter{}
		return w, true
	}
	return waiter{}, false
}

// admitLocked sends w, or has it wait when the window is closed, when others
// wait already, or when the session is lost.
func (c *conn) admitLocked(s *session, w waiter) {
	if c.state == connLive && len(c.waiting) == 0 && c.issueLocked(s, w) {
		return
	}
	s.wait.push(w)
	if !s.wait.listed {
		s.wait.listed = true
		c.waiting = append(c.waiting, s)
	}
}

// pumpLocked sends what waits while the window is open, one command of each
// session in turn.
func (c *conn) pumpLocked(b *backends.Batch) {
	for len(c.waiting) > 0 && c.state == connLive {
		s := c.waiting[0]
		if s.wait.n > 0 {
			if c.win.room() == 0 || !c.issueLocked(s, *s.wait.at(0)) {
				return
			}
			s.wait.pop()
			b.Touch(c.queue)
		}
		c.waiting = append(c.waiting[:0], c.waiting[1:]...)
		if s.wait.n > 0 {
			c.waiting = append(c.waiting, s)
		} else {
			s.wait.listed = false
		}
	}
}
