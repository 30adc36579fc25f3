// SPDX-License-Identifier: Apache-2.0

package share

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// mixed adds flows of all kinds: limits, reservations, groups, no shares.
func (l *loop) mixed(r *rand.Rand, n int) {
	l.step(Event{Kind: ConfigureGroup, Group: 1, GroupEntitlement: &GroupEntitlement{
		Limits: Limits{Total: Ceiling{Rate: Rate{Ops: 500 + r.Int64N(2000)}}},
	}})
	for i := range FlowID(n) {
		e := Entitlement{Weight: uint32(1 + r.IntN(3000)), Priority: uint8(r.IntN(11))}
		switch r.IntN(6) {
		case 0:
			e.Weight = 0
		case 1:
			e.Group = 1
		case 2:
			e.Limits.Total.Rate.Ops = 50 + r.Int64N(500)
		case 3:
			e.Reservation.Ops = 1 + r.Int64N(400)
		}
		load := loopLoad{bytes: 4096 << r.IntN(4), depth: 1 + r.IntN(40), sequential: r.IntN(2) == 0}
		if r.IntN(3) == 0 {
			load.depth, load.every = 0, time.Duration(1+r.IntN(20))*time.Millisecond
		}
		l.add(i, e, load)
	}
}

// TestP1WorkConservation: after each Step the window is full, or nobody is left
// who may go.
func TestP1WorkConservation(t *testing.T) {
	open := 0
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 5))
		depth := Unit(1 + r.IntN(32))
		if seed%4 > 1 {
			depth = 4096 // more than all queues have
		}
		l := newLoop(t, 5000, depth, func(s *Settings) {
			s.FloorInterval = 250 * time.Millisecond
			if seed%2 == 1 {
				s.Mode = Strict
			}
		})
		goes := 0
		l.check = func(out []Dispatch) {
			var snap Snapshot
			goes += len(out)
			if l.c.Snapshot(&snap); snap.InFlight >= snap.Depth || len(out) == 64 {
				return
			}
			for _, f := range snap.Flows {
				if f.Queued == 0 {
					continue
				}
				if open++; f.Why.Reason != Limit && !f.Why.Held {
					t.Fatalf("seed %d at %d: flow %d waits for reason %d with an open window", seed, l.now, f.Flow, f.Why.Reason)
				}
			}
		}
		l.mixed(r, 8)
		l.run(Instant(500 * time.Millisecond))
		if goes == 0 {
			t.Errorf("seed %d: nothing was dispatched", seed)
		}
	}
	if open == 0 {
		t.Error("no flow ever waited with the window open")
	}
}

// TestP1Immediate: a command that meets an empty queue, an open window and no
// limit goes in the same Step (par. 0109).
func TestP1Immediate(t *testing.T) {
	l := newLoop(t, 5000, 2, nil)
	f := l.add(0, DefaultEntitlement(), loopLoad{bytes: 4096})
	l.add(1, DefaultEntitlement(), loopLoad{bytes: 4096})
	for i := range 20 {
		l.now += Instant(i) * 7_000_000
		var room [4]Dispatch
		cmd := f.command()
		out, _ := l.c.Step(l.now, []Event{{Kind: Submit, Flow: 0, Cmd: cmd}}, room[:0])
		if len(out) != 1 || out[0].Cmd != cmd {
			t.Fatalf("command %d waits", i)
		}
		l.c.Step(l.now+100, []Event{{Kind: Complete, Cmd: cmd}}, room[:0])
	}
}

// TestP6Depth: right after a dispatch inflight < D + c_max; a cut of D
// dispatches nothing.
func TestP6Depth(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 6))
		l := newLoop(t, 5000, Unit(2+r.IntN(64)), nil)
		cut := false
		l.check = func(out []Dispatch) {
			var snap Snapshot
			l.c.Snapshot(&snap)
			n := len(out)
			if n > 0 && snap.InFlight-out[n-1].Cost >= snap.Depth {
				t.Fatalf("seed %d: %d CU in flight after one of %d, with a window of %d", seed, snap.InFlight, out[n-1].Cost, snap.Depth)
			}
			if cut && n > 0 {
				t.Fatalf("seed %d: a cut of the window dispatched %d commands", seed, n)
			}
		}
		for i := range FlowID(4) {
			l.add(i, DefaultEntitlement(), loopLoad{bytes: 4096 << (2 * i), depth: 20})
		}
		for i := range 40 {
			l.run(l.now + Instant(10*time.Millisecond))
			cut = true
			l.step(Event{Kind: Paths, Kappa: uint32(refFull / (2 + i%3))})
			cut = false
			l.run(l.now + Instant(10*time.Millisecond))
			l.step(Event{Kind: Paths, Kappa: refFull})
		}
	}
}

// TestP7NoStarvation: an eligible flow waits at most T_st + 2H + (n*c_max+D)/C,
// with reservations that do not fit and in strict mode too.
func TestP7NoStarvation(t *testing.T) {
	for seed := range uint64(24) {
		r := rand.New(rand.NewPCG(seed, 7))
		rate, depth := int64(2000), Unit(1+r.IntN(32))
		l := newLoop(t, rate, depth, func(s *Settings) {
			s.FloorInterval = time.Duration(50+r.IntN(300)) * time.Millisecond
			if seed%3 == 1 {
				s.Mode = Strict
			}
			if seed%3 == 2 {
				s.PriorityMode = PriorityAlways
			}
		})
		n, largest := 2+r.IntN(8), Unit(0)
		for i := range n {
			e := Entitlement{Weight: uint32(r.IntN(2) * (1 + r.IntN(MaxShares))), Priority: uint8(r.IntN(11))}
			if r.IntN(2) == 0 {
				e.Reservation.Ops = 1 + r.Int64N(4000)
			}
			f := l.add(FlowID(i), e, loopLoad{bytes: 4096 << r.IntN(5), depth: int(depth) + 2, sequential: r.IntN(2) == 0})
			largest = max(largest, f.cost)
		}
		l.run(Instant(4 * time.Second))
		bound := l.floor + 2*Instant(l.c.set.ReserveAhead) + Instant(float64(Unit(n)*largest+depth)/float64(rate)*1e9)
		for i := range n {
			if gap := l.longestGap(FlowID(i), 0); gap > bound {
				t.Errorf("seed %d, flow %d: waits %v, at most %v", seed, i, time.Duration(gap), time.Duration(bound))
			}
		}
	}
}

// TestP9Determinism: the same trace gives the same dispatches, explanations and
// times to wake.
func TestP9Determinism(t *testing.T) {
	for seed := range uint64(100) {
		data := randomBytes(seed+500, 600)
		if want, got := runAlone(data, traceChange{}), runAlone(data, traceChange{}); !sameRun(t, want, got) {
			t.Fatalf("seed %d: two runs differ", seed)
		}
	}
}

// TestP10Conservation: each command is dispatched once or given back once, in
// order; what is charged is what was dispatched; nothing stays in flight.
func TestP10Conservation(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 8))
		l := newLoop(t, 3000, Unit(1+r.IntN(16)), func(s *Settings) { s.FloorInterval = 100 * time.Millisecond })
		l.mixed(r, 6)
		l.run(Instant(time.Second))
		back := map[FlowID]uint64{}
		for _, f := range l.flows {
			f.depth, f.every, f.next = 0, 0, -1
			l.c.Step(l.now, []Event{{Kind: ResetFlow, Flow: f.id}}, nil)
			back[f.id] = uint64(len(l.c.Returned()))
		}
		l.run(l.now + Instant(10*time.Second))
		var snap Snapshot
		l.c.Snapshot(&snap)
		if snap.InFlight != 0 || snap.Commands != 0 {
			t.Errorf("seed %d: %d CU in %d commands in flight at the end", seed, snap.InFlight, snap.Commands)
		}
		units := Unit(0)
		for i, f := range snap.Flows {
			units += f.Units
			if got, want := f.Commands+back[f.Flow], l.flows[i].sent; got != want {
				t.Errorf("seed %d, flow %d: %d dispatched or given back, want %d", seed, i, got, want)
			}
		}
		if units != l.seen {
			t.Errorf("seed %d: %d CU charged, %d dispatched", seed, units, l.seen)
		}
		if err := l.inOrder(); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
	}
}

// inOrder: the tags of a flow are dispatched in the order of submission.
func (l *loop) inOrder() error {
	last := map[FlowID]uint64{}
	for _, s := range l.log {
		if s.tag != last[s.flow]+1 {
			return fmt.Errorf("flow %d: command %d after %d", s.flow, s.tag, last[s.flow])
		}
		last[s.flow] = s.tag
	}
	return nil
}
