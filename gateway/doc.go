// SPDX-License-Identifier: Apache-2.0

// Package gateway composes pathgate: it is the only package that knows the path
// manager, the scheduler, the back-ends and the front-ends, and joins them.
//
// # What lives here
//
//   - config*.go, size.go: the YAML declaration as Go types, its decoder and its
//     defaults. validate*.go: rules over several values. A refused configuration
//     gives every fault at once, with line and column.
//   - store*.go: what must survive a restart (ISIDs, target numbers, name bindings,
//     aliases, disabled paths, ghosts, LUN numbers, the clean-stop record), in bbolt.
//   - events*.go: one event bus and one ring of explanations.
//   - disk*.go: virtual disks, extents of LUNs or local files shown as one device.
//   - router*.go, flow.go: between disks and a device, where the scheduler decides.
//   - owner*.go: which client has a disk, over both front-ends.
//   - shares*.go: who is to get what, from configuration and run-time changes, as
//     plans for the schedulers.
//   - gateway.go: build from Config, Run(ctx), ordered stop. paths*.go: the path
//     manager of a configuration and its events. attach.go: disks find their LUNs.
//     exports.go, targets*.go, adminview*.go, listen.go: what the front-ends and the
//     API see; outsider.go: what initiators have reserved, towards the others.
//
// # One READ, from socket to socket
//
//  1. gateway/nbd/transmit.go, the connection's goroutine: takes all that the
//     socket holds and decodes every request; one Submit for all of them.
//  2. disk_io.go: cuts the request at extents; one part each.
//  3. router.go: the scheduler passes the part on, or keeps it.
//  4. multipath/device.go: picks a path; an attempt of its own goes out.
//  5. backends/iscsi/send.go: a SCSI Command in the session's send queue.
//  6. internal/stream/queue.go: at the end of the batch one vector write for all.
//  7. backends/iscsi/datain.go, the session's goroutine: the answer's data, by
//     reference; 4, 3 and 2 complete in that order in its batch.
//  8. gateway/nbd/task.go: header and data into the client's send queue, written
//     at the end of that batch.
//
// Over iSCSI 1 and 8 are gateway/iscsi/command.go and response.go, with
// gateway/scsi/readwrite.go between them and the disk.
//
// # What is decided where
//
// The configuration is a declaration and never changes while it is in use. What an
// administrator changes at run time, and what the gateway learned and must not learn
// differently the next time, is in the store. Secrets are in neither: both refer to
// files.
//
// # Lock order
//
// A lock further down may be taken while one further up is held, never the reverse.
// No lock is held over I/O, a send, or a callback into another package.
//
//   - Disk.mu, then the router's and the device's locks (Abort only). Submit and
//     completions are made with none held; a device tells its router what it
//     holds back (QueueEvent) under its own lock, and the router only counts.
//   - Shares.changes, which a change of shares holds from check to plan, then
//     Shares.mu, the store's lock, or Router.changes, and below that Router.mu or
//     a scheduler's lock. Shares.mu is a leaf.
//   - A scsi.Target's lock, then Disk.mu: a session that begins asks the disk for its
//     credits. A scsi.Unit's lock, then sessionUses.mu, then ownership.mu: a command
//     claims its disk. What a claim cuts off is cut off with none of them held.
//   - servedDisk.mu and Disk.mu are never held together. Gateway.mu: leaf.
//   - store: bbolt's own writer lock; Store methods take no other lock of ours.
//   - Bus.mu: leaf. Publish may be called with any lock held, and calls nothing.
//   - explanation slots: leaf. Explain may be called with any lock held.
package gateway
