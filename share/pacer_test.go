// SPDX-License-Identifier: Apache-2.0

package share

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// timed is a Disk on a simulated device, in a bubble.
type timed struct {
	*Disk
	t     *testing.T
	p     *Pacer
	flows []*Flow
	queue chan *Cmd // to the device
	over  atomic.Bool
	turns int // of the pacer
	mu    sync.Mutex
	done  []int64 // CU by flow
}

// inBubble runs test with a Disk over a device that does speed CU per second, one
// command after the other (0: as fast as it is given them).
func inBubble(t *testing.T, s Settings, speed int64, flows []Entitlement, test func(x *timed)) {
	synctest.Test(t, func(t *testing.T) {
		x := &timed{t: t, queue: make(chan *Cmd, 1<<16), done: make([]int64, len(flows))}
		x.p = NewPacer(nil, func() {
			x.mu.Lock()
			x.turns++
			x.mu.Unlock()
		})
		d, err := NewDisk(s, x.p, func(_ any, cmds []*Cmd) {
			for _, c := range cmds {
				x.queue <- c
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		x.Disk = d
		for _, e := range flows {
			f, err := d.AddFlow(e)
			if err != nil {
				t.Fatal(err)
			}
			x.flows = append(x.flows, f)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := x.p.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			for c := range x.queue {
				if speed > 0 {
					time.Sleep(time.Duration(int64(c.cost) * int64(time.Second) / speed))
				}
				x.end(c)
			}
		})
		test(x)
		x.over.Store(true)
		for _, c := range d.Close() {
			c.Tag = endless // taken back
		}
		for d.word.load() >= 1<<flightShift {
			time.Sleep(10 * time.Millisecond)
		}
		close(x.queue)
		cancel()
		wg.Wait()
	})
}

// endless marks a client's command that is not to be sent again.
const endless = ^uint64(0)

// end completes c; a closed loop sends it again.
func (x *timed) end(c *Cmd) {
	f := c.shell.flow
	x.mu.Lock()
	x.done[f.id] += int64(c.cost)
	x.mu.Unlock()
	if x.Complete(c) {
		x.Pull(nil)
	}
	if c.Tag != endless && !x.over.Load() {
		x.Submit(nil, f, []*Cmd{c})
	}
}

// loop starts a closed loop of n commands.
func (x *timed) loop(flow, n int) {
	for i := range n {
		x.Submit(nil, x.flows[flow], []*Cmd{read4k(flow*1000 + i)})
	}
}

// rates gives the CU per second of the flows over d.
func (x *timed) rates(d time.Duration) []float64 {
	x.mu.Lock()
	from := append([]int64(nil), x.done...)
	x.mu.Unlock()
	time.Sleep(d)
	x.mu.Lock()
	defer x.mu.Unlock()
	rates := make([]float64, len(from))
	for i := range from {
		rates[i] = float64(x.done[i]-from[i]) / d.Seconds()
	}
	return rates
}

func (x *timed) wantRates(got []float64, tolerance float64, want ...float64) {
	x.t.Helper()
	for i := range want {
		if got[i] < want[i]*(1-tolerance) || got[i] > want[i]*(1+tolerance) {
			x.t.Errorf("rates %.0f, want %.0f", got, want)
			return
		}
	}
}

func weight(w uint32) Entitlement {
	e := DefaultEntitlement()
	e.Weight = w
	return e
}

// TestSharesThroughTheShell is par. 0087: 40/40/20, and 67/33 when one stops.
func TestSharesThroughTheShell(t *testing.T) {
	s := fixedDepth(20)
	inBubble(t, s, 10000, []Entitlement{weight(2000), weight(2000), weight(1000)}, func(x *timed) {
		x.loop(1, 32)
		x.loop(2, 32)
		time.Sleep(time.Second)
		x.wantRates(x.rates(time.Second), 0.01, 0, 6667, 3333)
		x.loop(0, 32)
		time.Sleep(100 * time.Millisecond)
		x.wantRates(x.rates(time.Second), 0.01, 4000, 4000, 2000)
	})
}

// TestLimitKeepsTime: a limit is kept by the timer alone, with nothing else going on.
func TestLimitKeepsTime(t *testing.T) {
	e := DefaultEntitlement()
	e.Limits.Total.Rate.Ops = 300
	inBubble(t, fixedDepth(64), 0, []Entitlement{e}, func(x *timed) {
		x.loop(0, 8)
		time.Sleep(time.Second)
		x.wantRates(x.rates(10*time.Second), 0.01, 300)
	})
}

// TestFastUseIsPlannedFor: two flows that pass the core have their use in the
// status, the timer comes only once in a period for that, and not at all when
// all is quiet.
func TestFastUseIsPlannedFor(t *testing.T) {
	inBubble(t, fixedDepth(1000), 2000, twoEqual(), func(x *timed) {
		x.loop(0, 4)
		x.loop(1, 12)
		time.Sleep(time.Second)
		if w := x.word.load(); w.queued() != 0 || !w.open() {
			t.Error("commands do not pass the core")
		}
		x.mu.Lock()
		turns := x.turns
		x.mu.Unlock()
		time.Sleep(10 * time.Second)
		x.mu.Lock()
		// Plans, depth epochs, and one before each slot of the meter.
		if n := x.turns - turns; n < 90 || n > 500 {
			t.Errorf("%d turns of the timer in 10 s", n)
		}
		x.mu.Unlock()
		var snap Snapshot
		x.Status(&snap)
		for i, want := range []Speed{500_000, 1500_000} {
			// A slot has 25 commands of the first, which come in fours and sixteens.
			if got := snap.Flows[i].Use; got < want*7/10 || got > want*13/10 {
				t.Errorf("use of flow %d is %d, want about %d", i, got, want)
			}
		}
	})
}

// TestIdleSleeps: once all is quiet, nothing wakes up any more; and then the
// first command still finds its way.
func TestIdleSleeps(t *testing.T) {
	inBubble(t, fixedDepth(8), 1000, twoEqual(), func(x *timed) {
		once := func(n int) {
			for range n {
				c := read4k(1)
				c.Tag = endless
				x.Submit(nil, x.flows[0], []*Cmd{c})
			}
		}
		once(20)
		time.Sleep(2 * time.Second)
		x.mu.Lock()
		turns := x.turns
		x.mu.Unlock()
		x.p.mu.Lock()
		if len(x.p.queue) != 0 || len(x.p.watched) != 0 {
			t.Errorf("%d to be woken, %d watched for, while all is quiet", len(x.p.queue), len(x.p.watched))
		}
		x.p.mu.Unlock()
		time.Sleep(24 * time.Hour)
		x.mu.Lock()
		if x.turns != turns {
			t.Errorf("woken %d times while all was quiet", x.turns-turns)
		}
		x.mu.Unlock()
		once(20)
		time.Sleep(time.Second)
		x.mu.Lock()
		if x.done[0] != 40 {
			t.Errorf("%d commands done, want 40", x.done[0])
		}
		x.mu.Unlock()
	})
}

// TestHeartbeat: while commands wait the timer looks every millisecond whether
// the process stood still, and a late look is told to the core.
func TestHeartbeat(t *testing.T) {
	inBubble(t, fixedDepth(4), 1000, twoEqual(), func(x *timed) {
		x.loop(0, 8)
		x.loop(1, 8)
		time.Sleep(500*time.Millisecond + 500*time.Microsecond)
		if late := x.p.late(x.p.Now()); late > 0 {
			t.Errorf("late by %d ns", late)
		}
		if x.p.seen.Load() == int64(never) {
			t.Error("nobody watches, though commands wait")
		}
		var snap Snapshot
		x.Status(&snap)
		if snap.Stalls != 0 {
			t.Errorf("%d stalls without one", snap.Stalls)
		}
		// 3 ms late, with a guard of 2 ms.
		x.p.woke(x.p.Now()-Instant(3*time.Millisecond), true)
		x.p.woke(x.p.Now()-Instant(1*time.Millisecond), true)
		x.p.rouse()
		time.Sleep(time.Millisecond)
		x.Status(&snap)
		if snap.Stalls != 1 {
			t.Errorf("%d stalls, want 1", snap.Stalls)
		}
	})
}

// TestPacerOrder wakes many Disks, each at its time.
func TestPacerOrder(t *testing.T) {
	p := NewPacer(nil, nil)
	var disks []*Disk
	now := p.Now()
	for i := range 100 {
		d := &Disk{}
		d.pace.init()
		disks = append(disks, d)
		p.arm(d, now+Instant(1+(i*37)%100)*Instant(time.Hour))
		p.arm(d, now+Instant(200*time.Hour)) // later: no matter
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	last := Instant(0)
	for n := len(disks); n > 0; n-- {
		d := p.queue[0]
		if at := d.pace.time(); at < last {
			t.Fatalf("woken at %d after %d", at, last)
		} else {
			last = at
		}
		p.remove(d)
		if n%3 == 0 && len(p.queue) > 2 {
			p.remove(p.queue[len(p.queue)/2])
			n--
		}
	}
	if len(p.queue) != 0 {
		t.Errorf("%d left", len(p.queue))
	}
}
