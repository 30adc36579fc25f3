// SPDX-License-Identifier: Apache-2.0

package share

import (
	"math/rand/v2"
	"slices"
	"time"
)

// traceBytes is where a trace takes its decisions from: a fuzzer's bytes, or
// those of a generator. After the last there are only zeroes.
type traceBytes struct{ rest []byte }

func randomBytes(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func (b *traceBytes) done() bool { return len(b.rest) == 0 }

func (b *traceBytes) byte() byte {
	if b.done() {
		return 0
	}
	v := b.rest[0]
	b.rest = b.rest[1:]
	return v
}

// below is a number from 0 to n-1, n at most 256.
func (b *traceBytes) below(n int) int { return int(b.byte()) % n }

// often is true in about n of 256 cases, never at the end.
func (b *traceBytes) often(n int) bool { return int(b.byte()) > 255-n }

func (b *traceBytes) word() int { return int(b.byte())<<8 | int(b.byte()) }

func oneOf[T any](b *traceBytes, values ...T) T { return values[b.below(len(values))] }

// traceStep is one call of Step.
type traceStep struct {
	now  Instant
	in   []Event
	room int
}

// traceCmd is a command in a trace.
type traceCmd struct {
	cmd  *Cmd
	flow FlowID
	cost Unit
}

// trace makes calls from bytes, and follows what the commands in them come to.
type trace struct {
	traceBytes
	set     Settings
	even    bool   // weights divide 2^32
	scale   uint32 // of all weights
	now     Instant
	wake    Instant
	version uint32
	tag     uint64
	groups  int

	march int // so many calls still at the time that was asked for

	flows    map[FlowID]*traceFlow
	inflight []*traceCmd
	parked   []*traceCmd
	lost     []*traceCmd
	queued   map[*Cmd]*traceCmd

	units    Unit // in the window
	commands int
}

type traceFlow struct {
	queue []*traceCmd // as it must be dispatched
	next  uint64      // where the last submitted command ended
}

const traceFlows = 6 // at once, at most

func newTrace(data []byte) *trace {
	t := &trace{
		traceBytes: traceBytes{data}, scale: 1, now: Instant(time.Hour), flows: map[FlowID]*traceFlow{}, queued: map[*Cmd]*traceCmd{},
	}
	t.even = t.often(128)
	t.set = t.settings()
	t.groups = t.below(4)
	return t
}

// settings are valid ones.
func (t *trace) settings() Settings {
	s := DefaultSettings()
	s.ExplainRing = 512
	s.Capacity = oneOf[int64](&t.traceBytes, 10000, 2000, 200, 50000, 0)
	s.Depth = Unit(oneOf(&t.traceBytes, 4, 1, 16, 33, 64, 0))
	if t.often(64) {
		s.Mode = Strict
	}
	s.PriorityMode = oneOf(&t.traceBytes, PriorityDegraded, PriorityAlways, PriorityOff)
	if !t.often(128) {
		return s
	}
	s.UnitBytes = oneOf[int64](&t.traceBytes, 4096, 512, 65536)
	s.OpsBytes = oneOf[int64](&t.traceBytes, 0, 4096, 16384)
	s.Quantum = 1 + t.below(12)
	s.QuantumBytes = oneOf[int64](&t.traceBytes, 1<<20, 64<<10)
	s.SequentialGap = uint64(oneOf(&t.traceBytes, 0, 8, 2000))
	s.Window = oneOf[time.Duration](&t.traceBytes, 100, 20, 33, 1000) * time.Millisecond
	s.FloorInterval = oneOf[time.Duration](&t.traceBytes, 250, 50, 0) * time.Millisecond
	s.ReserveAhead = oneOf[time.Duration](&t.traceBytes, 20, 1, 200) * time.Millisecond
	s.LimitSlop = oneOf[time.Duration](&t.traceBytes, 2, 1, 20) * time.Millisecond
	s.IdleCreditMax = Unit(oneOf(&t.traceBytes, 1024, 0, 16))
	s.PlanPeriod = oneOf[time.Duration](&t.traceBytes, 100, 20, 47) * time.Millisecond
	s.OverMargin = oneOf(&t.traceBytes, 5, 0, 50)
	s.TierKeep = oneOf(&t.traceBytes, 10, 0, 50)
	s.DegradedBelow = oneOf(&t.traceBytes, 90, 50, 100)
	s.DepthStart = Unit(oneOf(&t.traceBytes, 64, 8))
	s.LatencyTarget = oneOf[time.Duration](&t.traceBytes, 5000, 200, 25000) * time.Microsecond
	s.CapacityModel = oneOf(&t.traceBytes, CapacitySum, CapacityShared)
	if t.often(64) {
		s.CostModel = CostCalibrated
		s.Calibration = Calibration{
			MaxIOPS:    40000,
			RandomRead: ClassCost{20000, 8192}, SequentialRead: ClassCost{40000, 16384},
			RandomWrite: ClassCost{7000, 4096}, SequentialWrite: ClassCost{13000, 5000},
		}
	}
	return s
}

func (t *trace) weight() uint32 {
	if t.even {
		return t.scale * oneOf[uint32](&t.traceBytes, 1024, 512, 2048, 1, 16384, 0)
	}
	return t.scale * oneOf(&t.traceBytes, 1000, 500, 2000, uint32(1+t.word()), 0, 3, MaxShares)
}

// entitlement is a valid one.
func (t *trace) entitlement() Entitlement {
	e := Entitlement{Weight: t.weight(), Priority: uint8(t.below(MaxPriority + 1))}
	if t.groups > 0 && t.often(96) {
		e.Group = GroupID(1 + t.below(t.groups))
	}
	if t.often(64) {
		e.IdleCredit = Unit(t.below(200))
	}
	if t.often(64) {
		e.Limits = t.limits()
	}
	if t.often(64) {
		e.Reservation.Ops = int64(1 + 7*t.below(256))
	}
	if t.often(32) {
		e.Reservation.Bytes = 4096 * int64(1+9*t.below(256))
	}
	if e.Validate() != nil {
		e.Reservation = Rate{}
	}
	return e
}

func (t *trace) limits() (l Limits) {
	ceiling := func() (c Ceiling) {
		if t.often(192) {
			c.Rate.Ops = int64(1 + 11*t.below(256))
			if t.often(96) {
				c.Burst.Ops = int64(1 + t.below(64))
			} else if t.often(64) {
				c.Peak.Ops, c.PeakLength = c.Rate.Ops*3, 250*time.Millisecond
			}
		}
		if t.often(64) {
			c.Rate.Bytes = int64(4096 + 40001*t.below(256))
			if t.often(96) {
				c.Burst.Bytes = int64(1<<20 + 4096*t.below(256))
			} else if t.often(64) {
				c.Peak.Bytes = c.Rate.Bytes * 2
			}
		}
		return c
	}
	l.Total = ceiling()
	if t.often(64) {
		l.Read = ceiling()
	}
	if t.often(64) {
		l.Write = ceiling()
	}
	return l
}

func (t *trace) groupEntitlement() *GroupEntitlement {
	g := &GroupEntitlement{}
	if t.often(128) {
		g.Weight = max(t.scale, t.weight())
	}
	if t.often(48) {
		g.Limits = t.limits()
	}
	return g
}

// prelude makes the groups, before there are flows.
func (t *trace) prelude() traceStep {
	s := traceStep{now: t.now}
	for i := range t.groups {
		s.in = append(s.in, Event{Kind: ConfigureGroup, Group: GroupID(1 + i), GroupEntitlement: t.groupEntitlement()})
	}
	return s
}

// first adds flows.
func (t *trace) first() traceStep {
	s := traceStep{now: t.now, room: 32}
	for id := range FlowID(1 + t.below(traceFlows)) {
		s.in = append(s.in, t.addFlow(id))
	}
	return s
}

func (t *trace) addFlow(id FlowID) Event {
	e := t.entitlement()
	t.flows[id] = &traceFlow{next: uint64(id) << 20}
	return Event{Kind: AddFlow, Flow: id, Entitlement: &e}
}

// next is the call after those before, whose results settle has been told.
func (t *trace) next() traceStep {
	if t.march > 0 {
		t.march--
		t.now = max(t.now, t.wake)
		s := traceStep{now: t.now, in: t.completions(), room: 32}
		if t.march%4 == 0 {
			s.in = append(s.in, t.submissions()...)
		}
		return s
	}
	t.advance()
	s := traceStep{now: t.now, room: 32}
	if t.often(24) {
		s.room = t.below(4)
	}
	if t.often(4) {
		s.now -= Instant(t.word()) * 1000 // counts as the last one
	}
	if t.often(100) {
		s.in = append(s.in, t.completions()...)
	}
	for range t.below(4) {
		s.in = append(s.in, t.submissions()...)
	}
	if t.often(40) {
		s.in = append(s.in, t.rare()...)
	}
	return s
}

func (t *trace) advance() {
	switch b := t.byte(); {
	case b < 40:
	case b < 140:
		t.now += Instant(t.word()) * 20 // up to 1.3 ms
	case b < 180:
		t.now += Instant(t.word()) * 1000 // up to 65 ms
	case b < 200:
		t.now = max(t.now, t.wake)
	case b < 210:
		t.now = max(t.now, t.wake-1)
	case b < 216:
		t.now += Instant(t.word()) * 200_000 // up to 13 s
	default:
		t.now += Instant(t.byte()) * 20_000
	}
}

// completions ends the first so many commands in flight, or one anywhere.
func (t *trace) completions() (in []Event) {
	all := t.often(64)
	for range t.below(8) {
		if len(t.inflight) == 0 {
			break
		}
		i := 0
		if all {
			i = t.below(min(256, len(t.inflight)))
		}
		in = append(in, t.complete(&t.inflight, i))
	}
	return in
}

func (t *trace) complete(from *[]*traceCmd, i int) Event {
	c := (*from)[i]
	*from = slices.Delete(*from, i, i+1)
	if from == &t.inflight {
		t.units -= c.cost
		t.commands--
	}
	return Event{Kind: Complete, Cmd: c.cmd}
}

// someFlow is one of the flows, in a sure order.
func (t *trace) someFlow() (FlowID, *traceFlow) {
	ids := make([]FlowID, 0, len(t.flows))
	for id := range t.flows {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return NoFlow, nil
	}
	slices.Sort(ids)
	id := ids[t.below(len(ids))]
	return id, t.flows[id]
}

// submissions are some commands of one flow.
func (t *trace) submissions() (in []Event) {
	id, f := t.someFlow()
	if f == nil {
		return nil
	}
	n := oneOf(&t.traceBytes, 1, 1, 2, 4, 8)
	sequential := t.often(96)
	bytes := oneOf[uint32](&t.traceBytes, 4096, 4096, 0, 512, 4097, 8192, 65536, 1<<20, uint32(t.word()*3))
	for range n {
		t.tag++
		c := &Cmd{Tag: t.tag, LBA: f.next, Bytes: bytes, Class: Class(1 + t.tag%3/2)}
		if t.often(8) {
			c.Class = ClassOther
		}
		if !sequential || t.often(16) {
			c.LBA = uint64(t.word()) * 8
		} else if t.often(32) {
			c.LBA += uint64(t.below(12))
		}
		c.HeadOfQueue = t.often(6)
		f.next = c.LBA + (uint64(c.Bytes)+511)/512
		tc := &traceCmd{cmd: c, flow: id}
		t.queued[c] = tc
		if c.HeadOfQueue {
			f.queue = slices.Insert(f.queue, 0, tc)
		} else {
			f.queue = append(f.queue, tc)
		}
		in = append(in, Event{Kind: Submit, Flow: id, Cmd: c})
	}
	return in
}

// settle follows what a call has done.
func (t *trace) settle(out []Dispatch, returned []*Cmd, wake Instant) {
	t.wake = wake
	for _, d := range out {
		c := t.queued[d.Cmd]
		c.cost = d.Cost
		t.unqueue(c)
		t.inflight = append(t.inflight, c)
		t.units += d.Cost
		t.commands++
	}
	for _, r := range returned {
		if c := t.queued[r]; c != nil {
			t.unqueue(c)
		}
	}
}

func (t *trace) unqueue(c *traceCmd) {
	delete(t.queued, c.cmd)
	if f := t.flows[c.flow]; f != nil {
		f.queue = slices.DeleteFunc(f.queue, func(o *traceCmd) bool { return o == c })
	}
}
