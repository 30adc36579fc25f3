// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

const readSize = 256 << 10

// item is one entry of a pump's queue: bytes, a fault that begins at this
// place of the stream, or the stream's end.
type item struct {
	data  []byte
	at    time.Time // when data or end came
	due   time.Time // when Delay lets it go; zero = not drawn
	held  bool      // counted as held
	fault *active
	end   bool
	reset bool // the end was RST
}

// pump is one direction of a connection. reader.go has its reading half,
// writer.go its writing half.
type pump struct {
	conn     *conn
	dir      Direction
	src, dst *net.TCPConn

	// Reader only.
	framer  framer
	rand    *rand.Rand
	flipIn  int64 // eligible bytes until the next flipped bit; 0 = not drawn
	passed  int64 // bytes that went through the triggers
	begun   map[*active]int64
	played  int       // records of the proxy that this connection has got
	current []arrival // faults that start inside the PDU being forwarded

	mu      sync.Mutex
	ready   sync.Cond
	queue   []item
	queued  int  // bytes in queue
	busy    bool // the writer is at work on an item
	holding bool
	kept    bool // bytes were held at some time
	// discard: the destination takes nothing any more; the source is read on.
	discard bool
}

// arrival is a fault that begins at a byte of the current PDU.
type arrival struct {
	fault  *active
	offset int
}

func newPump(c *conn, dir Direction) *pump {
	u := &pump{conn: c, dir: dir, begun: make(map[*active]int64)}
	u.framer = framer{protocol: c.proxy.opts.Protocol, session: &c.session}
	u.rand = rand.New(rand.NewPCG(c.proxy.opts.Seed, uint64(c.id)<<1|uint64(u.index())))
	u.ready.L = &u.mu
	return u
}

func (u *pump) index() int { return int(u.dir - ToTarget) }

func (u *pump) effect(k Kind) *effect { return &u.conn.proxy.count.effects[k] }

func (u *pump) flow() *flow { return &u.conn.proxy.count.flows[u.index()] }

func (u *pump) wake() {
	u.mu.Lock()
	u.ready.Broadcast()
	u.mu.Unlock()
}

// enqueue adds to the queue and waits while that is over its limit.
func (u *pump) enqueue(it item) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(it.data) > 0 && u.queued > u.conn.proxy.opts.HoldLimit && !u.overLocked() {
		u.ready.Wait()
	}
	if u.holding {
		it.held = true
		u.effect(Hold).bytes.add(len(it.data))
	}
	u.queue = append(u.queue, it)
	u.queued += len(it.data)
	u.ready.Broadcast()
}

func (u *pump) overLocked() bool {
	select {
	case <-u.conn.done:
		return true
	default:
		return false
	}
}

// idle tells whether the reader may write to the destination itself.
func (u *pump) idle() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.queue) == 0 && !u.busy && !u.discard
}
