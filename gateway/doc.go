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
//   - disk.go: virtual disks, extents of LUNs or local files shown as one device.
//   - router.go: one request's way from a disk to a path.
//   - gateway.go: build from Config, Run(ctx), ordered stop.
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
//   - store: bbolt's own writer lock; Store methods take no other lock of ours.
//   - Bus.mu: leaf. Publish may be called with any lock held, and calls nothing.
//   - explanation slots: leaf. Explain may be called with any lock held.
package gateway
