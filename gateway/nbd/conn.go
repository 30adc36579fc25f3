// SPDX-License-Identifier: Apache-2.0

package nbd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"pathgate/backends"
	"pathgate/internal/stream"
)

// linger is how long replies may take to leave when a connection ends in order.
const linger = 5 * time.Second

// Why a connection ended. errDone is an end in order.
var (
	errDone     = errors.New("client disconnected")
	errProtocol = errors.New("protocol violation")
	errStopped  = errors.New("stopped")
	errGivenUp  = errors.New("connection given up by client, which has others")
)

// conn is one client. Its goroutine runs serve; requests complete on any.
type conn struct {
	srv   *Server
	from  *listener
	nc    net.Conn       // the socket
	in    *stream.Reader // another one after STARTTLS, like out
	out   *stream.Queue  // changed with srv.mu held
	tls   *tls.Conn      // over nc; nil: plain text
	peer  Peer           // changed with srv.mu held
	id    string         // names the connection in the log
	since time.Time

	addr   netip.Addr // of a TCP connection; guarded by srv.mu until the goroutine starts
	number uint64     // guarded by srv.mu until the goroutine starts
	export string     // guarded by srv.mu
	using  bool       // guarded by srv.mu: going to transmission, or in it

	ctx     context.Context // ends when the client is lost or is to be stopped
	cancel  context.CancelFunc
	killed  chan struct{} // closed: outstanding requests are to be aborted
	killing sync.Once
	done    chan struct{} // closed when nothing of the connection is left

	stopping    atomic.Bool
	leaving     atomic.Bool   // stopping, and the client is to connect again
	serving     atomic.Bool   // in the transmission phase, or about to be told the size
	outstanding atomic.Int64  // requests with the device, and one for the goroutine
	drained     chan struct{} // closed when outstanding has come to 0
	geo         atomic.Pointer[geometry]
	returned    atomic.Pointer[task] // tasks that have completed
	sparse      atomic.Bool          // the last long READ held nothing but zeros

	mu       sync.Mutex
	deadline time.Time // read deadline after stop; guarded by mu
	lost     error     // why writing failed; guarded by mu
	resizes  []*task   // RESIZEs, the first of them under way; guarded by mu

	// Owned by the connection's goroutine.
	handle   Handle
	dev      backends.Device
	grant    *backends.Grant
	terms    terms
	noZeroes bool
	fixed    bool // the client knows fixed newstyle
	batch    backends.Batch
	subs     []*backends.Request // decoded and not submitted
	due      int64               // bytes that those will be answered with, at most
	free     *task
	all      []*task // every task of this connection
	partial  *task   // a WRITE whose payload is coming
	behind   bool    // what the client has sent has had to wait here: see late.go
	head     header  // the request that is being looked at
	skip     int     // bytes of a refused payload that are to come
	refused  header  // what skip belongs to
	refusal  refusal
	hdr      replyHeader

	selected   contexts // by the last SET_META_CONTEXT
	selectedOf string   // the export that it named
}

func newConn(l *listener, nc net.Conn) *conn {
	c := &conn{
		srv: l.srv, from: l, nc: nc, since: time.Now(),
		killed: make(chan struct{}), done: make(chan struct{}), drained: make(chan struct{}),
	}
	c.in = stream.NewReader(nc)
	c.out = stream.NewQueue(nc, c.lose)
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.outstanding.Store(1)
	return c
}

// name gives c its name for people. Called with srv.mu held, c.number set.
func (c *conn) name() {
	n := remoteName(c.nc)
	if c.nc.LocalAddr().Network() != "tcp" {
		n = fmt.Sprintf("%s#%d", c.nc.LocalAddr(), c.number)
	}
	c.peer = Peer{
		Local: c.nc.LocalAddr(), Remote: c.nc.RemoteAddr(), Connection: "nbd " + n,
		Number: c.number, Process: peerProcess(c.nc),
	}
	c.id = n
}

func remoteName(nc net.Conn) string {
	if a := nc.RemoteAddr(); a != nil {
		return a.String()
	}
	return "unknown"
}

// discard closes a connection that was not admitted.
func (c *conn) discard() {
	c.cancel()
	c.nc.Close()
	c.out.Close()
	c.in.Close()
}

// serve is the connection's goroutine.
func (c *conn) serve() {
	defer c.srv.remove(c)
	err := c.handshake()
	if err == nil {
		c.log(slog.LevelInfo, "client uses export")
		stop := c.dev.Watch(c.changed)
		c.changed(backends.SizeChanged) // what changed before the watch
		err = c.transmit()
		c.handle.lost()
		c.finish(err)
		stop()
		c.log(slog.LevelInfo, "client left export", "reason", reason(err))
		c.handle.close()
	} else {
		c.settle()
		c.log(slog.LevelDebug, "handshake ended", "reason", reason(err))
	}
	c.cancel()
	c.farewell()
	c.nc.Close()
	c.out.Close()
	c.in.Close()
}

// log writes a line about c, within the quota of the server.
func (c *conn) log(level slog.Level, msg string, args ...any) {
	args = append(args, "peer", c.id)
	if c.handle.Name != "" {
		args = append(args, "export", c.handle.Name)
	}
	c.srv.log.LineOf(c.from.peer(c.addr), level, msg, args...)
}

func reason(err error) string {
	if errors.Is(err, io.EOF) {
		return "connection closed by client"
	}
	return err.Error()
}

// lose is told that writing has failed.
func (c *conn) lose(err error) {
	c.mu.Lock()
	c.lost = err
	c.mu.Unlock()
	c.cancel()
	c.nc.Close()
}

// stop has the client told that it is to go. The connection ends by itself
// when its outstanding requests are answered.
func (c *conn) stop() {
	c.mu.Lock()
	if c.deadline.IsZero() {
		c.deadline = time.Now().Add(c.srv.cfg.StopGrace)
	}
	c.stopping.Store(true)
	_ = c.nc.SetReadDeadline(c.deadline)
	c.mu.Unlock()
	c.cancel()
}

// leave has the client connect again: what was taken is answered, and nothing else. It
// tells whether c was that far.
func (c *conn) leave() bool {
	if !c.serving.Load() {
		return false
	}
	c.leaving.Store(true)
	c.mu.Lock()
	c.deadline = time.Unix(1, 0)
	c.mu.Unlock()
	c.stop()
	return true
}

// kill ends the connection now and has outstanding requests aborted.
func (c *conn) kill() {
	c.killing.Do(func() {
		c.stopping.Store(true)
		close(c.killed)
		c.cancel()
		c.nc.Close()
	})
}

// setReadDeadline sets the read deadline unless stop has set an earlier one.
func (c *conn) setReadDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.deadline.IsZero() && (t.IsZero() || t.After(c.deadline)) {
		t = c.deadline
	}
	_ = c.nc.SetReadDeadline(t)
}

// fill is Reader.Fill with the reason for its end.
func (c *conn) fill() error {
	err := c.in.Fill()
	if err == nil {
		return nil
	}
	if c.stopping.Load() {
		return errStopped
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost != nil {
		return c.lost
	}
	return err
}

// finish ends the transmission phase: all that is outstanding is carried out,
// answered if the client can still be reached, or aborted after kill.
func (c *conn) finish(err error) {
	c.drop()
	c.batch.Run()
	if c.outstanding.Add(-1) == 0 {
		close(c.drained)
	}
	select {
	case <-c.drained:
	case <-c.killed:
		c.abort()
		<-c.drained
	}
	if !errors.Is(err, errProtocol) {
		c.settle()
	}
}

// settle waits, within limits, until the replies have left.
func (c *conn) settle() {
	_ = c.nc.SetWriteDeadline(time.Now().Add(linger))
	c.out.Flush()
	_ = c.out.Drain(0)
}

// changed is told that the device is not what it was.
func (c *conn) changed(what backends.Change) {
	if what&(backends.SizeChanged|backends.CapsChanged) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if info := c.dev.Info(); checkInfo(&info) == nil {
		c.geo.Store(newGeometry(&info))
	}
}

// timedOut tells whether err is that of a read deadline.
func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
