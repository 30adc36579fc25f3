// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"pathgate/backends"
	"pathgate/internal/buffer"
	wire "pathgate/internal/iscsi"
	"pathgate/internal/stream"
)

// connState is where a logged-in connection is in its life.
type connState uint8

const (
	connLive connState = iota
	// connLost: the cause is known; what is submitted now waits, and ends with
	// the rest after Down.
	connLost
	// connFinished: everything has ended; nothing is taken any more.
	connFinished
)

// conn is one session in full feature phase, which has one connection. What it
// outlives nothing; the nexus makes a new one at each login.
type conn struct {
	n           *nexus
	generation  uint64
	route       backends.Route
	from        *Config // of the adapter that it leaves from
	sock        net.Conn
	queue       *stream.Queue
	params      wire.Params
	recvFraming wire.Framing
	sendFraming wire.Framing
	epoch       time.Time // of lastRx

	room    atomic.Int32 // commands that the window admits, for Load
	lastRx  atomic.Int64 // ns after epoch: when bytes came last
	filling atomic.Bool  // the reader waits for the socket
	wake    chan struct{}
	stop    chan struct{} // closed when the reader has ended
	watch   sync.WaitGroup

	// Owned by the reader.
	reader *stream.Reader
	rx     wire.BHS
	rxData buffer.Vec
	pings  rateBound

	mu        sync.Mutex // guards all that follows
	state     connState
	loss      lossError // once state is not connLive
	win       window
	expStatSN wire.Serial
	tasks     taskTable
	timed     []*task // tasks with a deadline, in no order
	tombs     int     // slots that are tombstones
	waiting   []*session
	enc       encoder
	ping      pinger
	leave     leaving
}

// lossError says why a session ended.
type lossError struct {
	class backends.LossClass
	err   error
}

// Error implements error.
func (e *lossError) Error() string { return e.err.Error() }

// Unwrap gives the cause.
func (e *lossError) Unwrap() error { return e.err }

func lost(class backends.LossClass, format string, args ...any) error {
	return &lossError{class, fmt.Errorf(format, args...)}
}

// newConn takes sock, which has logged in with outcome l.
func newConn(n *nexus, sock net.Conn, l *loginOutcome, generation uint64, route backends.Route) *conn {
	c := &conn{
		n:           n,
		generation:  generation,
		route:       route,
		from:        n.cfg,
		sock:        sock,
		params:      l.params,
		recvFraming: l.params.RecvFraming(),
		sendFraming: l.params.SendFraming(),
		epoch:       time.Now(),
		wake:        make(chan struct{}, 1),
		stop:        make(chan struct{}),
		reader:      stream.NewReader(sock),
		win:         startWindow(l.cmdSN, l.numbers),
		expStatSN:   l.expStatSN,
	}
	if k, ok := n.from(route); ok {
		c.from = &k.cfg
	}
	c.room.Store(int32(c.win.room()))
	c.queue = stream.NewQueue(sock, func(err error) { c.fail(err) })
	return c
}

// now gives the time since epoch in ns.
func (c *conn) now() int64 { return int64(time.Since(c.epoch)) }

func (c *conn) deadline(d time.Duration) time.Time { return time.Now().Add(d) }

// fail ends the session with err as its cause, unless it has one already. The
// socket is closed at once, so that not one byte more leaves. Any goroutine.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.state == connLive {
		c.state = connLost
		c.loss = lossError{lossClass(err), err}
		c.room.Store(0)
	}
	c.mu.Unlock()
	abort(c.sock)
}

// abort closes sock and drops what the kernel has not sent yet.
func abort(sock net.Conn) {
	if t, ok := sock.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = sock.Close()
}

// finish ends the session after the reader: it tells the handler and completes
// everything that is left, once. Runs on the nexus's goroutine.
func (c *conn) finish(b *backends.Batch, cause error, tell func(*backends.Batch, lossError)) {
	c.fail(cause)
	b.Run()
	close(c.stop)
	c.watch.Wait()
	c.queue.Close()
	c.reader.Close()
	c.rxData.Release()
	sent := c.queue.Sent()

	c.mu.Lock()
	loss := c.loss
	c.mu.Unlock()
	tell(b, loss)

	c.mu.Lock()
	c.state = connFinished
	c.endAllLocked(b, sent)
	c.mu.Unlock()
	b.Run()
}

// endAllLocked completes every task and waiter with Transport. sent is how far
// the send queue got.
func (c *conn) endAllLocked(b *backends.Batch, sent uint64) {
	var functions []*backends.TaskManagement
	for _, t := range c.tasks.slots {
		switch t.kind {
		case kindRequest, kindExec:
			res := backends.Result{Class: backends.Transport, Sent: backends.SentSome}
			if t.start >= sent {
				res.Sent = backends.SentNone
			}
			c.endTaskLocked(b, t, res, sent)
		case kindTMF:
			functions = append(functions, t.tmf)
			c.dropLocked(t)
		case kindFree, kindLate, kindEnded, kindLogout:
		}
	}
	for _, s := range c.waiting {
		for s.wait.n > 0 {
			c.endWaiter(b, s, s.wait.pop(), backends.Failed(backends.Transport))
		}
		s.wait.listed = false
	}
	c.waiting = nil
	for _, f := range functions {
		endTMF(b, f, backends.TMLost)
	}
}

// endWaiter completes w, which has no task.
func (c *conn) endWaiter(b *backends.Batch, s *session, w waiter, res backends.Result) {
	if w.exec != nil {
		w.exec.Result = res
		b.Defer(execDone{w.exec})
		return
	}
	if w.step > 0 {
		// Earlier commands of it were answered; none runs.
		res.Sent = backends.SentAnswered
		w.req.Attempt = backends.Attempt{Generation: c.generation}
	}
	s.load.Add(-1)
	b.Complete(w.req, res)
}

// endTaskLocked completes t's request or command with res and frees the slot. sent
// tells how far the send queue got; it matters only for SentSome.
func (c *conn) endTaskLocked(b *backends.Batch, t *task, res backends.Result, sent uint64) {
	c.reportLocked(b, t, res, sent)
	c.dropLocked(t)
}

// reportLocked completes t's request or command and leaves the slot as it is.
func (c *conn) reportLocked(b *backends.Batch, t *task, res backends.Result, sent uint64) {
	if t.exec != nil {
		x := t.exec
		x.Result = res
		if res.OK() {
			x.In.Move(&t.in)
		}
		b.Defer(execDone{x})
		return
	}
	r := t.req
	if res.Sent == backends.SentNone && t.step > 0 {
		res.Sent = backends.SentAnswered
	}
	if res.Sent != backends.SentNone {
		r.Attempt = backends.Attempt{
			Generation: c.generation,
			ITT:        t.itt,
			CmdSN:      t.cmdSN.Uint32(),
			DataOwed:   res.Sent == backends.SentSome && t.owes(sent),
		}
	}
	if r.Op == backends.Read && res.OK() {
		r.Data.Move(&t.in)
	}
	t.sess.load.Add(-1)
	b.Complete(r, res)
}

// dropLocked frees t's slot.
func (c *conn) dropLocked(t *task) {
	c.untimeLocked(t)
	c.tasks.put(t)
}
