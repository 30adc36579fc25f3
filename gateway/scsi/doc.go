// SPDX-License-Identifier: Apache-2.0

// Package scsi is the SCSI device server: CDB in, status, data and sense out.
// It carries commands out on a [backends.Device] and knows no socket and no
// PDU; a transport such as gateway/iscsi drives it.
//
// # The nouns
//
// A [Unit] is one logical unit over one device: identity, task set, mode pages,
// reservations. A [Target] maps LUNs to units, for all who log in to it; a unit
// may be mapped by several targets. A [Nexus] is one initiator port at one
// target port: an iSCSI session. A [Command] is one task, pooled by the
// transport.
//
// # One command's way
//
//  1. The transport fills a Command and calls [Nexus.Begin] in CmdSN order
//     (nexus.go). The CDB is looked up in the one table (table.go); unit
//     attention, reservation, fields, range and direction are checked; the
//     task enters the unit's task set. Begin tells how many bytes of Data-Out
//     the command wants, or that it has ended.
//  2. The transport collects exactly Command.Want bytes in Command.Out and
//     calls [Nexus.Submit], with all commands that became ready in this
//     wake-up. Tasks that may run go to the device in one call (taskset.go).
//  3. The device completes on any goroutine. The result becomes status, sense,
//     In and residual (outcome.go), and [Completer] is told by that goroutine's
//     batch, exactly once for each command that Begin let in.
//
// READ and WRITE allocate nothing on this way.
//
// # Who may touch a Command when
//
// It is the transport's until Begin and after its end. Begin and Submit of one
// nexus are called by one goroutine, which is also the only one that uses
// a Command again. So a command that is aborted from elsewhere, between Begin
// and Submit, completes at once on that other goroutine, and a Submit that
// comes too late does nothing. Out stays the transport's: it is borrowed from
// Submit to the end, and the transport releases it. In is given back at the end.
//
// # Task management
//
// Every function calls its done by a batch when the tasks that it covers have
// completed: their device requests too, so nothing of them can change the
// medium afterwards. A CommandDone that another goroutine is just calling may
// still be under way then. The transport bounds the wait. A task that ends so has
// Command.Silent, or status TASK ABORTED for another nexus when TAS is set.
//
// # Locks
//
// Target.mu, or the lock of a job, and then Unit.mu. Unit.mu is a leaf: the
// device, completers, stores and done functions are called with no lock held.
//
// # Reservations
//
// Persistent reservations are a pure value (reservations.go) with the store
// before the answer; RESERVE and RELEASE are the old way (reserve.go). What they
// leave to each nexus is one number, its access level, compared with that of the
// table entry. Unit.Allows tells the same to those that are no nexus.
package scsi
