// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"slices"
	"time"

	wire "pathgate/internal/iscsi"
	"pathgate/internal/scsi"
)

// Target is one target process with one target name. All its fields are guarded by
// Network.mu but those that never change.
type Target struct {
	n       *Network
	name    string
	b       Behaviour
	units   map[uint16]*Unit
	conns   []*session
	dead    bool
	stopped chan struct{} // not nil: SIGSTOP; closed by SIGCONT
	later   []func()      // of workers, for SIGCONT
	tsih    uint16
	life    int // counts starts
}

// Target makes a process that listens on portals.
func (n *Network) Target(name string, b Behaviour, portals ...string) *Target {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := &Target{n: n, name: name, b: b, units: map[uint16]*Unit{}}
	for _, p := range portals {
		n.portals[p] = t
	}
	return t
}

// Stop is SIGSTOP: what comes is not read, workers stand still.
func (t *Target) Stop() {
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	if t.stopped == nil {
		t.stopped = make(chan struct{})
	}
}

// Cont is SIGCONT.
func (t *Target) Cont() {
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	t.contLocked()
}

func (t *Target) contLocked() {
	if t.stopped == nil {
		return
	}
	close(t.stopped)
	t.stopped = nil
	later := t.later
	t.later = nil
	for _, f := range later {
		f()
	}
}

// Kill is SIGKILL: connections end, what was not read or not yet done never is,
// and registrations are gone.
func (t *Target) Kill() {
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	if t.dead {
		return
	}
	t.dead, t.later = true, nil
	t.life++
	t.contLocked()
	for _, s := range slices.Clone(t.conns) {
		s.endLocked(true)
	}
	for _, u := range t.units {
		u.forgetLocked()
	}
}

// Start starts a killed process again.
func (t *Target) Start() {
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	t.dead = false
}

// afterLocked runs f, with the lock, when d has gone by and the process runs. It
// dies with the process.
func (t *Target) afterLocked(d time.Duration, f func()) {
	life := t.life
	run := func() {
		switch {
		case life != t.life:
		case t.stopped != nil:
			t.later = append(t.later, f)
		default:
			f()
		}
	}
	if d == 0 {
		run()
		return
	}
	time.AfterFunc(d, func() {
		t.n.mu.Lock()
		defer t.n.mu.Unlock()
		run()
	})
}

// acceptLocked has the process serve a new connection.
func (t *Target) acceptLocked(c *conn) {
	c.owner = t
	s := &session{t: t, c: c, tasks: map[wire.InitiatorTaskTag]*task{}}
	t.conns = append(t.conns, s)
	go s.run()
}

// Sessions is how many connections the process has.
func (t *Target) Sessions() int {
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	return len(t.conns)
}

// Unit is one LUN of one process. Guarded by Network.mu.
type Unit struct {
	t       *Target
	m       *Medium
	id      scsi.Designator
	keys    []uint64
	running map[*task]bool
	waits   []func() // for running to be empty
	attn    map[*session]scsi.Sense
	delay   func() time.Duration
	swallow func() bool
}

// Unit makes LUN lun on a medium.
func (t *Target) Unit(lun uint16, m *Medium, id scsi.Designator) *Unit {
	t.n.mu.Lock()
	defer t.n.mu.Unlock()
	u := &Unit{t: t, m: m, id: id, running: map[*task]bool{}, attn: map[*session]scsi.Sense{}}
	t.units[lun] = u
	return u
}

func (u *Unit) forgetLocked() {
	u.keys, u.waits = nil, nil
	clear(u.running)
	clear(u.attn)
}

// Slow has each read and write take what f says; nil: no time.
func (u *Unit) Slow(f func() time.Duration) {
	u.t.n.mu.Lock()
	defer u.t.n.mu.Unlock()
	u.delay = f
}

// Swallow has reads and writes that f chooses never run and never be answered.
func (u *Unit) Swallow(f func() bool) {
	u.t.n.mu.Lock()
	defer u.t.n.mu.Unlock()
	u.swallow = f
}

// idleLocked calls f when no write of the unit runs.
func (u *Unit) idleLocked(f func()) {
	if len(u.running) == 0 {
		f()
		return
	}
	u.waits = append(u.waits, f)
}

// Medium is what the bytes are on. Guarded by the network's lock; several units of
// one network may share it.
type Medium struct{ b []byte }

// NewMedium makes one of zeros.
func NewMedium(size int) *Medium { return &Medium{make([]byte, size)} }

// ReadAt reads it at rest. It implements io.ReaderAt.
func (m *Medium) ReadAt(p []byte, off int64) (int, error) { return copy(p, m.b[off:]), nil }
