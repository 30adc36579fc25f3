// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"sync"
	"sync/atomic"
)

// Pool is what all connections of one flow may have outstanding together.
// Safe for concurrent use. Make it with NewPool.
type Pool struct {
	commands atomic.Int64 // free
	bytes    atomic.Int64 // free
	waiting  atomic.Int32

	mu      sync.Mutex
	waiters []*Grant
}

// NewPool makes a pool of that many commands and payload bytes; both positive.
func NewPool(commands int, bytes int64) *Pool {
	p := &Pool{}
	p.commands.Store(int64(commands))
	p.bytes.Store(bytes)
	return p
}

// Free tells what is left, for people; it may be old at once. It can be
// negative by what connections with nothing outstanding took (see Take).
func (p *Pool) Free() (commands int, bytes int64) {
	return int(p.commands.Load()), p.bytes.Load()
}

func (p *Pool) has(n int64) bool { return p.commands.Load() > 0 && p.bytes.Load() >= n }

func (p *Pool) take(n int64) bool {
	if p.commands.Add(-1) >= 0 {
		if p.bytes.Add(-n) >= 0 {
			return true
		}
		p.bytes.Add(n)
	}
	p.commands.Add(1)
	return false
}

// idleBytes is how much a request of a connection with nothing outstanding may carry
// and be sure of its credit. More bytes have to wait until the pool is out of debt:
// else the connections, and not the pool, would bound what is outstanding.
const idleBytes = 64 << 10

// inDebt tells that even a connection with nothing outstanding has to wait with n
// bytes.
func (p *Pool) inDebt(n int64) bool { return n > idleBytes && p.bytes.Load() <= 0 }

// force takes what there may not be, unless somebody else just did.
func (p *Pool) force(n int64) bool {
	if p.bytes.Add(-n) <= -n && n > idleBytes {
		p.bytes.Add(n)
		return false
	}
	p.commands.Add(-1)
	return true
}

// charge takes n bytes, whether there are any or not; negative: gives them back.
func (p *Pool) charge(n int64) {
	if p.bytes.Add(-n); n < 0 && p.waiting.Load() > 0 {
		p.wake()
	}
}

// Account is what a connection's memory is counted in besides the credits of its
// requests: answers that wait for it, data that came too early. While a pool is in debt
// by it there are no credits. Safe for concurrent use; an empty one counts nothing.
type Account []*Pool

// Charge takes n bytes from every pool, or gives them back when n is negative.
func (a Account) Charge(n int64) {
	for _, p := range a {
		p.charge(n)
	}
}

// Overdrawn tells that a pool is in debt.
func (a Account) Overdrawn() bool {
	for _, p := range a {
		if p.bytes.Load() < 0 {
			return true
		}
	}
	return false
}

func (p *Pool) give(n int64) {
	p.bytes.Add(n)
	p.commands.Add(1)
	if p.waiting.Load() > 0 {
		p.wake()
	}
}

// wake has the connection that has waited longest try again. It keeps its turn
// until it has got its credit, or leaves.
func (p *Pool) wake() {
	p.mu.Lock()
	if len(p.waiters) > 0 {
		p.waiters[0].signal()
	}
	p.mu.Unlock()
}

func (p *Pool) enlist(g *Grant) {
	p.mu.Lock()
	for _, w := range p.waiters {
		if w == g {
			p.mu.Unlock()
			return
		}
	}
	p.waiters = append(p.waiters, g)
	p.waiting.Store(int32(len(p.waiters)))
	p.mu.Unlock()
}

// leave gives up g's turn. It may have been woken for room that it did not use,
// or not all of it: so the next one tries.
func (p *Pool) leave(g *Grant) {
	p.mu.Lock()
	for i, w := range p.waiters {
		if w == g {
			p.waiters = append(p.waiters[:i], p.waiters[i+1:]...)
			p.waiting.Store(int32(len(p.waiters)))
			if i == 0 && len(p.waiters) > 0 {
				p.waiters[0].signal()
			}
			break
		}
	}
	p.mu.Unlock()
}

// Grant is the credits of one connection. Take belongs to the connection's
// reading goroutine; Give is called from any.
type Grant struct {
	pools   []*Pool
	maxCmds int64
	ready   chan struct{}
	held    atomic.Int64 // commands outstanding
	heldB   atomic.Int64 // bytes outstanding
	waits   atomic.Bool
}

// NewGrant makes the credits of one connection: at most commands outstanding by
// itself, and what every pool has left.
func NewGrant(commands int, pools ...*Pool) *Grant {
	return &Grant{pools: pools, maxCmds: int64(commands), ready: make(chan struct{}, 1)}
}

// Commands gives the most that this connection may have outstanding.
func (g *Grant) Commands() int { return int(g.maxCmds) }

// Take takes the credit for one command with n payload bytes, if there is any.
// A connection that has nothing outstanding gets it for up to 64 KiB in any case, and
// for more unless a pool is in debt, so that none starves and one request may be larger
// than a pool.
func (g *Grant) Take(n int64) bool {
	if g.held.Load() == 0 {
		return g.takeIdle(n)
	}
	if g.held.Load() >= g.maxCmds {
		return false
	}
	for _, p := range g.pools {
		if !p.has(n) { // so that nothing is given back, which would wake waiters
			return false
		}
	}
	for i, p := range g.pools {
		if !p.take(n) {
			for _, q := range g.pools[:i] {
				q.give(n)
			}
			return false
		}
	}
	g.held.Add(1)
	g.heldB.Add(n)
	return true
}

func (g *Grant) takeIdle(n int64) bool {
	for _, p := range g.pools {
		if p.inDebt(n) {
			return false
		}
	}
	for i, p := range g.pools {
		if !p.force(n) {
			for _, q := range g.pools[:i] {
				q.give(n)
			}
			return false
		}
	}
	g.held.Add(1)
	g.heldB.Add(n)
	return true
}

// Force takes the credit for one command whether there is any or not: for work of our
// own that cannot wait, one command at a time.
func (g *Grant) Force(n int64) {
	for _, p := range g.pools {
		p.commands.Add(-1)
		p.bytes.Add(-n)
	}
	g.held.Add(1)
	g.heldB.Add(n)
}

// signal ends a Wait, or the next one, so that it tries again.
func (g *Grant) signal() {
	select {
	case g.ready <- struct{}{}:
	default:
	}
}

// Wait takes the credit as Take does, waiting for it; false when stop is closed
// first. The caller has to have run its batch, or the completions that it waits
// for may be in it.
func (g *Grant) Wait(n int64, stop <-chan struct{}) bool {
	defer func() {
		g.waits.Store(false)
		for _, p := range g.pools {
			p.leave(g)
		}
	}()
	for {
		g.waits.Store(true)
		full := g.held.Load() >= g.maxCmds // it waits for its own, in nobody's way
		for _, p := range g.pools {
			if full {
				p.leave(g)
			} else {
				p.enlist(g)
			}
		}
		if g.Take(n) {
			return true
		}
		select {
		case <-g.ready:
		case <-stop:
			return false
		}
	}
}

// Give returns the credit of one command with n payload bytes.
func (g *Grant) Give(n int64) {
	g.heldB.Add(-n)
	g.held.Add(-1)
	for _, p := range g.pools {
		p.give(n)
	}
	if g.waits.Load() {
		g.signal()
	}
}

// Outstanding tells what the connection holds.
func (g *Grant) Outstanding() (commands int, bytes int64) {
	return int(g.held.Load()), g.heldB.Load()
}
