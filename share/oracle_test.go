// SPDX-License-Identifier: Apache-2.0

package share

import (
	"math/big"
	"slices"
)

// This and the other oracle_*_test.go files are design.md a second time: plain
// slices, linear scans, exact rational clocks, nothing kept that can be worked
// out. It is slow on purpose, and shares nothing with the core but the types of
// its API. Only the exported fields of a command are looked at.

// refCmd is what the oracle knows about a command.
type refCmd struct {
	cmd        *Cmd
	flow       *refFlow
	state      refState
	cost       Unit
	dispatched Instant
	noSample   bool
}

type refState uint8

const (
	refQueued refState = iota + 1
	refInFlight
	refParked
	refLost
	refGone // the caller's again
)

// refEntity is what competes at a level: a flow or a group.
type refEntity struct {
	vt     uint64
	weight uint32 // in force
	level  *refLevel
}

func (e *refEntity) inv() uint64 {
	if e.weight == 0 {
		return 0
	}
	return (1 << 32) / uint64(e.weight)
}

// refLevel is the root, or the inside of a group.
type refLevel struct{ v uint64 }

// refWait is why a flow or group is in the timer.
type refWait uint8

const (
	refNoWait refWait = iota
	refLimited
	refGroupLimited
	refHeld
)

type refFlow struct {
	refEntity
	id    FlowID
	conf  Entitlement
	group *refGroup // nil: none
	queue []*refCmd // head first

	ready  bool // in ready, or in the ring
	wait   refWait
	until  Instant
	bucket Bucket
	fresh  bool

	hasDue   bool
	due      Instant
	duePhase Phase

	since, last Instant
	served      bool
	reserve     [2]refClock // operations, bytes
	limits      refLimits

	end, submitEnd uint64
	cb, ob, bb     int64 // means, times 256

	inflight, parked, fast int
	parkedBy               Reason

	meter refMeter

	// Of the last plan.
	wasActive, planned     bool
	demand                 int64 // -1: unbounded
	reserveConf, reserveIn int64 // mCU/s, as configured and in force
	limit                  int64 // mCU/s, 0: none
	x, h, grant            int64
	cutShort               bool
	mayPass                bool // past the core

	told struct {
		cmd    *Cmd
		reason Reason
		held   bool
	}
}

type refGroup struct {
	refEntity
	id     GroupID
	conf   GroupEntitlement
	inside refLevel
	inRoot bool // in ready of the root
	wait   refWait
	until  Instant
	bucket Bucket
	limits refLimits
	x, h   int64
}

// refCore is the scheduler.
type refCore struct {
	set     Settings
	version uint32
	now     Instant

	flows  []*refFlow  // by id
	groups []*refGroup // by id
	cmds   map[*Cmd]*refCmd
	root   refLevel
	ring   []*refFlow // of ready flows of weight 0

	inflight Unit
	commands int
	bound    int // on commands; 0: none
	told     int // by Commands
	sinceTSF int // epochs since a TaskSetFull

	planned bool // in this Step

	run struct {
		flow *refFlow
		n    int
		cu   Unit
	}

	kappa, lastKappa uint32
	planAt, lastPlan Instant
	plans            uint64
	capacity         int64 // C_eff in mCU/s; 0: not known
	nominal          int64
	whole            bool  // an epoch has ended with all paths up
	floor            int64 // T_st in force
	inForce          bool
	dropped          bool // Kappa fell since the last plan
	degraded         refDegraded
	awake            bool
	depth            refDepth

	touched  []*refFlow
	returned []*Cmd
	records  []Explain
	seq      uint64
	faults   uint64
}

const refFull = 1_000_000 // Kappa with all paths up

func newRefCore(s Settings, now Instant) *refCore {
	c := &refCore{set: s, now: now, cmds: map[*Cmd]*refCmd{}}
	c.kappa, c.lastKappa = refFull, refFull
	c.planAt, c.lastPlan = now, now
	c.configureCapacity(nil)
	c.depth.configure(c, nil)
	return c
}

func (c *refCore) Step(now Instant, in []Event, out []Dispatch) ([]Dispatch, Instant) {
	now = max(now, c.now)
	c.depth.pass(int64(now - c.now))
	c.now = now
	c.returned, c.records, c.touched = nil, nil, nil
	ended := false
	for i := range in {
		ended = c.apply(&in[i]) || ended
	}
	if ended {
		c.freeHeld()
	}
	c.expireTimers()
	if now >= c.depth.epochAt {
		c.depth.epoch(c)
	}
	if c.planned = now >= c.planAt; c.planned {
		c.plan()
	}
	full := false
	for c.open() {
		if len(out) == cap(out) {
			full = true
			break
		}
		p := c.choose()
		c.moveToTimer(p.moved)
		if p.flow == nil {
			break
		}
		out = append(out, c.charge(p))
	}
	c.depth.limited = c.kappa > 0 && !c.open() && c.someReady()
	c.depth.waited = c.depth.waited || c.depth.limited
	if c.planned {
		for _, f := range c.flows {
			if f != nil {
				c.tell(f)
			}
		}
	}
	for _, f := range c.touched {
		c.tell(f)
	}
	return out, c.wake(full)
}

// open: the window has room, and a path is up.
func (c *refCore) open() bool {
	return c.kappa > 0 && c.inflight < c.depth.room && (c.bound == 0 || c.commands < c.bound)
}

// someReady: someone could go at once, had the window room.
func (c *refCore) someReady() bool {
	for _, f := range c.flows {
		if f != nil && f.ready && (f.group == nil || f.weight == 0 || f.group.inRoot) {
			return true
		}
	}
	return false
}

func (c *refCore) wake(full bool) Instant {
	if full {
		return max(c.now, 1)
	}
	var times []Instant
	for _, f := range c.flows {
		if f == nil {
			continue
		}
		if f.wait != refNoWait {
			times = append(times, f.until)
		}
		if f.hasDue && c.open() {
			times = append(times, f.due)
		}
	}
	for _, g := range c.groups {
		if g != nil && g.wait != refNoWait {
			times = append(times, g.until)
		}
	}
	if c.awake {
		times = append(times, c.planAt, c.depth.epochAt)
	}
	if len(times) == 0 {
		return 0
	}
	return max(slices.Min(times), 1)
}

func (c *refCore) Returned() []*Cmd { return c.returned }

func (c *refCore) flow(id FlowID) *refFlow {
	if int64(id) < int64(len(c.flows)) {
		return c.flows[id]
	}
	return nil
}

func (c *refCore) groupOf(id GroupID) *refGroup {
	if int64(id) < int64(len(c.groups)) {
		return c.groups[id]
	}
	return nil
}

func (f *refFlow) backlogged() bool { return len(f.queue) > 0 }

func (f *refFlow) head() *refCmd { return f.queue[0] }

// active: backlogged, in flight, or served within the two slots.
func (c *refCore) active(f *refFlow) bool {
	return f.backlogged() || f.inflight > 0 || f.fast > 0 || f.meter.used(c.now) > 0
}

func (c *refCore) otherActive(f *refFlow) bool {
	for _, o := range c.flows {
		if o != nil && o != f && o.wasActive {
			return true
		}
	}
	return false
}

// over: more use than the entitlement and its margin.
func (c *refCore) over(f *refFlow) bool {
	return c.capacity > 0 && f.planned && f.meter.rate(c.now) > refMulDiv(f.x, int64(100+c.set.OverMargin), 100)
}

// before orders flows of the same key: higher priority, then lower id.
func (f *refFlow) before(o *refFlow) bool {
	if f.conf.Priority != o.conf.Priority {
		return f.conf.Priority > o.conf.Priority
	}
	return f.id < o.id
}

// refBehind: virtual time a is behind b.
func refBehind(a, b uint64) bool { return int64(a-b) < 0 }

func refLater(a, b uint64) uint64 {
	if refBehind(a, b) {
		return b
	}
	return a
}

// refMulDiv is a*b/c, rounded down, at most the largest int64.
func refMulDiv(a, b, c int64) int64 {
	n := new(big.Int).Mul(big.NewInt(a), big.NewInt(b))
	n.Quo(n, big.NewInt(c))
	return refInt(n)
}

func refInt(n *big.Int) int64 {
	if !n.IsInt64() {
		return 1<<63 - 1
	}
	return n.Int64()
}

func refCeil(a, b int64) int64 { return (a + b - 1) / b }
