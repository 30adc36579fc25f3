// SPDX-License-Identifier: Apache-2.0

package share

import (
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// Disk is the scheduler of one LUN for concurrent use: a Core, and around it
//
//  1. Submit (the submitter's goroutine). Nobody waits and the window has room:
//     the commands pass the core; one compare-and-swap takes their place in the
//     window. Else they go into the inbox.
//  2. A turn (disk_turn.go; whoever finds the owner's lock free, for all): what
//     is in the inbox goes to Core.Step, what that dispatches into the outbox.
//     Who finds it taken leaves a mark and returns; the owner looks again.
//  3. issue (one goroutine at a time, in order, with no lock): the outbox goes
//     to the device.
//  4. Complete (any goroutine): leaves the window and tells whether somebody
//     waits; if so a Pull makes the next turn.
//
// Invariant: commands of one Submit, and of Submits that follow each other, are
// issued in that order if they are of one flow and class. So what passes the core has to
// find neither a command that waits nor one that is being handed down: both
// count as queued in the word.
//
// All methods are safe for concurrent use. The lock is held for the length of a
// turn and never over issue. Make it with NewDisk.
type Disk struct {
	issue func(ctx any, cmds []*Cmd)
	pacer *Pacer

	// What every command reads; set by the owner.
	depth   atomic.Int64  // the window, CU
	most    atomic.Int64  // bound on commands in the window
	shift   atomic.Uint32 // log2 of Settings.UnitBytes
	sparse  atomic.Uint32 // latencies: one in sparse+1 is measured
	guard   atomic.Int64  // ns: who is late by more has stood still
	stalled atomic.Int64  // Instant: end of the last stall
	_       [64]byte

	word     word
	commands atomic.Int64 // in the window
	_        [48]byte

	completed atomic.Int64  // CU, since the last turn
	samples   atomic.Uint64 // of the latency, since the last turn: number and sum
	_         [48]byte

	inbox  atomic.Pointer[Cmd]  // newest first
	dirty  atomic.Pointer[Flow] // served past the core since the last turn
	again  atomic.Bool          // the owner is to look again
	news   atomic.Uint32        // what else has happened, as bits
	kappa  atomic.Uint32        // newsPaths
	count  atomic.Int32         // newsCommands
	refuse atomic.Int64         // newsRefusing: commands of that patience and less

	mu       sync.Mutex // the owner's
	core     *Core
	set      Settings
	flows    []*Flow // by FlowID; nil: none
	free     []FlowID
	waiting  fifo // out of the inbox, not in the core yet
	inCore   int  // commands that wait there
	outbox   fifo // dispatched, not issued
	chunk    [maxIssue]*Cmd
	issuing  int // of chunk, being issued; 0: nobody issues
	issued   sync.Cond
	closed   bool
	refusing int64 // as it was told; 0: none
	hand     bool  // it has been told since the last turn
	events   []Event
	out      [turnEvents]Dispatch
	plans    uint64
	planAt   Instant
	measured int64 // latencies, since the last plan
	beating  bool  // has the pacer watch for stalls
	pressed  bool  // somebody waited since the last plan

	pace pacing // the pacer's
}

const (
	// maxIssue is the most commands of one call of issue.
	maxIssue = 32
	// turnEvents is the most commands that enter or leave the core in one turn.
	turnEvents = 64
	// maxTurns is how many turns one caller makes for others before the pacer
	// has to go on: nobody is kept from its own work.
	maxTurns = 64
	// sparseSamples: where more latencies than manySamples come in a plan's
	// period, one in 8 is measured, since a look at the clock is not free.
	sparseSamples, manySamples = 7, 256
	// foldAhead is how long before the meter's next slot what has passed the core
	// is counted: a timer may be that late.
	foldAhead = Instant(2 * time.Millisecond)
	// longestLatency is what a longer latency counts as: 4096 of these fit into
	// Disk.samples.
	longestLatency = int64(4 * time.Second)
	// stallGuard is the least time that the process has to stand still for
	// latencies to be void (SCHEDULER 2.10).
	stallGuard = 2 * time.Millisecond
	noBound    = math.MaxInt64
)

// Bits of Disk.news.
const (
	newsPaths uint32 = 1 << iota
	newsCommands
	newsFull
	newsStall
	newsRefusing
	newsClosing = newsPaths | newsCommands | newsFull | newsRefusing
)

// cmdShell is what Disk keeps in a command. Guarded by who has the command: the
// submitter, the owner while where says so, then the device's lock.
type cmdShell struct {
	flow    *Flow
	next    *Cmd
	at      Instant // when it was issued, if its latency is measured; else 0
	uses    uint32
	outside outside
	where   where // guarded by Disk.mu
}

// outside is why a command that was issued is not in the window.
type outside uint8

const (
	inWindow outside = iota
	parkedOutside
	lostOutside
)

// where is which queue a command is in.
type where uint8

const (
	nowhere   where = iota // with the caller, on its way to the inbox, or issued
	inWaiting              // Disk.waiting
	inCore
	inOutbox
)

// NewDisk makes the scheduler of a LUN. issue sends commands to the device, at
// most 32, in order; it borrows the slice, and is called with no lock held but
// never by two at once for commands that had waited. ctx is what Submit or Pull
// was given, and the pacer's own when that pulled. It must not call Submit or
// Pull. Close when done.
func NewDisk(s Settings, p *Pacer, issue func(ctx any, cmds []*Cmd)) (*Disk, error) {
	core, err := NewCore(s, p.Now())
	if err != nil {
		return nil, err
	}
	d := &Disk{issue: issue, pacer: p, core: core, set: s}
	d.issued.L = &d.mu
	d.pace.init()
	d.takeSettings()
	d.mu.Lock()
	d.turn(0)
	d.mu.Unlock()
	return d, nil
}

func (d *Disk) takeSettings() {
	d.shift.Store(uint32(bits.TrailingZeros64(uint64(d.set.UnitBytes))))
	d.guard.Store(int64(max(stallGuard, d.set.LatencyTarget/4)))
}

// Submit takes commands of f, in order. Some may be issued before it returns.
// The slice is borrowed, the commands are the scheduler's until their
// completion.
func (d *Disk) Submit(ctx any, f *Flow, cmds []*Cmd) {
	if d.submit(ctx, f, cmds) {
		d.combine(ctx, false)
	}
}

// SubmitAhead is Submit for a caller that will make a Pull soon: what has to wait
// is left to that.
func (d *Disk) SubmitAhead(ctx any, f *Flow, cmds []*Cmd) { d.submit(ctx, f, cmds) }

// submit tells whether a turn is needed for what had to wait.
func (d *Disk) submit(ctx any, f *Flow, cmds []*Cmd) (turn bool) {
	for len(cmds) > 0 {
		n := d.pass(f, cmds)
		if n == 0 {
			break
		}
		d.issue(ctx, cmds[:n])
		cmds = cmds[n:]
	}
	if len(cmds) == 0 {
		return false
	}
	d.word.addQueued(len(cmds))
	oldest, newest := cmds[0], (*Cmd)(nil)
	for _, c := range cmds {
		c.shell.flow, c.shell.next = f, newest
		newest = c
	}
	for {
		head := d.inbox.Load()
		oldest.shell.next = head
		if d.inbox.CompareAndSwap(head, newest) {
			break
		}
	}
	// While the window is full, only a completion can change anything; it will
	// ask for a pull, and the inbox can wait for that. open: or for a plan.
	w := d.word.load()
	return !w.open() || w.inFlight() < d.depth.Load()
}

// pass takes room in the window for the first commands of cmds and tells for
// how many; 0: they have to queue. It is the path that most commands go:
// no lock, heap or allocation.
func (d *Disk) pass(f *Flow, cmds []*Cmd) int {
	if !f.fast.Load() {
		return 0
	}
	if len(cmds) > maxIssue {
		cmds = cmds[:maxIssue]
	}
	for {
		// The word first: if the window or the price changes after that, the word has
		// changed too.
		w := d.word.load()
		if !w.open() || w.queued() != 0 {
			return 0
		}
		shift, room := d.shift.Load(), d.depth.Load()-w.inFlight()
		var n int
		var sum int64
		for n < len(cmds) && sum < room {
			c := cmds[n]
			c.cost = 1
			if c.Class != ClassOther && c.Bytes > 0 {
				c.cost = Unit((int64(c.Bytes)-1)>>shift + 1)
			}
			sum += int64(c.cost)
			n++
		}
		if n == 0 {
			return 0
		}
		if d.commands.Add(int64(n)) > d.most.Load() {
			d.commands.Add(-int64(n))
			return 0
		}
		if d.word.swap(w, w.plus(sum)) {
			d.passed(f, cmds[:n], sum)
			return n
		}
		d.commands.Add(-int64(n))
	}
}

// passed accounts for commands that have passed the core.
func (d *Disk) passed(f *Flow, cmds []*Cmd, sum int64) {
	if f.account.add(len(cmds), sum) == 0 {
		for {
			head := d.dirty.Load()
			f.nextDirty = head
			if d.dirty.CompareAndSwap(head, f) {
				break
			}
		}
	}
	sparse := d.sparse.Load()
	now := Instant(0)
	for _, c := range cmds {
		c.shell.flow = f
		if now == 0 && (c.shell.uses+1)&sparse == 0 {
			now = d.pacer.Now()
		}
		c.measure(now, sparse)
	}
}

// measure has c's latency measured, from now, if it is its turn.
func (c *Cmd) measure(now Instant, sparse uint32) {
	s := &c.shell
	s.uses++
	s.at = 0
	if s.uses&sparse == 0 {
		s.at = now
	}
}

// Complete takes the end of c, which was issued, whatever its result. The
// command is the caller's again. pull: others wait, and a Pull has to follow.
func (d *Disk) Complete(c *Cmd) (pull bool) {
	s := &c.shell
	var w state
	switch s.outside {
	case inWindow:
		d.commands.Add(-1) // before the word: who sees no room has the pull follow
		w = d.word.add(-int64(c.cost))
	case parkedOutside:
		s.flow.parked.Add(-1)
		w = d.word.load()
	case lostOutside:
		w = d.word.load()
	}
	s.outside = inWindow
	s.flow.account.end()
	d.completed.Add(int64(c.cost))
	if s.at != 0 {
		d.sample(s.at)
	}
	return w.queued() > 0
}

// sample counts a latency, unless the process has stood still meanwhile: then
// it would make a busy process look like a busy device.
func (d *Disk) sample(at Instant) {
	now := d.pacer.Now()
	if at < Instant(d.stalled.Load()) || d.pacer.late(now) > d.guard.Load() {
		return
	}
	d.samples.Add(1<<sampleShift | uint64(min(max(int64(now-at), 0), longestLatency)))
}

// sampleShift splits Disk.samples into number and sum in ns: about a million,
// and four hours.
const sampleShift = 44

// Pull has a turn made, after a completion or event that asked for it.
func (d *Disk) Pull(ctx any) { d.combine(ctx, true) }
