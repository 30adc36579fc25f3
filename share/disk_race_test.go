// SPDX-License-Identifier: Apache-2.0

package share

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// raceDepth is small, so that the way past the core opens and closes all the time.
const (
	raceDepth   = 24
	raceMaxCost = 16
)

// raceCmd is a command with what the test knows of it.
type raceCmd struct {
	Cmd
	owner  *racer
	seq    uint64
	issued atomic.Int32
}

// racer is a client with its own flow and goroutine.
type racer struct {
	d     *Disk
	flow  *Flow
	r     *rand.Rand
	below chan *raceCmd // issued
	free  []*raceCmd
	out   map[*raceCmd]bool
	seq   uint64
	last  uint64 // of those issued; under order
	order sync.Mutex
	issue atomic.Int64
	taken int64
}

// racers shares one Disk among n clients.
func racers(t *testing.T, n int, s Settings) (d *Disk, list []*racer, stop func()) {
	t.Helper()
	p := NewPacer(nil, nil)
	var over atomic.Int64
	d, err := NewDisk(s, p, func(_ any, cmds []*Cmd) {
		if f := d.word.load().inFlight(); f >= raceDepth+raceMaxCost {
			over.Store(f)
		}
		for _, c := range cmds {
			rc := c.Owner.(*raceCmd)
			if rc.issued.Add(1) != 1 {
				t.Errorf("command issued %d times", rc.issued.Load())
			}
			rc.owner.note(t, rc)
			rc.owner.below <- rc
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := p.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for i := range n {
		f, err := d.AddFlow(DefaultEntitlement())
		if err != nil {
			t.Fatal(err)
		}
		x := &racer{d: d, flow: f, r: rand.New(rand.NewPCG(seed, uint64(i))), out: map[*raceCmd]bool{}}
		for range 40 {
			c := &raceCmd{owner: x}
			c.Owner = c
			x.free = append(x.free, c)
		}
		x.below = make(chan *raceCmd, len(x.free))
		list = append(list, x)
	}
	return d, list, func() {
		cancel()
		wg.Wait()
		if f := over.Load(); f != 0 {
			t.Errorf("%d CU in flight with a window of %d", f, raceDepth)
		}
		if w := d.word.load(); w.queued() != 0 || w.inFlight() != 0 || d.commands.Load() != 0 {
			t.Errorf("at the end %d wait, %d CU and %d commands in flight", w.queued(), w.inFlight(), d.commands.Load())
		}
		for _, x := range list {
			if x.flow.InFlight() != 0 || x.flow.parked.Load() != 0 {
				t.Errorf("flow %d: %d in flight, %d parked", x.flow.id, x.flow.InFlight(), x.flow.parked.Load())
			}
		}
		var s Snapshot
		d.Status(&s)
		if s.Faults != 0 {
			t.Errorf("the core refused %d events", s.Faults)
		}
	}
}

// note checks that the commands of a client are issued in order.
func (x *racer) note(t *testing.T, c *raceCmd) {
	x.order.Lock()
	defer x.order.Unlock()
	if c.seq <= x.last {
		t.Errorf("command %d issued after %d", c.seq, x.last)
	}
	x.last = c.seq
	x.issue.Add(1)
}

// submit sends up to n commands at once.
func (x *racer) submit(n int) {
	var list []*Cmd
	for ; n > 0 && len(x.free) > 0; n-- {
		c := x.free[len(x.free)-1]
		x.free = x.free[:len(x.free)-1]
		x.seq++
		c.seq = x.seq
		c.issued.Store(0)
		c.Class, c.Bytes, c.LBA = ClassRead, 4096, x.r.Uint64N(1<<20)
		if x.r.IntN(8) == 0 {
			c.Bytes = 4096 * (1 + x.r.Uint32N(raceMaxCost))
		}
		x.out[c] = true
		list = append(list, &c.Cmd)
	}
	if x.r.IntN(4) == 0 {
		x.d.SubmitAhead(nil, x.flow, list)
		x.d.Pull(nil)
	} else {
		x.d.Submit(nil, x.flow, list)
	}
}

// complete ends one that the device has; block: waits for it.
func (x *racer) complete(block bool) {
	var c *raceCmd
	if block {
		c = <-x.below
	} else {
		select {
		case c = <-x.below:
		default:
			return
		}
	}
	if x.d.Complete(&c.Cmd) {
		x.d.Pull(nil)
	}
	x.recycle(c)
}

func (x *racer) recycle(c *raceCmd) {
	delete(x.out, c)
	x.free = append(x.free, c)
}

// abort takes one back that was submitted, if it still waits.
func (x *racer) abort() {
	for c := range x.out {
		if x.d.Abort(&c.Cmd) == AbortTaken {
			x.taken++
			x.recycle(c)
		}
		return
	}
}

// drain completes all that is out.
func (x *racer) drain() {
	for len(x.out) > 0 {
		x.complete(true)
	}
}

// TestFastAndSlowPathCross has clients submit alone and in batches, complete,
// and abort, around a window that is now open and now full: each command is
// issued once or given back once, in order, and the window keeps (P6, P10).
func TestFastAndSlowPathCross(t *testing.T) {
	for _, n := range []int{2, 5} {
		d, list, stop := racers(t, n, fixedDepth(raceDepth))
		var wg sync.WaitGroup
		for _, x := range list {
			wg.Go(func() {
				for range 4000 {
					switch k := x.r.IntN(10); {
					case k < 4:
						x.submit(1)
					case k < 5:
						x.submit(1 + x.r.IntN(12))
					case k < 6:
						x.abort()
					default:
						x.complete(false)
					}
				}
				x.drain()
			})
		}
		wg.Wait()
		for _, x := range list {
			if got := x.issue.Load() + x.taken; got != int64(x.seq) {
				t.Errorf("%d issued and %d taken back of %d", x.issue.Load(), x.taken, x.seq)
			}
		}
		stop()
		if d.plans == 0 {
			t.Error("no plan was made")
		}
	}
}

// TestSettingsAndPathsChangeMeanwhile has paths come and go, settings change,
// and state be read, while clients work.
func TestSettingsAndPathsChangeMeanwhile(t *testing.T) {
	d, list, stop := racers(t, 3, fixedDepth(raceDepth))
	var wg sync.WaitGroup
	quit := make(chan struct{})
	wg.Go(func() {
		var s Snapshot
		var log []Explain
		for i := uint32(1); ; i++ {
			select {
			case <-quit:
				if d.Paths(1_000_000) {
					d.Pull(nil)
				}
				return
			default:
			}
			if d.Paths([]uint32{0, 500_000, 1_000_000}[i%3]) {
				d.Pull(nil)
			}
			e := DefaultEntitlement()
			e.Weight = 500 + i%1000
			if err := d.ConfigureFlow(list[i%3].flow, e, i); err != nil {
				t.Error(err)
			}
			if i%16 == 0 {
				set := fixedDepth(raceDepth)
				set.Quantum = 1 + int(i/16%8)
				if err := d.Configure(set, i); err != nil {
					t.Error(err)
				}
			}
			d.Status(&s)
			log = d.Explained(log[:0], 0)
			d.Why(list[0].flow)
		}
	})
	var clients sync.WaitGroup
	for _, x := range list {
		clients.Go(func() {
			for range 3000 {
				if k := x.r.IntN(10); k < 5 {
					x.submit(1 + x.r.IntN(3))
				} else {
					x.complete(false)
				}
			}
		})
	}
	clients.Wait()
	close(quit)
	wg.Wait()
	for _, x := range list {
		clients.Go(x.drain)
	}
	clients.Wait()
	stop()
}

// TestResetsAndCloseRace has one goroutine reset every flow while clients
// submit, and the scheduler is closed in the end: nothing is lost or doubled.
func TestResetsAndCloseRace(t *testing.T) {
	d, list, stop := racers(t, 3, fixedDepth(raceDepth))
	var given sync.Map // commands that were given back
	back := func(cmds []*Cmd) {
		for _, c := range cmds {
			rc := c.Owner.(*raceCmd)
			if rc.issued.Add(1) != 1 {
				t.Error("a command was issued and given back")
			}
			given.Store(rc, true)
			rc.owner.below <- nil
		}
	}
	var clients, wg sync.WaitGroup
	quit := make(chan struct{})
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-quit:
				back(d.Close())
				return
			default:
				back(d.Reset(list[i%3].flow, nil))
			}
		}
	})
	for _, x := range list {
		clients.Go(func() {
			out := 0
			end := func(c *raceCmd) {
				if out--; c != nil && d.Complete(&c.Cmd) {
					d.Pull(nil)
				}
			}
			for range 300 {
				for range 8 {
					x.free = append(x.free, fresh(x))
					x.submit(1)
					out++
				}
				for out > 16 {
					end(<-x.below)
				}
			}
			for out > 0 {
				end(<-x.below)
			}
		})
	}
	clients.Wait()
	close(quit)
	wg.Wait()
	n := 0
	given.Range(func(any, any) bool { n++; return true })
	t.Logf("%d given back", n)
	stop()
}

func fresh(x *racer) *raceCmd {
	c := &raceCmd{owner: x}
	c.Owner = c
	return c
}

// TestHoldsRace has the device park and release commands on another goroutine
// than the one that submits, as devices do.
func TestHoldsRace(t *testing.T) {
	d, list, stop := racers(t, 2, fixedDepth(raceDepth))
	var wg sync.WaitGroup
	for _, x := range list {
		ends := make(chan *raceCmd, 40)
		done := make(chan *raceCmd, 40)
		wg.Go(func() { // the device
			for c := range ends {
				pull := false
				switch c.seq % 5 {
				case 0:
					pull = d.Park(&c.Cmd, Busy)
					if c.seq%2 == 0 {
						d.Unpark(&c.Cmd)
					}
				case 1:
					pull = d.PathDown(&c.Cmd)
					d.Redrive(&c.Cmd)
				}
				if pull {
					d.Pull(nil)
				}
				if d.Complete(&c.Cmd) {
					d.Pull(nil)
				}
				done <- c
			}
		})
		wg.Go(func() { // the client
			for range 3000 {
				x.submit(1 + x.r.IntN(4))
				for len(x.out) > 24 {
					select {
					case c := <-x.below:
						ends <- c
					case c := <-done:
						x.recycle(c)
					}
				}
			}
			for len(x.out) > 0 {
				select {
				case c := <-x.below:
					ends <- c
				case c := <-done:
					x.recycle(c)
				}
			}
			close(ends)
		})
	}
	wg.Wait()
	stop()
}
