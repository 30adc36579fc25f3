// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"time"

	"pathgate/gateway/scsi"
	wire "pathgate/internal/iscsi"
	spc "pathgate/internal/scsi"
)

// taskState is where a task is.
//
//	free --> held --> collecting --> running --> free
//	  +---------------^   |   +------------------^
//	                      +--> ended ------------^   (answered, when all data asked for has come)
type taskState uint8

const (
	// taskFree: not in use.
	taskFree taskState = iota
	// taskHeld: waits for its turn in CmdSN order.
	taskHeld
	// taskCollecting: the device server waits for its Data-Out.
	taskCollecting
	// taskRunning: submitted.
	taskRunning
	// taskEnded: the device server has ended it, but data is on its way. The status
	// waits for the last of it. RFC 7143 11.4.2 (Status).
	taskEnded
)

// task is one SCSI command of a session from its PDU to its answer. Tasks belong
// to their session and are used again and again. All but cmd is guarded by
// session.mu; cmd is the device server's from Begin to CommandDone, except Out,
// which only the connection's goroutine touches until the task ends.
type task struct {
	cmd   scsi.Command
	s     *session
	next  *task // in the free or returned list
	chain *task // in the table

	state     taskState
	number    uint64 // counts the tasks of the session
	immediate bool
	itt       wire.InitiatorTaskTag
	cmdSN     wire.Serial
	lun       wire.LUNField

	// Data-Out. All of it comes in order: DataPDUInOrder and DataSequenceInOrder
	// are Yes, whatever the initiator wants.
	unsolicited bool   // a sequence of unsolicited data is open
	got         uint32 // bytes that have come
	limit       uint32 // where the open sequence of unsolicited data has to end
	asked       uint32 // where the last R2T ends
	dataSN      wire.Serial
	r2tSN       wire.Serial
	open        [maxR2Ts]openR2T // in order
	opened      int
	since       time.Time // when data that is owed came last, or was asked for

	// aborters are the ABORT TASKs that wait for the end, linked by function.next.
	aborters *function
	// broken: the data is not what it has to be; the task ends with code.
	broken bool
	code   spc.SenseCode
}

// openR2T is an R2T whose data has not come completely.
type openR2T struct {
	ttt wire.TargetTransferTag
	end uint32 // offset behind its data
}

// expecting tells whether the initiator still owes data that it knows of.
func (t *task) expecting() bool { return t.unsolicited || t.opened > 0 }

// spoil has t end with code; the first reason counts.
func (t *task) spoil(code spc.SenseCode) {
	if !t.broken {
		t.broken, t.code = true, code
	}
}

// tableSize is a power of two. Initiators count their tags up, so chains are short.
const tableSize = 128

// table finds the tasks of a session by their tag.
type table [tableSize]*task

func (m *table) find(itt wire.InitiatorTaskTag) *task {
	t := m[itt%tableSize]
	for t != nil && t.itt != itt {
		t = t.chain
	}
	return t
}

func (m *table) add(t *task) {
	head := &m[t.itt%tableSize]
	t.chain = *head
	*head = t
}

func (m *table) remove(t *task) {
	p := &m[t.itt%tableSize]
	for *p != t {
		p = &(*p).chain
	}
	*p, t.chain = t.chain, nil
}

// each calls f with every task; f may remove the one it is given.
func (m *table) each(f func(t *task)) {
	for i := range m {
		for t := m[i]; t != nil; {
			next := t.chain
			f(t)
			t = next
		}
	}
}

// newTask gives a task that is not in use. Called by the connection's goroutine.
func (s *session) newTask() *task {
	if s.free == nil {
		s.takeBack()
	}
	t := s.free
	if t == nil {
		t = &task{s: s}
		t.cmd.Completer = t
		return t
	}
	s.free, t.next = t.next, nil
	return t
}

// takeBack frees the tasks that have been answered. Called by the connection's
// goroutine, after each submit too: a session would otherwise get more and more tasks,
// as its free ones run out in the middle of a batch. While commands wait for submit
// none is taken back: one of them may have ended, and Submit must not find another
// command in its place.
func (s *session) takeBack() {
	if len(s.ready) > 0 {
		return
	}
	list := s.returned.Swap(nil)
	if list == nil {
		return
	}
	last := list
	for last.next != nil {
		last = last.next
	}
	last.next, s.free = s.free, list
}

// putTask gives t back from any goroutine. Only the connection's goroutine takes
// tasks out, and it takes all of them, so the list has no ABA problem.
func (s *session) putTask(t *task) {
	for {
		t.next = s.returned.Load()
		if s.returned.CompareAndSwap(t.next, t) {
			return
		}
	}
}
