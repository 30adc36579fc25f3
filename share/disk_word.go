// SPDX-License-Identifier: Apache-2.0

package share

import "sync/atomic"

// word is what decides in one step whether a command may pass the core: how
// many commands are queued, how many CU are in flight, and whether passing is
// allowed at all.
//
//	bits 40-63  commands that wait or are being handed to the device
//	bits 8-39   CU in the window
//	bits 1-7    counts changes of the window, so that who has read the old one fails
//	bit 0       open: commands may pass
//
// A command costs at most 2^23 CU and the credits of all flows bound what can
// be sent again at once, so no field runs over.
type word struct{ v atomic.Uint64 }

// state is a value of a word.
type state uint64

const (
	wordOpen    = 1
	wordStep    = 1 << 1
	wordFlags   = 1<<8 - 1
	flightShift = 8
	queuedShift = 40
)

func (s state) open() bool         { return s&wordOpen != 0 }
func (s state) inFlight() int64    { return int64(s >> flightShift & (1<<32 - 1)) }
func (s state) queued() int64      { return int64(s >> queuedShift) }
func (s state) plus(n int64) state { return s + state(n)<<flightShift }

func (w *word) load() state               { return state(w.v.Load()) }
func (w *word) swap(old, next state) bool { return w.v.CompareAndSwap(uint64(old), uint64(next)) }
func (w *word) add(units int64) state     { return state(w.v.Add(uint64(units) << flightShift)) }
func (w *word) addQueued(commands int)    { w.v.Add(uint64(commands) << queuedShift) }
func (w *word) subQueued(commands int)    { w.v.Add(-(uint64(commands) << queuedShift)) }
func (w *word) takeBack(n int, units Unit) {
	w.v.Add(-(uint64(n)<<queuedShift + uint64(units)<<flightShift))
}

// withOpen is s with the way past the core open or closed, and a step further.
func (s state) withOpen(open bool) state {
	flags := (s + wordStep) & wordFlags &^ wordOpen
	if open {
		flags |= wordOpen
	}
	return s&^wordFlags | flags
}

// close closes the way past the core.
func (w *word) close() {
	for s := w.load(); !w.swap(s, s.withOpen(false)); {
		s = w.load()
	}
}

// step has whoever has read the word before not get through with it.
func (w *word) step() {
	for s := w.load(); !w.swap(s, s.withOpen(s.open())); {
		s = w.load()
	}
}

// account is what a flow has outstanding, and what it was served past the core
// since the owner last looked.
//
//	bits 40-63  commands issued and not complete, and those in the outbox
//	bits 0-39   CU
type account struct{ v atomic.Uint64 }

const (
	accountShift = 40
	accountUnits = 1<<accountShift - 1
)

// add counts commands that pass the core; it gives the CU that were there.
func (a *account) add(commands int, units int64) int64 {
	n := uint64(commands)<<accountShift | uint64(units)
	return int64((a.v.Add(n) - n) & accountUnits)
}

func (a *account) begin()        { a.v.Add(1 << accountShift) }
func (a *account) end()          { a.v.Add(^uint64(1<<accountShift - 1)) }
func (a *account) inFlight() int { return int(a.v.Load() >> accountShift) }

// take empties the CU, and tells the commands too.
func (a *account) take() (units Unit, commands int) {
	v := a.v.And(^uint64(accountUnits))
	return Unit(v & accountUnits), int(v >> accountShift)
}

// fifo is a queue of commands linked by cmdShell.next. Not safe for concurrent
// use.
type fifo struct{ first, last *Cmd }

func (q *fifo) empty() bool { return q.first == nil }

func (q *fifo) push(c *Cmd) {
	c.shell.next = nil
	if q.last != nil {
		q.last.shell.next = c
	} else {
		q.first = c
	}
	q.last = c
}

// join appends a chain of commands.
func (q *fifo) join(first, last *Cmd) {
	if q.last != nil {
		q.last.shell.next = first
	} else {
		q.first = first
	}
	q.last = last
}

func (q *fifo) pop() *Cmd {
	c := q.first
	if q.first = c.shell.next; q.first == nil {
		q.last = nil
	}
	c.shell.next = nil
	return c
}

// filter takes those out of the queue for which it is asked to.
func (q *fifo) filter(out func(*Cmd) bool) {
	all := *q
	*q = fifo{}
	for !all.empty() {
		if c := all.pop(); !out(c) {
			q.push(c)
		}
	}
}
