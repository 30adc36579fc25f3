// SPDX-License-Identifier: Apache-2.0

package iscsi

import (
	"time"

	"pathgate/backends"
	"pathgate/internal/buffer"
	wire "pathgate/internal/iscsi"
)

// An Initiator Task Tag is a slot of the task table (low bits) and the number
// of times the slot was used (high bits): a tag that a target sends names a
// living task only when both agree. The last slot is that of NOP-Outs.
const (
	slotBits = 12
	slotMask = 1<<slotBits - 1
	maxTasks = slotMask // slots 0 to maxTasks-1
	nopSlot  = slotMask
)

// taskKind is what a slot is in use for.
type taskKind uint8

const (
	kindFree taskKind = iota
	// kindRequest: a data operation; req is set.
	kindRequest
	// kindExec: a CDB of the caller's; exec is set.
	kindExec
	// kindTMF: a task management function; tmf is set.
	kindTMF
	// kindLogout: our Logout Request.
	kindLogout
	// kindLate: nobody waits any more, but the target may still answer: that is
	// swallowed and frees the slot.
	kindLate
	// kindEnded: a task that the target has confirmed as aborted. The slot rests;
	// its tag is never used again, and an answer breaks the protocol.
	kindEnded
)

// task is one command, or function, that was sent. Guarded by conn.mu.
type task struct {
	itt   uint32 // of this use
	kind  taskKind
	stuck bool // no more data is sent for it: it was, or is to be, aborted
	owed  bool // Data-Out was taken out of the send queue
	read  bool
	write bool
	isTMF bool // a tombstone of a task management function
	sess  *session

	req  *backends.Request
	exec *backends.Command
	tmf  *backends.TaskManagement
	ref  uint32 // of an ABORT TASK: the tag of the task that it names

	cmdSN wire.Serial
	start uint64 // position of its command in the send queue
	edtl  uint32 // expected data transfer length, bytes

	// Read side.
	in     buffer.Vec
	got    uint32
	dataSN uint32

	// Write side. out is the caller's payload, borrowed until completion.
	out     buffer.Vec
	own     buffer.Vec // holds out where the session made it
	queued  uint32     // bytes given to the send queue, in order from 0
	end     uint64     // position behind the last of them
	r2tSN   uint32
	r2tEnds []uint64 // ends of the answers to R2Ts that may not have been sent yet

	deadline time.Time // of exec and tmf

	// A request that takes several commands: step bytes of it were done before
	// this one, which does span.
	step, span uint64
}

// queueTag names the Data-Out of t in the send queue.
func (t *task) queueTag() uint64 { return 1<<32 | uint64(t.itt) }

// owes tells whether the target may still wait for Data-Out of t, given the
// position up to which the queue's bytes have left or will.
func (t *task) owes(sent uint64) bool {
	return t.write && (t.owed || t.queued < t.edtl || t.queued > 0 && t.end > sent)
}

// taskTable is the slots of one session. Guarded by conn.mu.
type taskTable struct {
	slots []*task
	free  []uint32 // slots that are free, last used on top
	ended []uint32 // slots of kindEnded, oldest first
	busy  int      // slots in use, tombstones included
}

// maxEnded is how many slots of ended tasks rest. The longest rested one is used
// again, under another tag, when there are more.
const maxEnded = 512

// retire ends the use of t, which was reported, by a confirmation of the target.
func (tt *taskTable) retire(t *task) {
	t.entomb(kindEnded)
	tt.ended = append(tt.ended, t.itt&slotMask)
	if len(tt.ended) > maxEnded {
		oldest := tt.slots[tt.ended[0]]
		tt.ended = append(tt.ended[:0], tt.ended[1:]...)
		tt.put(oldest)
	}
}

// get gives a free task, or nil when all slots are in use.
func (tt *taskTable) get() *task {
	if n := len(tt.free); n > 0 {
		t := tt.slots[tt.free[n-1]]
		tt.free = tt.free[:n-1]
		tt.busy++
		return t
	}
	if len(tt.slots) == maxTasks {
		return nil
	}
	t := &task{itt: uint32(len(tt.slots))}
	tt.slots = append(tt.slots, t)
	tt.busy++
	return t
}

// put frees the slot of t. Everything that t held is given back or was moved.
func (tt *taskTable) put(t *task) {
	t.in.Release()
	t.own.Release()
	clear(t.r2tEnds)
	*t = task{itt: t.itt + 1<<slotBits, in: t.in, own: t.own, r2tEnds: t.r2tEnds[:0]}
	tt.free = append(tt.free, t.itt&slotMask)
	tt.busy--
}

// find gives the task that a tag of the target's names, or nil: unknown, free, of
// an older use, or confirmed as aborted.
func (tt *taskTable) find(itt wire.InitiatorTaskTag) *task {
	slot := uint32(itt) & slotMask
	if slot >= uint32(len(tt.slots)) {
		return nil
	}
	t := tt.slots[slot]
	if t.itt != uint32(itt) || t.kind == kindFree || t.kind == kindEnded {
		return nil
	}
	return t
}

// entomb turns t into a tombstone of kind k and drops its payload.
func (t *task) entomb(k taskKind) {
	t.isTMF = t.kind == kindTMF
	t.kind = k
	t.stuck = true
	t.req, t.exec, t.tmf = nil, nil, nil
	t.in.Release()
	t.out = nil
	t.own.Release()
}
