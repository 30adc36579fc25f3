// SPDX-License-Identifier: Apache-2.0

package thrash

import (
	"context"
	"errors"
	"sync"
	"time"

	"pathgate/integration/gate"
	"pathgate/integration/nbdclient"
)

// Times of a load.
const (
	// think is what a writer waits before each request, so that several rounds fit
	// on a machine side by side.
	think = 2 * time.Millisecond
	// openLimit bounds an attempt to connect again to a gateway that was killed.
	openLimit = 30 * time.Second
)

// meter tells how long clients waited while something was broken. Safe for
// concurrent use.
type meter struct {
	mu      sync.Mutex
	begun   map[int]time.Time // requests in flight
	next    int
	count   counts
	kills   bool
	open    bool
	struck  time.Time
	last    time.Time // when a request last ended well
	longest time.Duration
	gap     time.Duration
}

// counts is how requests ended.
type counts struct {
	done   int64 // well
	cut    int64 // with a connection, which was foreseen
	failed int64 // in another way
	why    error // the first of those
}

func newMeter(kills bool) *meter { return &meter{begun: map[int]time.Time{}, kills: kills} }

func (m *meter) begin() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next++
	m.begun[m.next] = time.Now()
	return m.next
}

func (m *meter) end(id int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.seeLocked(m.begun[id], now)
	delete(m.begun, id)
	if err != nil {
		m.failLocked(err)
		return
	}
	m.count.done++
	m.pauseLocked(now)
}

func (m *meter) failLocked(err error) {
	if m.kills && errors.Is(err, nbdclient.ErrClosed) {
		m.count.cut++
		return
	}
	if m.count.failed++; m.count.why == nil {
		m.count.why = err
	}
}

// fail counts a request that could not be made.
func (m *meter) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failLocked(err)
}

// seeLocked takes note of a request that was in flight from begun to now.
func (m *meter) seeLocked(begun, now time.Time) {
	if m.open {
		if begun.Before(m.struck) {
			begun = m.struck
		}
		m.longest = max(m.longest, now.Sub(begun))
	}
}

func (m *meter) pauseLocked(now time.Time) {
	if m.open {
		m.gap = max(m.gap, now.Sub(m.last))
	}
	m.last = now
}

// strike begins a time in which something is broken.
func (m *meter) strike() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.struck = time.Now()
	m.open, m.last, m.longest, m.gap = true, m.struck, 0, 0
}

// settled ends it, and tells the longest wait and the longest gap of it.
func (m *meter) settled() (longest, gap time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for _, begun := range m.begun {
		m.seeLocked(begun, now)
	}
	m.pauseLocked(now)
	m.open = false
	return m.longest, m.gap
}

func (m *meter) counts() counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count
}

// client is a disk of the gateway for the stamp writers, metered. A connection that
// has ended is made again for the next request. Safe for concurrent use.
type client struct {
	g *gate.Gate
	m *meter

	mu     sync.Mutex
	conn   *nbdclient.Client
	closed bool
}

var errOver = errors.New("the round is over")

// connection gives a living one.
func (c *client) connection() (*nbdclient.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	for end := time.Now().Add(openLimit); time.Now().Before(end); {
		if c.closed {
			return nil, errOver
		}
		if c.conn != nil {
			select {
			case <-c.conn.Done():
			default:
				return c.conn, nil
			}
			c.conn.Close()
			c.conn = nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), openLimit)
		c.conn, err = nbdclient.Connect(ctx, nbdclient.Config{Addr: c.g.NBD(), Export: "vm1/root"})
		cancel()
		if err != nil {
			c.conn = nil
			<-time.After(10 * time.Millisecond)
		}
	}
	return nil, err
}

// close ends the connection and all that waits on it.
func (c *client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.conn != nil {
		c.conn.Close()
	}
}

func (c *client) do(f func(*nbdclient.Client) error) error {
	<-time.After(think)
	conn, err := c.connection()
	if err != nil {
		c.m.fail(err)
		return err
	}
	id := c.m.begin()
	err = f(conn)
	c.m.end(id, err)
	return err
}

// ReadAt implements stamp.Target.
func (c *client) ReadAt(p []byte, off int64) (n int, err error) {
	err = c.do(func(conn *nbdclient.Client) error {
		n, err = conn.ReadAt(p, off)
		return err
	})
	return n, err
}

// WriteAt implements stamp.Target.
func (c *client) WriteAt(p []byte, off int64) (n int, err error) {
	err = c.do(func(conn *nbdclient.Client) error {
		n, err = conn.WriteAt(p, off)
		return err
	})
	return n, err
}

// WriteFUA is WriteAt with FUA.
func (c *client) WriteFUA(p []byte, off int64) (n int, err error) {
	err = c.do(func(conn *nbdclient.Client) error {
		n, err = conn.WriteFUA(p, off)
		return err
	})
	return n, err
}

// Flush implements stamp.Target.
func (c *client) Flush() error {
	return c.do((*nbdclient.Client).Flush)
}
