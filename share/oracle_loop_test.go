// SPDX-License-Identifier: Apache-2.0

package share

import (
	"math/rand/v2"
	"testing"
	"time"
)

// loop drives a Core against a device that serves in order, at a steady rate:
// the setting in which the bounds of SCHEDULER, section 4 hold over intervals.
type loop struct {
	tb   testing.TB
	c    *Core
	now  Instant
	wake Instant

	rate    int64         // CU/s of the device
	latency time.Duration // b, besides
	free    Instant       // when the device has done all
	device  []loopDone    // in order

	flows  []*loopFlow
	keep   bool // log is kept
	log    []loopServed
	digest uint64 // of all dispatches
	steps  int
	seen   Unit    // CU dispatched
	floor  Instant // the largest T_st so far
	check  func(out []Dispatch)
}

type loopDone struct {
	at  Instant
	cmd *Cmd
}

type loopServed struct {
	at    Instant
	flow  FlowID
	cost  Unit
	phase Phase
	tag   uint64
}

// loopLoad is what a VM does: depth commands always, or one every so often.
type loopLoad struct {
	bytes      uint32
	vary       bool // sizes are between 512 and bytes
	sequential bool
	depth      int
	every      time.Duration
	from, to   Instant // when; to 0: always
}

type loopFlow struct {
	loopLoad
	id   FlowID
	rand *rand.Rand
	lba  uint64
	next Instant // when something comes without a completion; never: < 0
	cost Unit    // the largest one
	free []*Cmd  // to use again
	sent uint64
}

// newLoop makes one with a fixed window, no floor and no priorities.
func newLoop(tb testing.TB, rate int64, depth Unit, edit func(*Settings)) *loop {
	tb.Helper()
	s := DefaultSettings()
	s.Capacity, s.Depth, s.FloorInterval, s.PriorityMode, s.ExplainRing = rate, depth, 0, PriorityOff, 0
	if edit != nil {
		edit(&s)
	}
	c, err := NewCore(s, 0)
	if err != nil {
		tb.Fatal(err)
	}
	return &loop{tb: tb, c: c, rate: rate, latency: 200 * time.Microsecond, keep: true}
}

func (l *loop) add(id FlowID, e Entitlement, load loopLoad) *loopFlow {
	l.tb.Helper()
	if err := e.Validate(); err != nil {
		l.tb.Fatal(err)
	}
	f := &loopFlow{loopLoad: load, id: id, rand: rand.New(rand.NewPCG(uint64(id), 7)), next: load.from}
	s := l.c.set
	f.cost = s.CostOf(load.bytes)
	l.flows = append(l.flows, f)
	l.step(Event{Kind: AddFlow, Flow: id, Entitlement: &e})
	return f
}

// command is the next one of f.
func (f *loopFlow) command() *Cmd {
	c := new(Cmd)
	if n := len(f.free); n > 0 {
		c, f.free = f.free[n-1], f.free[:n-1]
	}
	bytes := f.bytes
	if f.vary {
		bytes = 512 * (1 + f.rand.Uint32N(f.bytes/512))
	}
	if !f.sequential {
		f.lba = f.rand.Uint64N(1<<40) * 8
	}
	f.sent++
	c.Tag, c.LBA, c.Bytes, c.Class = f.sent, f.lba, bytes, ClassRead
	f.lba += uint64(bytes+511) / 512
	return c
}

func (f *loopFlow) on(now Instant) bool { return now >= f.from && (f.to == 0 || now < f.to) }

// run goes on until then.
func (l *loop) run(until Instant) {
	for {
		next := until
		if l.wake > 0 {
			next = min(next, l.wake)
		}
		if len(l.device) > 0 {
			next = min(next, l.device[0].at)
		}
		for _, f := range l.flows {
			if f.next >= 0 {
				next = min(next, f.next)
			}
		}
		l.now = max(l.now, next)
		l.step(l.due()...)
		if next >= until {
			return
		}
	}
}

// due is what has happened by now.
func (l *loop) due() (in []Event) {
	for len(l.device) > 0 && l.device[0].at <= l.now {
		cmd := l.device[0].cmd
		l.device = l.device[1:]
		in = append(in, Event{Kind: Complete, Cmd: cmd})
		f, _ := cmd.Owner.(*loopFlow)
		if f.depth > 0 && f.on(l.now) {
			in = append(in, l.submit(f))
		}
		f.free = append(f.free, cmd)
	}
	for _, f := range l.flows {
		if f.next < 0 || f.next > l.now {
			continue
		}
		f.next = -1
		for range f.depth {
			in = append(in, l.submit(f))
		}
		if f.every > 0 && f.on(l.now) {
			in = append(in, l.submit(f))
			f.next = l.now + Instant(f.every)
		}
	}
	return in
}

func (l *loop) submit(f *loopFlow) Event {
	c := f.command()
	c.Owner = f
	return Event{Kind: Submit, Flow: f.id, Cmd: c}
}

// step calls Step as often as there is something to dispatch.
func (l *loop) step(in ...Event) {
	for {
		var room [64]Dispatch
		out, wake := l.c.Step(l.now, in, room[:0])
		in, l.wake = nil, wake
		l.steps++
		for _, d := range out {
			l.free = max(l.free, l.now) + Instant(int64(d.Cost)*refSecond/l.rate)
			l.device = append(l.device, loopDone{l.free + Instant(l.latency), d.Cmd})
			l.seen += d.Cost
			s := loopServed{l.now, d.Flow, d.Cost, d.Phase, d.Cmd.Tag}
			if l.keep {
				l.log = append(l.log, s)
			}
			l.digest = l.digest*1099511628211 + uint64(s.at) ^ uint64(s.flow)<<48 ^ uint64(s.cost)<<32 ^ s.tag
		}
		l.floor = max(l.floor, Instant(l.c.plan.floor))
		if l.check != nil {
			l.check(out)
		}
		if len(out) < len(room) {
			return
		}
	}
}
