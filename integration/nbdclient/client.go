// SPDX-License-Identifier: Apache-2.0

package nbdclient

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// ErrClosed is wrapped by every error of a request that was in flight, or was
// made, when the connection had ended. The request may or may not have been done.
var ErrClosed = errors.New("NBD connection closed")

// Config says what to connect to.
type Config struct {
	Addr   string // "unix:PATH" or "HOST:PORT"
	Export string // export name; empty = the server's default export
	// Timeout bounds connecting and the handshake, and each request made
	// through ReadAt, WriteAt and Flush; 0 = no bound.
	Timeout time.Duration
	// UseExportName takes NBD_OPT_EXPORT_NAME in place of NBD_OPT_GO.
	UseExportName bool
}

// Client is a connection in the transmission phase with simple replies.
type Client struct {
	export  Export
	timeout time.Duration
	raw     *Raw
	send    chan []byte   // whole messages, written in order by one goroutine
	done    chan struct{} // closed when the connection has ended
	running sync.WaitGroup

	mu      sync.Mutex
	cookie  uint64
	pending map[uint64]*call
	err     error // why the connection ended
}

// call is one request in flight. Invariant: it is in pending until its reply
// came, even if its caller has gone, since the length of a READ's payload is
// known from it alone.
type call struct {
	cmd   Command
	len   uint32
	reply chan result // buffered: the reader never waits
}

type result struct {
	data []byte
	err  error
}

// Connect dials, negotiates and starts the connection. The caller closes it.
func Connect(ctx context.Context, cfg Config) (*Client, error) {
	if cfg.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cfg.Timeout)
		defer cancel()
	}
	raw, err := DialRaw(ctx, cfg.Addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	export, err := negotiate(raw, cfg)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		raw.Close()
		return nil, fmt.Errorf("negotiate NBD export %q at %s: %w", cfg.Export, cfg.Addr, err)
	}
	raw.Conn.SetDeadline(time.Time{})
	c := &Client{
		export: export, timeout: cfg.Timeout, raw: raw,
		send: make(chan []byte), done: make(chan struct{}), pending: make(map[uint64]*call),
	}
	c.running.Go(c.writeLoop)
	c.running.Go(c.readLoop)
	return c, nil
}

func negotiate(raw *Raw, cfg Config) (Export, error) {
	noZeroes, err := raw.Greet()
	if err != nil {
		return Export{}, err
	}
	if cfg.UseExportName {
		return raw.ExportName(cfg.Export, noZeroes)
	}
	return raw.Info(OptGo, cfg.Export)
}

// Export returns what the server said about the export.
func (c *Client) Export() Export { return c.export }

// Size returns the size of the export in bytes.
func (c *Client) Size() int64 { return int64(c.export.Size) }

// Done is closed when the connection has ended, for whatever reason.
func (c *Client) Done() <-chan struct{} { return c.done }

// InFlight returns how many requests wait for their reply.
func (c *Client) InFlight() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.pending)
}

// Do sends one request and waits for its reply. length is the header's length
// field; data is the payload of a WRITE (copied; may differ in length from the
// field in hostile tests) and must be empty otherwise. A READ returns length
// bytes that the caller owns. The error wraps an [Errno] when the server
// refused, [ErrClosed] when the connection ended, or the error of ctx; in the
// last case the request is not withdrawn and may still be executed.
func (c *Client) Do(ctx context.Context, cmd Command, flags Flags, off uint64, length uint32, data []byte) ([]byte, error) {
	cl := &call{cmd: cmd, len: length, reply: make(chan result, 1)}
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return nil, fmt.Errorf("%v at %d: %w", cmd, off, c.err)
	}
	c.cookie++
	cookie := c.cookie
	c.pending[cookie] = cl
	c.mu.Unlock()

	msg := Request{Flags: flags, Cmd: cmd, Cookie: cookie, Offset: off, Length: length}.
		Append(make([]byte, 0, requestLen+len(data)))
	msg = append(msg, data...)
	select {
	case c.send <- msg:
	case <-c.done:
	case <-ctx.Done(): // not handed over: nothing of it will be sent
		c.mu.Lock()
		delete(c.pending, cookie)
		c.mu.Unlock()
		return nil, fmt.Errorf("%v at %d, not sent: %w", cmd, off, ctx.Err())
	}
	select {
	case r := <-cl.reply:
		if r.err != nil {
			return nil, fmt.Errorf("%v of %d bytes at %d: %w", cmd, length, off, r.err)
		}
		return r.data, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("%v of %d bytes at %d: %w", cmd, length, off, ctx.Err())
	}
}

// Inject sends arbitrary bytes between two requests, for hostile tests.
func (c *Client) Inject(b []byte) error {
	select {
	case c.send <- append([]byte(nil), b...):
		return nil
	case <-c.done:
		return c.err
	}
}

// Disconnect sends NBD_CMD_DISC and waits until the server has closed the
// connection; requests in flight are answered by the server first.
func (c *Client) Disconnect(ctx context.Context) error {
	c.mu.Lock()
	c.cookie++
	msg := Request{Cmd: CmdDisc, Cookie: c.cookie}.Append(nil)
	c.mu.Unlock()
	if err := c.Inject(msg); err != nil {
		return err
	}
	select {
	case <-c.done:
		return c.Close()
	case <-ctx.Done():
		return fmt.Errorf("wait for the server to close: %w", ctx.Err())
	}
}

// Close closes the transport without NBD_CMD_DISC and waits for the client's
// goroutines. Requests in flight end with ErrClosed. Closing twice is safe.
func (c *Client) Close() error {
	c.fail(ErrClosed)
	c.running.Wait()
	return nil
}

func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	c.raw.Close()
	close(c.done)
	for cookie, cl := range c.pending {
		delete(c.pending, cookie)
		cl.reply <- result{err: err}
	}
}

func (c *Client) writeLoop() {
	for {
		select {
		case msg := <-c.send:
			if err := c.raw.Send(msg); err != nil {
				c.fail(fmt.Errorf("%w: write: %v", ErrClosed, err))
				return
			}
		case <-c.done:
			return
		}
	}
}

func (c *Client) readLoop() {
	in := bufio.NewReaderSize(c.raw.Conn, 64<<10)
	var hdr [simpleReplyLen]byte
	for {
		if _, err := io.ReadFull(in, hdr[:]); err != nil {
			c.fail(fmt.Errorf("%w: read: %v", ErrClosed, err))
			return
		}
		if m := binary.BigEndian.Uint32(hdr[:]); m != MagicSimpleReply {
			c.fail(fmt.Errorf("%w: reply with magic %#x", ErrClosed, m))
			return
		}
		if err := c.finish(in, binary.BigEndian.Uint64(hdr[8:]), Errno(binary.BigEndian.Uint32(hdr[4:]))); err != nil {
			c.fail(fmt.Errorf("%w: %v", ErrClosed, err))
			return
		}
	}
}

// finish takes the rest of one reply from in and completes its call.
func (c *Client) finish(in io.Reader, cookie uint64, errno Errno) error {
	c.mu.Lock()
	cl := c.pending[cookie]
	c.mu.Unlock()
	if cl == nil {
		return fmt.Errorf("reply to unknown cookie %d", cookie)
	}
	var r result
	if errno != 0 {
		r.err = errno
	} else if cl.cmd == CmdRead {
		r.data = make([]byte, cl.len)
		if _, err := io.ReadFull(in, r.data); err != nil {
			return fmt.Errorf("read payload of %d bytes: %v", cl.len, err)
		}
	}
	c.mu.Lock()
	_, live := c.pending[cookie] // Close may have ended it meanwhile
	delete(c.pending, cookie)
	c.mu.Unlock()
	if live {
		cl.reply <- r
	}
	return nil
}
