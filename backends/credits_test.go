// SPDX-License-Identifier: Apache-2.0

package backends

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestGrantTakes(t *testing.T) {
	p := NewPool(4, 1000)
	a, b := NewGrant(3, p), NewGrant(3, p)
	for i, want := range []bool{true, true, true, false} {
		if got := a.Take(100); got != want {
			t.Errorf("take %d of one connection: %v, want %v", i+1, got, want)
		}
	}
	if !b.Take(5000) {
		t.Error("a connection with nothing outstanding got none")
	}
	if b.Take(1) {
		t.Error("a pool in debt gave more")
	}
	if c, n := p.Free(); c != 0 || n != 1000-300-5000 {
		t.Errorf("free: %d commands, %d bytes", c, n)
	}
	b.Give(5000)
	for range 3 {
		a.Give(100)
	}
	if c, n := p.Free(); c != 4 || n != 1000 {
		t.Errorf("all given back, free: %d commands, %d bytes", c, n)
	}
}

// TestGrantOfTwoPools: a disk of two flows needs room in both, and takes
// nothing from one when the other has none.
func TestGrantOfTwoPools(t *testing.T) {
	p, q := NewPool(10, 1000), NewPool(2, 1000)
	g, other := NewGrant(10, p, q), NewGrant(10, q)
	if !g.Take(1) || !other.Take(1) || g.Take(1) {
		t.Fatal("the second pool does not bound")
	}
	if c, n := p.Free(); c != 9 || n != 999 {
		t.Errorf("a take that failed kept %d commands, %d bytes", 9-c, 999-n)
	}
	stop := make(chan struct{})
	close(stop)
	if g.Wait(1, stop) {
		t.Error("Wait gave what there was not")
	}
	go other.Give(1)
	if !g.Wait(1, nil) {
		t.Error("Wait gave nothing")
	}
}

// TestWaitersDoNotSpin: two connections that find room in one pool and none in
// the other sleep, and wake nobody. Wait of the bubble ends only then.
func TestWaitersDoNotSpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, q := NewPool(10, 1000), NewPool(1, 1000)
		hog := NewGrant(10, q)
		hog.Take(1)
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for range 2 {
			g := NewGrant(10, p, q)
			g.Take(1)
			wg.Go(func() {
				if g.Wait(1, stop) {
					t.Error("Wait gave what there was not")
				}
			})
		}
		synctest.Wait()
		close(stop)
		wg.Wait()
	})
}

// TestWaitersAreServedInTurn: what comes back goes to who has waited longest,
// and not to a connection that asks again and again.
func TestWaitersAreServedInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(3, 1<<20)
		hog := NewGrant(10, p)
		first, second := NewGrant(10, p), NewGrant(10, p)
		for _, g := range []*Grant{hog, first, second} {
			if !g.Take(1) {
				t.Fatal("no credit")
			}
		}
		var order []string
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i, g := range []*Grant{first, second} {
			wg.Go(func() {
				g.Wait(1, nil)
				mu.Lock()
				order = append(order, []string{"first", "second"}[i])
				mu.Unlock()
			})
			synctest.Wait()
		}
		hog.Give(1)
		synctest.Wait()
		mu.Lock()
		if len(order) != 1 || order[0] != "first" {
			t.Errorf("served: %q, want the first", order)
		}
		mu.Unlock()
		first.Give(1)
		wg.Wait()
	})
}

// TestLeavingWaiterPassesItsTurn: a connection that is closed just as it was
// woken does not take the wake-up with it.
func TestLeavingWaiterPassesItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := NewPool(3, 1<<20)
		hog, leaver, waiter := NewGrant(10, p), NewGrant(10, p), NewGrant(10, p)
		for _, g := range []*Grant{hog, leaver, waiter} {
			g.Take(1)
		}
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { leaver.Wait(1, stop) })
		synctest.Wait()
		served := make(chan struct{})
		wg.Go(func() {
			waiter.Wait(1, nil)
			close(served)
		})
		synctest.Wait()
		// The leaver is woken and told to stop at once; whichever it sees first.
		close(stop)
		hog.Give(1)
		synctest.Wait()
		if c, _ := leaver.Outstanding(); c == 2 {
			leaver.Give(1)
		}
		select {
		case <-served:
		case <-time.After(time.Second):
			t.Error("there is room, and nobody was told")
			waiter.Give(1)
		}
		wg.Wait()
	})
}

// TestNoLostWakeUp has many connections share little, for many rounds.
func TestNoLostWakeUp(t *testing.T) {
	const connections, rounds = 8, 2000
	p := NewPool(6, 6000)
	var inUse, done atomic.Int64
	var wg sync.WaitGroup
	for i := range uint64(connections) {
		g := NewGrant(4, p)
		back := make(chan int64, 64)
		wg.Go(func() {
			r := rand.New(rand.NewPCG(i, 1))
			for range rounds {
				n := r.Int64N(3000)
				if !g.Take(n) && !g.Wait(n, nil) {
					t.Error("Wait ended without a credit")
				}
				inUse.Add(1)
				back <- n
			}
			close(back)
		})
		wg.Go(func() { // completes them, on another goroutine
			for n := range back {
				inUse.Add(-1)
				g.Give(n)
				done.Add(1)
			}
		})
	}
	ended := make(chan struct{})
	go func() {
		wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		t.Fatalf("stuck after %d of %d: a wake-up was lost", done.Load(), connections*rounds)
	}
	if c, n := p.Free(); c != 6 || n != 6000 {
		t.Errorf("free at the end: %d commands, %d bytes", c, n)
	}
}

// B68: requests that are longer than what is left go on one at a time, however many
// connections have nothing outstanding. Short ones always may.
func TestB68Debt(t *testing.T) {
	const long = 32 << 20
	p := NewPool(1000, 48<<20)
	var got []*Grant
	for range 100 {
		g := NewGrant(10, p)
		if g.Take(long) {
			got = append(got, g)
		}
	}
	if _, free := p.Free(); len(got) != 2 || free != 48<<20-2*long {
		t.Fatalf("%d connections have %d bytes each, %d are free", len(got), long, free)
	}
	other := NewGrant(10, p)
	if other.Take(idleBytes + 1) {
		t.Error("a pool in debt gave more than it has to")
	}
	if !other.Take(idleBytes) || other.Take(1) {
		t.Error("a connection with nothing outstanding gets one short request")
	}
	got[0].Give(long)
	if late := NewGrant(10, p); !late.Take(long) {
		t.Error("out of debt, and no credit")
	}
}

// B68: connections that all ask at once do not take more than one long request beyond
// what there is.
func TestB68DebtAtOnce(t *testing.T) {
	p := NewPool(1000, 1<<20)
	var wg sync.WaitGroup
	var holders atomic.Int32
	for range 8 {
		wg.Go(func() {
			g := NewGrant(10, p)
			for range 2000 {
				if !g.Take(1 << 20) {
					continue
				}
				if n := holders.Add(1); n > 1 {
					t.Errorf("%d connections have all that there is", n)
				}
				holders.Add(-1)
				g.Give(1 << 20)
			}
		})
	}
	wg.Wait()
	if c, n := p.Free(); c != 1000 || n != 1<<20 {
		t.Errorf("all given back, free: %d commands, %d bytes", c, n)
	}
}

// TestAccount: what is charged besides credits leaves none, until it is given back.
func TestAccount(t *testing.T) {
	p, q := NewPool(10, 1<<20), NewPool(10, 2<<20)
	a := Account{p, q}
	g := NewGrant(10, p, q)
	g.Take(1)
	a.Charge(1 << 20)
	if g.Take(1) || !a.Overdrawn() {
		t.Error("credit for what was charged")
	}
	waited := make(chan bool)
	go func() { waited <- g.Wait(1, nil) }()
	a.Charge(-1 << 20)
	if !<-waited || a.Overdrawn() {
		t.Error("no credit for what was given back")
	}
	g.Give(1)
	g.Give(1)
	g.Force(4 << 20)
	if c, n := p.Free(); c != 9 || n != -3<<20 {
		t.Errorf("free: %d commands, %d bytes", c, n)
	}
	g.Give(4 << 20)
	if c, n := q.Free(); c != 10 || n != 2<<20 || (Account{}).Overdrawn() {
		t.Errorf("free: %d commands, %d bytes", c, n)
	}
}
