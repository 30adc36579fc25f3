// SPDX-License-Identifier: Apache-2.0

package share

import "time"

// Core is the scheduler of one LUN. It is a pure value behind a pointer: not
// safe for concurrent use, and it reads no clock. Make it with NewCore.
type Core struct {
	ablation ablation
	set      Settings
	version  uint32
	now      Instant
	started  bool

	flows  []*flow  // by FlowID; nil: none
	groups []*group // by GroupID; nil: none
	root   level
	due    heap
	timer  heap
	zero   ring

	inflight  Unit
	commands  int
	cap, most int // bound on commands in force, as told; 0: none
	capSince  int // epochs since the last TaskSetFull
	run       struct {
		flow *flow
		n    int
		cu   Unit
	}

	plan  planner
	depth window

	touched  []*flow
	returned []*Cmd
	ended    bool // a command has, in this Step
	faults   uint64
	ring     []rawExplain
	ringAt   int // where the next record goes
	seq      uint64

	backlog [MaxPriority + 1]int // backlogged flows by priority
}

// ablation switches parts of the algorithm off, for the negative controls.
type ablation uint16

const (
	noEnterClamp  ablation = 1 << iota // a flow that wakes keeps its old virtual time
	floorsLast                         // floors wait until no reservation is due
	plainAhead                         // reservations may be ahead by H, whatever one command costs
	depthUnscaled                      // a lost path leaves the window as it is
	noPathRecount                      // what was in flight on a lost path stays in the window
	noStallGuard                       // latencies over a stall count
)

// NewCore makes the scheduler of a LUN that has no flows yet. The error has
// every fault of s, each with its key.
func NewCore(s Settings, now Instant) (*Core, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	c := &Core{set: s, now: now}
	c.root.ready.set, c.due.set, c.timer.set = inReady, inDue, inTimer
	c.plan.kappa, c.plan.lastKappa = fullKappa, fullKappa
	c.plan.at, c.plan.last = now, now
	c.applySettings(&s, nil)
	return c, nil
}

// Step takes over what has happened, in order, and appends to out the commands
// that go now, at most as many as out has room for. wake is when it must be
// called again, at the latest; 0: not before the next event.
func (c *Core) Step(now Instant, in []Event, out []Dispatch) (dispatched []Dispatch, wake Instant) {
	if now = max(now, c.now); c.started {
		c.depth.pass(now - c.now)
	}
	c.now, c.started = now, true
	c.returned = c.returned[:0]
	c.ended = false
	for i := range in {
		c.apply(&in[i])
	}
	if c.ended && c.set.Mode == Strict {
		c.freeHeld()
	}
	for c.timer.due(now) {
		c.expire(c.timer.top())
	}
	if now >= c.depth.epochAt {
		c.epoch()
	}
	if now >= c.plan.at {
		c.makePlan()
	}
	full := false
	for c.open() {
		if full = len(out) == cap(out); full {
			break
		}
		f, phase := c.pick()
		if f == nil {
			break
		}
		out = append(out, c.charge(f, phase))
	}
	c.depth.note(c.plan.kappa > 0 && !c.open() && c.waiting())
	c.explainWaits()
	return out, c.wake(full)
}

// open tells whether the window has room.
func (c *Core) open() bool {
	return c.plan.kappa > 0 && c.inflight < c.depth.room && (c.cap == 0 || c.commands < c.cap)
}

// waiting tells whether a flow could go at once.
func (c *Core) waiting() bool { return c.root.ready.len() > 0 || c.zero.first != nil }

// wake gives when Step has to be called again.
func (c *Core) wake(full bool) Instant {
	if full {
		return max(c.now, 1)
	}
	at := Instant(0)
	first := func(t Instant) {
		if at == 0 || t < at {
			at = max(t, 1)
		}
	}
	if c.timer.len() > 0 {
		first(c.timer.first())
	}
	if c.due.len() > 0 && c.open() {
		_, due, _ := c.firstDue()
		first(due)
	}
	if c.plan.awake {
		first(c.plan.at)
		first(c.depth.epochAt)
	}
	return at
}

// Returned gives the commands that the last Step gave back without having
// dispatched them (Abort, ResetFlow). Valid until the next Step.
func (c *Core) Returned() []*Cmd { return c.returned }

// Fast tells whether commands of f may go past the core while nothing is
// queued: no limits, reservation, group, zero shares, nor over-use while others
// are active; mode not strict; cost model patent. It changes with a plan only: see Plans.
func (c *Core) Fast(f FlowID) bool {
	fl := c.flow(f)
	return fl != nil && fl.fastAllowed
}

// Plans counts the plans made.
func (c *Core) Plans() uint64 { return c.plan.count }

// Room gives the window in force, in CU, and the bound on commands (0: none);
// depth 0 when no path is usable.
func (c *Core) Room() (depth Unit, commands int) {
	if c.plan.kappa == 0 {
		return 0, c.cap
	}
	return c.depth.room, c.cap
}

// CostOf gives what a command would cost, when Fast allows that it passes the
// core (CostPatent).
func (s *Settings) CostOf(bytes uint32) Unit {
	return max(1, (Unit(bytes)+Unit(s.UnitBytes)-1)/Unit(s.UnitBytes))
}

func (c *Core) flow(id FlowID) *flow {
	if int64(id) < int64(len(c.flows)) {
		return c.flows[id]
	}
	return nil
}

func (c *Core) group(id GroupID) *group {
	if int(id) < len(c.groups) {
		return c.groups[id]
	}
	return nil
}

// applySettings takes over s; old is nil at the start.
func (c *Core) applySettings(s, old *Settings) {
	c.set = *s
	half := int64(s.Window) / 2
	if old != nil && old.Window != s.Window {
		for _, f := range c.flows {
			if f != nil {
				f.m.reset(c.now, half)
			}
		}
	}
	if old != nil {
		for _, f := range c.flows {
			if f != nil {
				f.lim.configure(&f.conf.Limits, int64(s.LimitSlop), c.now)
				c.headChanged(f)
			}
		}
		for _, g := range c.groups {
			if g != nil {
				g.lim.configure(&g.conf.Limits, int64(s.LimitSlop), c.now)
			}
		}
		if s.Mode != Strict {
			c.freeHeld()
		}
	}
	if old == nil || old.ExplainRing != s.ExplainRing {
		c.ring, c.ringAt = make([]rawExplain, s.ExplainRing), 0
	}
	c.plan.configure(s, old)
	c.depth.configure(s, old, c.now)
	c.scaleWindow()
	c.plan.at = c.now
}

// half is T/2 in ns.
func (c *Core) half() int64 { return int64(c.set.Window) / 2 }

// margin is v with the margin of over-use added.
func (c *Core) margin(x Speed) Speed {
	return Speed(mulDiv(int64(x), int64(100+c.set.OverMargin), 100))
}

func (c *Core) slop() int64 { return int64(c.set.LimitSlop / time.Nanosecond) }
