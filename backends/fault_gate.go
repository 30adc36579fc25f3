// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"slices"
	"sync"
	"time"
)

// gatePolicy says when a request may go on. Called with the gate's lock held.
type gatePolicy interface {
	// arrive tells whether w has to wait.
	arrive(now time.Time, w *gateWaiter) bool
	// ready tells whether w may go now, or else when to ask again (0: when kicked).
	ready(now time.Time, w *gateWaiter) (ok bool, again time.Duration)
	// inOrder: nothing goes before what came earlier.
	inOrder() bool
}

// gateWaiter is a request that waits.
type gateWaiter struct {
	r     *Request
	span  span          // of r, which may be gone while it is going
	due   time.Time     // policy's
	hit   bool          // policy's
	after *gateHandover // what was submitted together with it, and did not wait
	going bool          // on its way to the device below
}

// gateHandover is the part of one Submit that is passed on at once. done is
// guarded by the gate's lock.
type gateHandover struct{ done bool }

// span is what a request changes; empty: nothing.
type span struct{ from, to uint64 }

func spanOf(r *Request) span {
	if !r.Op.Changes() {
		return span{}
	}
	return span{r.Offset, r.Offset + r.Length}
}

func (a span) overlaps(b span) bool { return a.from < b.to && b.from < a.to }

// gate holds requests back before the device below sees them, and lets them go
// from a goroutine of its own. A change that overlaps a waiting one waits behind
// it, so that the order of changes stays.
type gate struct {
	Device // below
	policy gatePolicy
	kick   chan struct{}
	quit   chan struct{}
	done   sync.WaitGroup
	once   sync.Once
	err    error

	mu     sync.Mutex
	handed sync.Cond // the goroutine has handed over what it took
	line   []*gateWaiter
	obs    Observer // told Park and Unpark; nil: nobody
	closed bool
}

func (g *gate) open(below Device, p gatePolicy) {
	g.Device, g.policy = below, p
	g.kick, g.quit = make(chan struct{}, 1), make(chan struct{})
	g.handed.L = &g.mu
	g.done.Go(g.run)
}

// wake has the goroutine look again.
func (g *gate) wake() {
	select {
	case g.kick <- struct{}{}:
	default:
	}
}

// Submit passes on what may go, and keeps the rest.
func (g *gate) Submit(b *Batch, reqs []*Request) {
	now := time.Now()
	pass := make([]*Request, 0, len(reqs))
	handover := new(gateHandover)
	g.mu.Lock()
	for _, r := range reqs { // wrong ones too: the device below refuses them
		if g.closed {
			b.Complete(r, Failed(Aborted))
			continue
		}
		w := &gateWaiter{r: r, span: spanOf(r), after: handover}
		waits := g.policy.arrive(now, w)
		if !waits && !g.behindLocked(w) {
			pass = append(pass, r)
			continue
		}
		g.line = append(g.line, w)
		if g.obs != nil {
			g.obs.QueueEvent(b, QueueEvent{Kind: Park, Reason: ParkBusy, Request: r})
		}
	}
	g.mu.Unlock()
	if len(pass) > 0 {
		g.Device.Submit(b, pass)
	}
	if len(pass) < len(reqs) {
		g.mu.Lock()
		handover.done = true
		g.mu.Unlock()
		g.wake()
	}
}

// behindLocked tells whether n has to wait behind one that waits.
func (g *gate) behindLocked(n *gateWaiter) bool {
	if g.policy.inOrder() {
		return len(g.line) > 0
	}
	for _, w := range g.line {
		if w.span.overlaps(n.span) {
			return true
		}
	}
	return false
}

// run lets requests go.
func (g *gate) run() {
	var b Batch
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		var pass []*Request
		g.mu.Lock()
		again := g.pickLocked(&b, &pass)
		g.mu.Unlock()
		if len(pass) > 0 {
			g.Device.Submit(&b, pass)
			g.mu.Lock()
			g.line = slices.DeleteFunc(g.line, func(w *gateWaiter) bool { return w.going })
			g.handed.Broadcast()
			g.mu.Unlock()
			b.Run()
			continue
		}
		if again <= 0 {
			again = time.Hour
		}
		timer.Reset(again)
		select {
		case <-g.kick:
		case <-timer.C:
		case <-g.quit:
			return
		}
	}
}

// pickLocked takes what may go now.
func (g *gate) pickLocked(b *Batch, pass *[]*Request) (again time.Duration) {
	now := time.Now()
	for i, w := range g.line {
		if !g.policy.inOrder() && slices.ContainsFunc(g.line[:i], func(o *gateWaiter) bool {
			return !o.going && o.span.overlaps(w.span)
		}) {
			continue
		}
		ok, wait := false, time.Duration(0)
		if w.after.done { // else its Submit kicks
			ok, wait = g.policy.ready(now, w)
		}
		if ok {
			w.going = true
			*pass = append(*pass, w.r)
			if g.obs != nil {
				g.obs.QueueEvent(b, QueueEvent{Kind: Unpark, Request: w.r})
			}
			continue
		}
		if wait > 0 && (again == 0 || wait < again) {
			again = wait
		}
		if g.policy.inOrder() {
			break
		}
	}
	return again
}

// settledLocked waits until nothing is between the line and the device below.
// That is as short as its Submit.
func (g *gate) settledLocked() {
	for slices.ContainsFunc(g.line, func(w *gateWaiter) bool { return w.going }) {
		g.handed.Wait()
	}
}

// Abort ends r when it waits here, else has the device below do it.
func (g *gate) Abort(b *Batch, r *Request) {
	g.mu.Lock()
	g.settledLocked()
	i := slices.IndexFunc(g.line, func(w *gateWaiter) bool { return w.r == r })
	if i >= 0 {
		g.line = slices.Delete(g.line, i, i+1)
		b.Complete(r, Failed(Aborted))
	}
	g.mu.Unlock()
	if i >= 0 {
		g.wake() // for those that waited behind it
		return
	}
	g.Device.Abort(b, r)
}

// Reset aborts what waits here, and resets the device below.
func (g *gate) Reset(b *Batch, done func(*Batch, Result)) {
	g.mu.Lock()
	g.settledLocked()
	g.emptyLocked(b)
	g.mu.Unlock()
	g.Device.Reset(b, done)
}

func (g *gate) emptyLocked(b *Batch) {
	for _, w := range g.line {
		b.Complete(w.r, Failed(Aborted))
	}
	clear(g.line)
	g.line = g.line[:0]
}

// Close aborts what waits here, and closes the device below.
func (g *gate) Close() error {
	g.once.Do(func() {
		var b Batch
		g.mu.Lock()
		g.closed = true
		g.settledLocked()
		g.emptyLocked(&b)
		g.mu.Unlock()
		close(g.quit)
		g.done.Wait()
		b.Run()
		g.err = g.Device.Close()
	})
	return g.err
}

func (g *gate) waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.line)
}
