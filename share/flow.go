// SPDX-License-Identifier: Apache-2.0

package share

// waiting is why a flow or group is in the timer.
type waiting uint8

const (
	notWaiting waiting = iota
	overLimit
	overGroupLimit // of a flow: its group's
	held           // strict mode
)

// flow is one VM on the LUN.
type flow struct {
	entity
	id   FlowID
	conf *Entitlement
	grp  *group
	queue
	m   meter
	lim limiter

	reserve [2]clock // operations, bytes: R; the rates in force
	since   Instant  // last time it became ready
	last    Instant  // last dispatch
	end     uint64   // where the last dispatched command ends, in sectors
	next    uint64   // where the last submitted one ends
	served  bool     // something was dispatched: last and end count
	fresh   bool     // idle at V or below it at a plan: its virtual time is forgotten

	waits  waiting
	bucket Bucket
	inZero bool
	zprev  *flow
	znext  *flow

	// Means over commands, weight 1/16, times 256.
	meanCost, meanOps, meanBytes int64

	inflight int // dispatched and not complete
	fast     int // of those, past the core, when last told
	parked   int
	parkedBy Reason

	// Of the last plan. active: since then too, once backlogged.
	active, planned bool
	demand          Speed
	reserved, limit Speed // r in force, l; 0: none
	wanted          Speed // r as configured
	x, h            Speed // entitlement now, at the nominal capacity; x the grant while priorities are in force
	keep, grant     Speed
	cutShort        bool
	wasOver         bool
	fastAllowed     bool
	touched         bool // has a new command in this Step
	told            Reason
	toldTag         uint64
	toldHeld        bool
	toldAt          Instant
	total           FlowStatus // the totals of it
	lowered         bool       // reserved < wanted
}

// group is flows that share a part of the LUN.
type group struct {
	entity
	id      GroupID
	conf    GroupEntitlement
	members []*flow
	inside  level
	lim     limiter
	waits   waiting
	bucket  Bucket

	demand, limit, x, h Speed
	lo, hi              int64
}

func flowTie(priority uint8, id FlowID) uint64 {
	return uint64(MaxPriority-priority)<<33 | uint64(id)
}

func groupTie(id GroupID) uint64 { return MaxPriority<<33 | 1<<32 | uint64(id) }

// mean moves a mean that is kept times 256 by one sample.
func mean(m *int64, sample int64) {
	if *m == 0 {
		*m = sample << 8
		return
	}
	*m += (sample<<8 - *m) >> 4
}

// backlogged tells whether a command waits.
func (f *flow) backlogged() bool { return f.n > 0 }

// lead is how far the flow is ahead of its level, in CU.
func (f *flow) lead() Unit { return leadUnits(ahead(f.vt, f.level.v), f.weight) }

func leadUnits(d int64, weight uint32) Unit {
	switch {
	case weight == 0:
		return 0
	case d < 0:
		return -Unit(mulDiv(-d, int64(weight), 1<<32))
	}
	return Unit(mulDiv(d, int64(weight), 1<<32))
}

// setWeight changes the weight in force and keeps the lead in CU.
func (e *entity) setWeight(w uint32) {
	if w == e.weight {
		return
	}
	if e.weight > 0 && w > 0 {
		d := ahead(e.vt, e.level.v)
		if d < 0 {
			e.vt = e.level.v - VirtualTime(mulDiv(-d, int64(e.weight), int64(w)))
		} else {
			e.vt = e.level.v + VirtualTime(mulDiv(d, int64(e.weight), int64(w)))
		}
	} else {
		e.vt = e.level.v
	}
	e.weight, e.inv = w, 0
	if w > 0 {
		e.inv = 1 << 32 / uint64(w)
	}
}

// dueAt gives when the flow must have a command, and by which rule; ok is false
// when it has neither a reservation nor a floor.
func (f *flow) dueAt(floor int64, ablation ablation) (at Instant, phase Phase, ok bool) {
	for i := range f.reserve {
		if k := &f.reserve[i]; k.rate > 0 && (!ok || k.at < at) {
			at, phase, ok = k.at, PhaseReserve, true
		}
	}
	if floor > 0 {
		t := f.since
		if f.served {
			t = max(t, f.last)
		}
		t += Instant(floor)
		if ablation&floorsLast != 0 {
			t += lastPhase
		}
		if !ok || t < at {
			at, phase, ok = t, PhaseFloor, true
		}
	}
	return at, phase, ok
}

// lastPhase puts floors behind all reservations, for the negative control.
const lastPhase = Instant(1) << 56
