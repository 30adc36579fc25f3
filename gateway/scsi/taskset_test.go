// SPDX-License-Identifier: Apache-2.0

package scsi

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"pathgate/backends"
	"pathgate/internal/scsi"
)

// slow is a memory disk that holds requests until they are let go or aborted.
type slow struct {
	*backends.Memory
	stuck bool // Abort does not stop them
	ghost bool // Abort gives them up while they may still run below

	mu     sync.Mutex
	held   []*backends.Request
	aborts int
}

func newSlow(tb testing.TB) *slow { return &slow{Memory: memory(tb, 4<<20)} }

func (d *slow) Submit(_ *backends.Batch, reqs []*backends.Request) {
	d.mu.Lock()
	d.held = append(d.held, reqs...)
	d.mu.Unlock()
}

// Abort ends a held request.
func (d *slow) Abort(b *backends.Batch, r *backends.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.aborts++
	if i := slices.Index(d.held, r); i >= 0 && !d.stuck {
		d.held = slices.Delete(d.held, i, i+1)
		res := backends.Failed(backends.Aborted)
		if d.ghost {
			res.Sent = backends.SentSome
		}
		b.Complete(r, res)
	}
}

// waiting gives the LBAs of what is held.
func (d *slow) waiting() []int {
	d.mu.Lock()
	defer d.mu.Unlock()
	var lbas []int
	for _, r := range d.held {
		lbas = append(lbas, int(r.Offset/512))
	}
	return lbas
}

// finish carries out the request that begins at lba.
func (d *slow) finish(tb testing.TB, lba int) {
	tb.Helper()
	d.mu.Lock()
	i := slices.IndexFunc(d.held, func(r *backends.Request) bool { return int(r.Offset/512) == lba })
	if i < 0 {
		d.mu.Unlock()
		tb.Fatalf("LBA %d is not with the device", lba)
	}
	r := d.held[i]
	d.held = slices.Delete(d.held, i, i+1)
	d.mu.Unlock()
	var b backends.Batch
	d.Memory.Submit(&b, []*backends.Request{r})
	b.Run()
}

// TestTaskAttributes: commands are READs whose LBA is their number, begun in
// order; want tells what is with the device at first and after each end.
func TestTaskAttributes(t *testing.T) {
	tests := []struct {
		name  string
		attrs string // s, o, h for each command
		ends  []int
		want  []string
	}{
		{"simple", "sss", nil, []string{"0 1 2"}},
		{"ordered waits for older", "sos", []int{0, 1}, []string{"0", "1", "2"}},
		{"ordered among simple", "ssoss", []int{1, 0, 2}, []string{"0 1", "0", "2", "3 4"}},
		{"two ordered", "oo", []int{0}, []string{"0", "1"}},
		{"head of queue runs at once", "soh", []int{2, 0}, []string{"0 2", "0", "1"}},
		{"simple waits for head of queue", "hs", []int{0}, []string{"0", "1"}},
		{"ordered waits for head of queue", "ho", []int{0}, []string{"0", "1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := newSlow(t)
			c := newBed(t, UnitConfig{Device: d}).open(0, 1)
			for i, a := range tt.attrs {
				cmd := c.command(0, readCDB(uint64(i), 1), nil, 512)
				cmd.Attribute = map[rune]Attribute{'s': Simple, 'o': Ordered, 'h': HeadOfQueue}[a]
				if !c.start(cmd) {
					t.Fatal("refused")
				}
			}
			for i, want := range tt.want {
				if i > 0 {
					d.finish(t, tt.ends[i-1])
				}
				if got := strings.Trim(fmt.Sprint(d.waiting()), "[]"); got != want {
					t.Errorf("step %d: %q is with the device, want %q", i, got, want)
				}
			}
		})
	}
}

// doneOf gives a Done and whether it was called, once.
func doneOf(tb testing.TB) (Done, *backends.Result) {
	res := new(backends.Result)
	return func(_ *backends.Batch, r backends.Result) {
		if res.Class != 0 {
			tb.Error("done is called twice")
		}
		*res = r
	}, res
}

// TestB20EndsAfterTheTasks has every function that ends tasks: done comes after
// their end, which comes after that of the device's request; other nexuses learn
// of it.
func TestB20EndsAfterTheTasks(t *testing.T) {
	field := scsi.LUN(0).Field()
	tests := []struct {
		name         string
		call         func(n *Nexus, b *backends.Batch, own *Command, done Done)
		other        bool // the other nexus's task ends too
		own, foreign scsi.SenseCode
	}{
		{"abort task", func(n *Nexus, b *backends.Batch, own *Command, done Done) { n.AbortTask(b, own, done) }, false, 0, 0},
		{"abort task set", func(n *Nexus, b *backends.Batch, _ *Command, done Done) { n.AbortTaskSet(b, field, done) }, false, 0, 0},
		{"clear task set", func(n *Nexus, b *backends.Batch, _ *Command, done Done) { n.ClearTaskSet(b, field, done) }, true, 0, scsi.CodeCommandsClearedByOther},
		{"lun reset", func(n *Nexus, b *backends.Batch, _ *Command, done Done) { n.LogicalUnitReset(b, field, done) }, true, scsi.CodeDeviceReset, scsi.CodeDeviceReset},
		{"warm reset", func(n *Nexus, b *backends.Batch, _ *Command, done Done) { n.TargetWarmReset(b, done) }, true, scsi.CodeBusReset, scsi.CodeBusReset},
		{"cold reset", func(n *Nexus, b *backends.Batch, _ *Command, done Done) { n.TargetColdReset(b, done) }, true, scsi.CodePowerOn, scsi.CodePowerOn},
	}
	for _, tt := range tests {
		for _, stuck := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, stuck %v", tt.name, stuck), func(t *testing.T) {
				d := newSlow(t)
				d.stuck = stuck
				x := newBed(t, UnitConfig{Device: d})
				a, o := x.open(0, 1), x.open(1, 2)
				own, other := a.command(0, writeCDB(1, 1), pattern(1, 512), 0), o.command(0, writeCDB(2, 1), pattern(2, 512), 0)
				a.start(own)
				o.start(other)
				done, res := doneOf(t)
				tt.call(a.n, &a.batch, own, done)
				a.batch.Run()
				if stuck {
					if res.Class != 0 {
						t.Fatal("answered before the tasks have ended")
					}
					d.finish(t, 1)
					if tt.other {
						d.finish(t, 2)
					}
				}
				if !res.OK() || !a.ended(own) || o.ended(other) != tt.other {
					t.Fatalf("done %v, own ended %v, other %v", res.Class, a.ended(own), o.ended(other))
				}
				if own.Silent == stuck || other.Silent == (stuck || !tt.other) {
					t.Errorf("own silent %v, other %v", own.Silent, other.Silent)
				}
				if got := a.do(tur(), nil, 0); !senseOf(t, got).Is(tt.own) {
					t.Errorf("own nexus: %v, want %v", senseOf(t, got), tt.own)
				}
				if got := o.do(tur(), nil, 0); !senseOf(t, got).Is(tt.foreign) {
					t.Errorf("other nexus: %v, want %v", senseOf(t, got), tt.foreign)
				}
			})
		}
	}
}

// TestP9Ghosts: a function whose task may still run below is not answered with
// success.
func TestP9Ghosts(t *testing.T) {
	for _, blocks := range []uint32{1, 64} { // one request, and several
		d := newSlow(t)
		d.ghost = true
		x := newBed(t, UnitConfig{Device: &narrow{d}})
		a, o := x.open(0, 1), x.open(1, 1)
		w := a.command(0, writeCDB(1, blocks), pattern(1, 512*int(blocks)), 0)
		a.start(w)
		one, first := doneOf(t)
		a.n.AbortTask(&a.batch, w, one)
		all, second := doneOf(t)
		o.n.LogicalUnitReset(&o.batch, scsi.LUN(0).Field(), all)
		a.batch.Run()
		o.batch.Run()
		if first.Class != backends.Transport || second.Class != backends.Transport || !w.Silent {
			t.Errorf("abort %v, reset %v, silent %v", first.Class, second.Class, w.Silent)
		}
	}
}

// narrow takes requests of 4096 bytes at most.
type narrow struct{ *slow }

func (d *narrow) Info() backends.Info {
	i := d.slow.Info()
	i.MaxTransfer = 4096
	return i
}

// TestTaskAborted: with TAS the other nexus gets a status instead of a unit
// attention.
func TestTaskAborted(t *testing.T) {
	d := newSlow(t)
	x := newBed(t, UnitConfig{Device: d})
	x.unit.modes.taskAborted = true
	a, o := x.open(0, 1), x.open(1, 2)
	own, other := a.command(0, readCDB(1, 1), nil, 512), o.command(0, readCDB(2, 1), nil, 512)
	a.start(own)
	o.start(other)
	done, res := doneOf(t)
	a.n.ClearTaskSet(&a.batch, scsi.LUN(0).Field(), done)
	a.batch.Run()
	if !res.OK() || !own.Silent || other.Silent || other.Status != scsi.StatusTaskAborted {
		t.Fatalf("done %v, own silent %v, other silent %v with %v", res.Class, own.Silent, other.Silent, other.Status)
	}
	o.status(scsi.StatusGood, tur(), nil, 0)
}

// TestB19AbortBeforeData: a command that still waits for its Data-Out or for
// older tasks ends at once, and a Submit that comes too late does nothing.
func TestB19AbortBeforeData(t *testing.T) {
	d := newSlow(t)
	c := newBed(t, UnitConfig{Device: d}).open(0, 1)
	w := c.command(0, writeCDB(1, 1), pattern(1, 512), 0)
	if !c.n.Begin(w) || w.Want != 512 {
		t.Fatalf("wants %d bytes, want 512", w.Want)
	}
	done, res := doneOf(t)
	c.n.AbortTask(&c.batch, w, done)
	c.batch.Run()
	if !res.OK() || !w.Silent || !c.ended(w) {
		t.Fatalf("done %v, silent %v", res.Class, w.Silent)
	}
	c.n.Submit(&c.batch, []*Command{w})
	c.batch.Run()
	if len(d.waiting()) != 0 || len(c.ends) != 1 {
		t.Fatalf("%v is with the device, %d ends", d.waiting(), len(c.ends))
	}
	done, res = doneOf(t)
	c.n.AbortTask(&c.batch, w, done) // it is unknown by now
	c.batch.Run()
	if !res.OK() {
		t.Fatal("no answer for a task that is unknown")
	}
}

// TestP10CloseEndsTasks: an I_T nexus loss ends the tasks of that nexus and
// releases its RESERVE; the next nexus is told by 29/00 (P11).
func TestP10CloseEndsTasks(t *testing.T) {
	d := newSlow(t)
	d.stuck = true
	x := newBed(t, UnitConfig{Device: d})
	a, o := x.open(0, 1), x.open(1, 1)
	a.good(scsi.CDB{byte(scsi.OpReserve6)}, nil, 0)
	o.status(scsi.StatusReservationConflict, readCDB(0, 1), nil, 512)
	w := a.command(0, writeCDB(7, 1), pattern(1, 512), 0)
	a.start(w)
	done, res := doneOf(t)
	a.n.Close(&a.batch, done)
	a.batch.Run()
	if res.Class != 0 {
		t.Fatal("answered while a write runs")
	}
	d.finish(t, 7)
	if !res.OK() {
		t.Fatalf("result %v", res.Class)
	}
	o.good(tur(), nil, 0)
	if a.n.Begin(a.command(0, tur(), nil, 0)) {
		t.Error("a closed nexus takes a command")
	}
	again := x.openRaw(0, 1)
	again.fails(scsi.CodeResetOccurred, tur(), nil, 0)
	again.good(tur(), nil, 0)
}

// TestAbortRaces: completions, aborts and resets on several goroutines; every
// command that was let in ends once, and every function is answered.
func TestAbortRaces(t *testing.T) {
	d := newSlow(t)
	x := newBed(t, UnitConfig{Device: d})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // the device
		for {
			d.mu.Lock()
			held := d.held
			d.held = nil
			d.mu.Unlock()
			var b backends.Batch
			d.Memory.Submit(&b, held)
			b.Run()
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	const rounds = 300
	var clients sync.WaitGroup
	for id := range byte(3) {
		c := x.openRaw(id, 1)
		clients.Go(func() {
			answers, asked, let := make(chan struct{}, rounds), 0, 0
			for i := range rounds {
				cmd := c.command(0, writeCDB(uint64(i%64), 1), pattern(byte(i), 512), 0)
				if i%5 == 0 {
					cmd.Attribute = Ordered
				}
				if !c.n.Begin(cmd) {
					continue
				}
				let++
				if i%3 == 0 {
					c.n.Submit(&c.batch, []*Command{cmd})
				}
				done := func(*backends.Batch, backends.Result) { answers <- struct{}{} }
				switch {
				case i%16 == 15:
					c.n.LogicalUnitReset(&c.batch, scsi.LUN(0).Field(), done)
				case i%4 == 3:
					c.n.ClearTaskSet(&c.batch, scsi.LUN(0).Field(), done)
				default:
					c.n.AbortTask(&c.batch, cmd, done)
				}
				asked++
				if i%3 != 0 {
					c.n.Submit(&c.batch, []*Command{cmd})
				}
				c.batch.Run()
			}
			closed := make(chan struct{})
			c.n.Close(&c.batch, func(*backends.Batch, backends.Result) { close(closed) })
			c.batch.Run()
			<-closed
			for range asked {
				<-answers
			}
			c.allEnded(let)
		})
	}
	clients.Wait()
	close(stop)
	wg.Wait()
	if x.unit.tasks.first != nil || x.unit.tasks.special != 0 {
		t.Error("the task set is not empty")
	}
}
