// SPDX-License-Identifier: Apache-2.0

package share

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// simEpoch is when virtual time starts: not 0, which Core.Step returns for "no
// wake".
const simEpoch = Instant(time.Second)

// simModel is a LUN in virtual time: clients, the Cores that decide (one,
// but for the control of row 1), and the device. It is deterministic: the same
// set-up gives the same log.
//
// At each instant the device comes first, then timers in the order in which
// they were set, then the cores.
type simModel struct {
	now    Instant
	hosts  []*simHost
	dev    simDevice
	timers simTimers
	// log has all dispatches in their order.
	log []simIO
	// grid: the process runs at multiples of this only. 0: at once.
	grid Instant
	// stallEvery, stallFor: the process stands still so long, so often. 0: never.
	stallEvery, stallFor Instant
	tags, clients        uint64 // made so far
	seed                 uint64 // of addresses and arrivals
	flows                []Entitlement
}

// simHost is one Core and what is to be told to it.
type simHost struct {
	core    *Core
	pending []Event
	spare   []Event
	out     []Dispatch
	wake    Instant // 0: none
	// spent are commands that the core has been told the end of; free once it knows.
	spent   []*simReq
	stalled Instant // end of the last stall that was told
}

// simIO is one dispatch. done is 0 until it has completed.
type simIO struct {
	flow                FlowID
	phase               Phase
	cost                Unit
	arrived, sent, done Instant
}

// simReq is a command on its way; its client uses it again.
type simReq struct {
	cmd     Cmd
	client  *simClient
	io      int // in simModel.log
	arrived Instant
}

// newSim makes a model of a LUN with device and settings, with as many cores
// as n. It panics on settings that are not valid: they are constants of a test.
func newSim(s Settings, dev simDevice, n int) *simModel {
	m := &simModel{now: simEpoch, dev: dev}
	for range n {
		c, err := NewCore(s, m.now)
		if err != nil {
			panic(fmt.Sprintf("settings of a model: %v", err))
		}
		m.hosts = append(m.hosts, &simHost{core: c, out: make([]Dispatch, 0, 32)})
	}
	return m
}

// core is the first, mostly the only one.
func (m *simModel) core() *Core { return m.hosts[0].core }

// at is the instant so long after the start.
func (m *simModel) at(d time.Duration) Instant { return simEpoch + Instant(d) }

// tell queues e for every core, to be applied in this instant.
func (m *simModel) tell(e Event) {
	for _, h := range m.hosts {
		h.pending = append(h.pending, e)
	}
}

// flow adds a flow to all cores.
func (m *simModel) flow(e Entitlement) FlowID {
	id := FlowID(len(m.flows))
	m.flows = append(m.flows, e)
	m.tell(Event{Kind: AddFlow, Flow: id, Entitlement: &e})
	return id
}

// configure sets the entitlement of a flow.
func (m *simModel) configure(id FlowID, e Entitlement) {
	m.flows[id] = e
	m.tell(Event{Kind: ConfigureFlow, Flow: id, Entitlement: &e, Version: 2})
}

// group makes a group.
func (m *simModel) group(id GroupID, g GroupEntitlement) {
	m.tell(Event{Kind: ConfigureGroup, Group: id, GroupEntitlement: &g, Version: 1})
}

// after runs f at an instant.
func (m *simModel) after(t Instant, f func()) { m.timers.add(t, f) }

// run goes on for d and leaves the clock there; what happens in that
// instant has happened.
func (m *simModel) run(d time.Duration) { m.runUntil(m.now + Instant(d)) }

func (m *simModel) runUntil(end Instant) {
	for {
		t := m.next()
		if t > end {
			m.now = max(m.now, end)
			return
		}
		m.now = max(m.now, t)
		for r := m.dev.completed(m.now); r != nil; r = m.dev.completed(m.now) {
			m.complete(r)
		}
		for f := m.timers.due(m.now); f != nil; f = m.timers.due(m.now) {
			f()
		}
		for _, h := range m.hosts {
			if h.wanted() <= m.now && m.mayRun(m.now) <= m.now {
				m.step(h)
				if h.wake != 0 && h.wake <= m.now {
					panic(fmt.Sprintf("at %d: wake %d has passed", m.now, h.wake))
				}
			}
		}
	}
}

// next is when something happens next.
func (m *simModel) next() Instant {
	t := min(m.dev.next(), m.timers.next())
	for _, h := range m.hosts {
		if w := h.wanted(); w != math.MaxInt64 {
			t = min(t, m.mayRun(max(w, m.now)))
		}
	}
	return t
}

// wanted is when the core is to be called, if the process runs.
func (h *simHost) wanted() Instant {
	switch {
	case len(h.pending) > 0:
		return 0
	case h.wake != 0:
		return h.wake
	}
	return math.MaxInt64
}

// mayRun is the first instant from t on at which the process runs.
func (m *simModel) mayRun(t Instant) Instant {
	if m.stallEvery > 0 {
		if in := (t - simEpoch) % m.stallEvery; in < m.stallFor && t-simEpoch >= m.stallEvery {
			t += m.stallFor - in
		}
	}
	if m.grid > 0 {
		t = (t + m.grid - 1) / m.grid * m.grid
	}
	return t
}

// step calls the core until it has no more to send now.
func (m *simModel) step(h *simHost) {
	in := h.pending
	h.pending, h.spare = h.spare[:0], in
	if m.stallEvery > 0 {
		start := m.now - (m.now-simEpoch)%m.stallEvery
		if end := start + m.stallFor; start > simEpoch && end <= m.now && end > h.stalled {
			h.stalled = end
			in = append([]Event{{Kind: Stall, Until: end}}, in...)
		}
	}
	for {
		out, wake := h.core.Step(m.now, in, h.out[:0])
		h.wake = wake
		for _, d := range out {
			r := d.Cmd.Owner.(*simReq)
			r.io = len(m.log)
			m.log = append(m.log, simIO{
				flow: d.Flow, phase: d.Phase, cost: d.Cost,
				arrived: r.arrived, sent: m.now,
			})
			m.dev.add(m.now, simOp{req: r, cost: d.Cost, lba: d.Cmd.LBA, bytes: d.Cmd.Bytes})
		}
		if len(out) < cap(h.out) {
			break
		}
		in = nil
	}
	if h.core.faults != 0 {
		panic(fmt.Sprintf("at %d: the core refused %d events", m.now, h.core.faults))
	}
	for _, r := range h.spent {
		r.client.free = append(r.client.free, r)
	}
	h.spent = h.spent[:0]
}

// complete tells the core that r has ended, and its client.
func (m *simModel) complete(r *simReq) {
	m.log[r.io].done = m.now
	h := m.hosts[r.client.host]
	h.pending = append(h.pending, Event{Kind: Complete, Flow: r.client.flow, Cmd: &r.cmd})
	h.spent = append(h.spent, r)
	if c := r.client; c.closed && !c.stopped {
		c.submit(m, 1)
	}
}

// paths changes what is left of the nominal capacity, to kappa millionths of
// nominal CU/s. On a loss, what is in flight on the path that
// died (every second command) is sent again after the delay redrive.
func (m *simModel) paths(kappa uint32, nominal int64, redrive time.Duration) {
	var lost []simOp
	if kappa < 1e6 {
		lost = m.dev.kill(m.now)
	}
	m.dev.setRate(m.now, nominal*int64(kappa)/1e6)
	m.tell(Event{Kind: Paths, Kappa: kappa})
	for _, op := range lost {
		m.toHost(op.req, PathDown)
	}
	m.after(m.now+Instant(redrive), func() {
		for _, op := range lost {
			m.toHost(op.req, Redrive)
			m.dev.add(m.now, op)
		}
	})
}

func (m *simModel) toHost(r *simReq, k Kind) {
	h := m.hosts[r.client.host]
	h.pending = append(h.pending, Event{Kind: k, Flow: r.client.flow, Cmd: &r.cmd})
}

// explained are the records from an instant on that the ring still has.
func (m *simModel) explained(from Instant) []Explain {
	all := m.core().Explained(nil, 0)
	return slices.DeleteFunc(all, func(e Explain) bool { return e.Time < from })
}

// status is the state of the core now.
func (m *simModel) status() *Snapshot {
	s := new(Snapshot)
	m.core().Snapshot(s)
	return s
}

// simTimers is a heap of actions by (time, order in which they were set).
type simTimers struct {
	heap []simTimer
	seq  uint64
}

type simTimer struct {
	at  Instant
	seq uint64
	run func()
}

func (t simTimer) before(o simTimer) bool {
	return t.at < o.at || t.at == o.at && t.seq < o.seq
}

func (q *simTimers) add(at Instant, f func()) {
	q.seq++
	q.heap = append(q.heap, simTimer{at, q.seq, f})
	for i := len(q.heap) - 1; i > 0; {
		p := (i - 1) / 2
		if !q.heap[i].before(q.heap[p]) {
			return
		}
		q.heap[i], q.heap[p] = q.heap[p], q.heap[i]
		i = p
	}
}

// next is when the first is due.
func (q *simTimers) next() Instant {
	if len(q.heap) == 0 {
		return math.MaxInt64
	}
	return q.heap[0].at
}

// due takes the first out if its time has come; else nil.
func (q *simTimers) due(now Instant) func() {
	if q.next() > now {
		return nil
	}
	f, last := q.heap[0].run, len(q.heap)-1
	q.heap[0] = q.heap[last]
	q.heap[last] = simTimer{}
	q.heap = q.heap[:last]
	for i := 0; ; {
		c := 2*i + 1
		if c+1 < last && q.heap[c+1].before(q.heap[c]) {
			c++
		}
		if c >= last || !q.heap[c].before(q.heap[i]) {
			return f
		}
		q.heap[i], q.heap[c] = q.heap[c], q.heap[i]
		i = c
	}
}
