// SPDX-License-Identifier: Apache-2.0

// Package iscsi is the initiator: sessions to real iSCSI targets, in pure Go.
// It implements [pathgate/backends.Connector], Nexus and Session.
//
// # One request, stage by stage
//
//  1. Session.Submit (session.go, submit.go), on the submitter's goroutine: the
//     request becomes a CDB (cdb.go) and a task (tasks.go). If the target's
//     command window (window.go) is open, the command is numbered and appended
//     to the send queue with its immediate and unsolicited data (send.go); else
//     it waits in its session (waiting.go). Submit touches the queue.
//  2. Batch.Run, same goroutine: the queue is flushed, one vector write. What
//     the socket does not take is finished by the queue's own goroutine.
//  3. The nexus's goroutine reads the socket (receive.go), takes every complete
//     PDU in it, and hands each to its handler: Data-In (datain.go), R2T (r2t.go),
//     responses (response.go), the rest (message.go, tmf.go, nop.go).
//  4. A handler that ends a task completes it into the reader's batch, and a
//     window that has opened lets waiting commands go.
//  5. Before the reader may wait for the socket it runs its batch: completions
//     are delivered, and all queues that they touched are flushed.
//
// # Goroutines
//
// One per nexus: it logs in, tells Up, reads until the session is lost, tells
// Down, completes what was outstanding, and waits before it logs in again. One
// per session more, which only has timers: NOP-Out, task management functions,
// Exec deadlines (watch.go). A send queue has a third while its socket is full. A
// [Links] has one, and two that read from the kernel; it ends the sessions of an
// adapter that has lost its link (nexus_link.go).
//
// # Locks
//
// nexus.mu guards what is wanted of the nexus and is held for moments. conn.mu
// guards one session's tasks, numbers and waiting commands, and is held while a
// PDU is encoded and appended, which orders CmdSN as the stream. Order: nexus.mu,
// conn.mu, then the queue's own. No handler, completion or socket call is made
// under a lock.
//
// # Hostile targets
//
// Nothing that a target sends makes a task succeed that was not carried out: tags
// carry a generation (tasks.go), data must come in order and in full
// (datain.go), residuals must add up (response.go). Everything else that breaks
// the protocol ends the session. No memory is set aside by a number from the
// wire: payload memory grows as bytes come, everything else has a fixed bound.
package iscsi
