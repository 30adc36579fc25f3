// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// conn is one proxied connection with its two directions.
type conn struct {
	id      int
	proxy   *Proxy
	client  *net.TCPConn
	session session
	lost    atomic.Bool   // bytes or an end were swallowed by a black hole
	done    chan struct{} // closed when the connection is over
	pumps   [2]*pump      // ToTarget, ToClient; they run once the target is reached

	mu     sync.Mutex
	target *net.TCPConn // nil until connected
	over   bool
	reset  bool // it ended with RST
}

func newConn(p *Proxy, id int, client *net.TCPConn) *conn {
	c := &conn{id: id, proxy: p, client: client, done: make(chan struct{})}
	c.pumps[0] = newPump(c, ToTarget)
	c.pumps[1] = newPump(c, ToClient)
	return c
}

// serve runs the connection to its end. FIN and data pass each direction by
// itself; the connection is over when both have ended.
func (c *conn) serve() {
	defer c.close(false, nil)
	t, err := c.connect()
	if err != nil {
		c.abort()
		return
	}
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		shut(t, c.reset)
		return
	}
	c.target = t
	c.mu.Unlock()

	var readers, writers sync.WaitGroup
	for i, end := range [2][2]*net.TCPConn{{c.client, t}, {t, c.client}} {
		u := c.pumps[i]
		u.src, u.dst = end[0], end[1]
		readers.Go(u.readLoop)
		writers.Go(u.writeLoop)
	}
	writers.Wait()
	c.close(false, nil)
	readers.Wait()
}

// end performs Reset or Drop; false if the connection was over already.
func (c *conn) end(k Kind) bool {
	return c.close(k == Reset, &c.proxy.count.effects[k])
}

// abort ends the connection with RST on both sides.
func (c *conn) abort() { c.close(true, nil) }

// close ends the connection once, and counts that in e before anybody can see
// it; false if it was over already.
func (c *conn) close(reset bool, e *effect) bool {
	c.mu.Lock()
	if c.over {
		c.mu.Unlock()
		return false
	}
	c.over, c.reset = true, reset
	if e != nil {
		e.hit(0)
	}
	close(c.done) // first: what the closing wakes must not take it for the peer's end
	for _, s := range []*net.TCPConn{c.client, c.target} {
		if s != nil {
			shut(s, reset)
		}
	}
	c.mu.Unlock()
	for _, u := range c.pumps {
		u.wake()
	}
	return true
}

func shut(s *net.TCPConn, reset bool) {
	if reset {
		s.SetLinger(0) // close sends RST and drops what is unsent
	} else {
		s.CloseWrite() // close alone would send RST if unread bytes are left
	}
	s.Close()
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ETIMEDOUT)
}
