// SPDX-License-Identifier: Apache-2.0

package share

import (
	"math/rand/v2"
	"time"
)

// simClient sends commands to one flow: a closed loop, an open loop or bursts.
// Addresses are random with a fixed seed, or sequential.
type simClient struct {
	host       int
	flow       FlowID
	bytes      uint32
	class      Class
	sequential bool
	closed     bool // what ends is followed by another
	stopped    bool
	lba        uint64
	random     *rand.Rand
	free       []*simReq
}

// simWork says what a client sends; the zero value is a random read of 4 KiB.
type simWork struct {
	bytes      uint32
	class      Class
	sequential bool
	host       int
}

func (m *simModel) client(f FlowID, w simWork) *simClient {
	if w.bytes == 0 {
		w.bytes = 4096
	}
	if w.class == ClassOther {
		w.class = ClassRead
	}
	m.clients++
	return &simClient{
		host: w.host, flow: f, bytes: w.bytes, class: w.class, sequential: w.sequential,
		lba: m.clients << 40, random: rand.New(rand.NewPCG(m.clients, m.seed)),
	}
}

// closed keeps depth commands outstanding, from now on.
func (m *simModel) closed(f FlowID, depth int, w simWork) *simClient {
	c := m.client(f, w)
	c.closed = true
	c.submit(m, depth)
	return c
}

// open sends rate commands in each second, batch of them at a time: each batch
// at a random instant of its own interval, so that no window of time gets more
// than one batch too many, and arrivals are not in step with completions.
func (m *simModel) open(f FlowID, rate int64, batch int, w simWork) {
	c := m.client(f, w)
	begin, n := m.now, int64(0)
	every := int64(batch) * 1e9 / rate
	var next func()
	tick := func() {
		c.submit(m, batch)
		next()
	}
	next = func() {
		m.after(begin+Instant(n*int64(batch)*1e9/rate+c.random.Int64N(every)), tick)
		n++
	}
	next()
}

// bursts sends n commands at once, so often.
func (m *simModel) bursts(f FlowID, n int, period time.Duration) {
	c := m.client(f, simWork{})
	var tick func()
	tick = func() {
		c.submit(m, n)
		m.after(m.now+Instant(period), tick)
	}
	m.after(m.now, tick)
}

// submit queues n commands now.
func (c *simClient) submit(m *simModel, n int) {
	for range n {
		var r *simReq
		if k := len(c.free); k > 0 {
			r, c.free = c.free[k-1], c.free[:k-1]
		} else {
			r = &simReq{client: c}
			r.cmd.Owner = r
		}
		m.tags++
		r.arrived = m.now
		r.cmd.Tag, r.cmd.LBA, r.cmd.Bytes, r.cmd.Class = m.tags, c.address(), c.bytes, c.class
		h := m.hosts[c.host]
		h.pending = append(h.pending, Event{Kind: Submit, Flow: c.flow, Cmd: &r.cmd})
	}
}

func (c *simClient) address() uint64 {
	if c.sequential {
		at := c.lba
		c.lba += uint64(c.bytes+511) / 512
		return at
	}
	return c.random.Uint64N(1<<40) * 8
}

// stop ends the client: what is queued still goes.
func (c *simClient) stop() { c.stopped = true }
