// SPDX-License-Identifier: Apache-2.0

// Package iscsi is the iSCSI target: it serves the logical units of package
// gateway/scsi over TCP, as RFC 7143 describes it. It knows PDUs, sessions and
// numbers; what a CDB means is the device server's.
//
// # What is spoken
//
// Discovery and normal sessions at error recovery level 0, one connection each:
// every login key, CHAP both ways, header and data digests, immediate and
// unsolicited data, several outstanding R2Ts, status in the last Data-In, every
// task management function of the RFC, text negotiation in full feature phase,
// pings both ways, asynchronous logout requests, login redirection. A SNACK is
// refused, and so is a second connection for a session.
//
// # One command's way
//
//  1. receive.go: the connection's goroutine takes what the socket has and decodes
//     every complete PDU. window.go puts requests into CmdSN order.
//  2. command.go: a SCSI Command becomes a pooled task (task.go), and the device
//     server says how much Data-Out it wants. dataout.go collects it: immediate and
//     unsolicited data, and what R2Ts ask for. Payloads are slices of the receive
//     memory; nothing is copied.
//  3. session.go: all commands that have their data are submitted in one call
//     before the goroutine may wait for the socket again.
//  4. response.go: the device completes on any goroutine. Data-In PDUs and the
//     status are appended to the connection's stream.Queue, which the batch of that
//     goroutine flushes once.
//
// READ and WRITE allocate nothing on this way, and no command has a goroutine.
//
// # Sessions
//
// A login with the name, ISID, target and portal group of a session that exists
// ends that session first: it is answered when the last task of the old one has
// ended (reinstate.go). A session ends with its connection; its tasks are aborted,
// and the connection's goroutine waits for them. Initiators that come back with a new
// random ISID end no session: what their old one still gets waits for a proof that it
// is in use (doubt.go).
//
// # Back-pressure
//
// The command window (window.go) has as many places as the credits of the session's
// units allow, up to Config.QueueDepth. A connection is not read while more than
// Config.MaxPending bytes of answers wait for the initiator.
//
// # Bounds
//
// Before login a peer gets 8 KiB of text, 32 requests and Config.LoginTimeout; how
// many may log in at once is bounded, per address too. Payload memory grows as
// bytes come, never by a length that a peer only told.
//
// # Locks
//
// Server.mu, then session.mu, then the queue's own. session.mu is held while a
// PDU is encoded and appended, which orders StatSN as the stream. The device server
// and the target source are called with no lock held.
package iscsi
