// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"math/rand/v2"
	"sync"
	"time"
)

// writeLoop takes the queue's items in order until the stream has ended or
// the connection is over.
func (u *pump) writeLoop() {
	for {
		it, ok := u.dequeue()
		if !ok {
			return
		}
		switch {
		case it.end:
			u.finish(it)
			return
		case it.fault != nil:
			u.begin(it.fault)
		default:
			u.deliver(it)
		}
	}
}

func (u *pump) dequeue() (item, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.busy = false
	for len(u.queue) == 0 && !u.overLocked() {
		u.ready.Wait()
	}
	if u.overLocked() {
		return item{}, false
	}
	it := u.queue[0]
	u.queue[0] = item{}
	u.queue = u.queue[1:]
	u.queued -= len(it.data)
	u.busy = true
	u.ready.Broadcast() // the reader may wait for room
	return it, true
}

// pass waits until the faults let an item go on; swallow is the black hole
// that takes it, if there is one. false: the connection is over.
func (u *pump) pass(it *item) (swallow *active, ok bool) {
	for {
		st := u.conn.proxy.state.Load()
		if f := st.find(Hold, u.conn.id, u.dir); f != nil {
			if !u.hold(f, it) {
				return nil, false
			}
			continue
		}
		if f := st.find(BlackHole, u.conn.id, u.dir); f != nil {
			return f, true
		}
		f := st.find(Delay, u.conn.id, u.dir)
		if f == nil {
			return nil, true
		}
		if it.due.IsZero() {
			it.due = it.at.Add(f.Delay)
			if f.Jitter > 0 {
				it.due = it.due.Add(time.Duration(rand.Int64N(int64(2*f.Jitter))) - f.Jitter)
			}
			u.effect(Delay).hit(len(it.data))
		}
		left := time.Until(it.due)
		if left <= 0 {
			return nil, true
		}
		if !u.sleep(left, st.changed) {
			return nil, false
		}
	}
}

// sleep waits for d or for a change of the faults; false: the connection is over.
func (u *pump) sleep(d time.Duration, changed <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-changed:
	case <-u.conn.done:
		return false
	}
	return true
}

// hold keeps the queue, and it (nil if nothing is in hand), until f is cleared.
func (u *pump) hold(f *active, it *item) bool {
	e := u.effect(Hold)
	e.times.add(1)
	u.mu.Lock()
	u.holding = true
	u.kept = true
	mark := func(it *item) {
		if !it.held {
			it.held = true
			e.bytes.add(len(it.data))
		}
	}
	if it != nil {
		mark(it)
	}
	for i := range u.queue {
		mark(&u.queue[i])
	}
	u.mu.Unlock()
	defer func() {
		u.mu.Lock()
		u.holding = false
		u.mu.Unlock()
	}()
	select {
	case <-f.cleared:
		return true
	case <-u.conn.done:
		return false
	}
}

func (u *pump) deliver(it item) {
	for b := it.data; len(b) > 0; {
		f, ok := u.pass(&it)
		if !ok {
			return
		}
		if f != nil {
			u.swallow(len(b))
			return
		}
		n := u.pacing(len(b), it.at)
		if n == 0 || !u.write(b[:n]) {
			return
		}
		if it.held {
			u.effect(Hold).released.add(n)
		}
		b = b[n:]
	}
}

func (u *pump) swallow(n int) {
	u.conn.lost.Store(true)
	u.effect(BlackHole).hit(n)
}

// write sends b to the destination. After an error the destination gets no
// more, but the source is read on: its other direction may still be of use,
// and the end of the destination shows on its own read side.
func (u *pump) write(b []byte) bool {
	u.mu.Lock()
	gone := u.discard
	u.mu.Unlock()
	if gone {
		return false
	}
	n, err := u.dst.Write(b)
	u.flow().forwarded.add(n)
	if err != nil {
		u.stop()
		return false
	}
	return true
}

func (u *pump) stop() {
	u.mu.Lock()
	u.discard = true
	u.mu.Unlock()
}

// begin performs a fault whose place in the stream has come.
func (u *pump) begin(f *active) {
	select {
	case <-f.cleared: // nil for faults that act once
		return
	default:
	}
	switch f.Kind {
	case Hold:
		u.hold(f, nil)
	case Reset, Drop:
		u.conn.end(f.Kind)
	case HalfClose:
		u.effect(HalfClose).times.add(1)
		u.stop()
		u.dst.CloseWrite()
	case BlackHole:
		u.sink()
	default: // other kinds do not begin at a place
	}
}

// sink swallows everything from here on. Clear ends the connection.
func (u *pump) sink() {
	u.swallow(0)
	for {
		it, ok := u.dequeue()
		if !ok {
			return
		}
		u.effect(BlackHole).bytes.add(len(it.data))
		if it.end {
			u.linger()
			return
		}
	}
}

// linger waits for the connection's end: the source's end is not told.
func (u *pump) linger() { <-u.conn.done }

// finish passes the end of the stream on.
func (u *pump) finish(it item) {
	f, ok := u.pass(&it)
	u.mu.Lock()
	kept := u.kept
	u.mu.Unlock()
	switch {
	case !ok:
	case f != nil:
		u.swallow(0)
		u.linger()
	case it.reset && !kept: // RST would take released bytes from the destination's queue
		u.conn.abort()
	default:
		u.dst.CloseWrite()
	}
}

// paceCatchUp is the most of its own lateness that a pacer makes up for: after a
// longer halt of the process the rest is lost.
const paceCatchUp = 50 * time.Millisecond

// pacer spreads the bytes of one direction over time, as a link does that carries one
// piece after the other. It reckons by when they came and not by its writers' timers,
// and what comes while it is late counts as having come by as much earlier: so coarse
// timers do not make the rate lower, and idle time is no credit.
type pacer struct {
	mu       sync.Mutex
	next     time.Time // when all that has come is through
	late     time.Duration
	lateTill time.Time
}

// reserve returns when n bytes that came at may go.
func (p *pacer) reserve(at time.Time, n int, perSecond int64) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at.Before(p.lateTill) {
		at = at.Add(-p.late)
	}
	if p.next.Before(at) {
		p.next = at
	}
	p.next = p.next.Add(time.Duration(float64(n) / float64(perSecond) * float64(time.Second)))
	return p.next
}

// gone tells that what was to go at until goes now.
func (p *pacer) gone(until, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.late = min(max(now.Sub(until), 0), paceCatchUp)
	p.lateTill = now.Add(p.late)
}

// pacing waits as the rate demands and returns how many of n bytes, which came at, may
// be sent now; 0: the connection is over.
func (u *pump) pacing(n int, at time.Time) int {
	st := u.conn.proxy.state.Load()
	f := st.find(Rate, u.conn.id, u.dir)
	if f == nil {
		return n
	}
	n = min(n, max(1024, int(f.BytesPerSecond/250)))
	u.effect(Rate).hit(n)
	p := &u.conn.proxy.pace[u.index()]
	until := p.reserve(at, n, f.BytesPerSecond)
	if !u.sleep(time.Until(until), f.cleared) {
		return 0
	}
	p.gone(until, time.Now())
	return n
}
