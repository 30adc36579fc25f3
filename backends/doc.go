// SPDX-License-Identifier: Apache-2.0

// Package backends holds the two seams of pathgate and the simple devices.
//
// [Device] is what a front-end is handed: a memory or file device, a LUN over
// all its paths (multipath), a scheduled LUN, a virtual disk. [Session] is what
// the path manager is handed: one initiator session on one LUN. Everything
// above a seam is ignorant of what is below it.
//
// # One request
//
// The submitter fills a [Request] and calls Submit with the [Batch] of its
// goroutine. The device works on it and, sooner or later, on any goroutine,
// calls [Batch.Complete], which calls the request's [Completer] from
// [Batch.Run]. The rules:
//
//   - Submit takes everything, never blocks and never waits for the network.
//   - A completion is never delivered inside Submit, Abort or Reset, but by
//     the Run of a batch. So there is no recursion, and no lock is ever held
//     over Submit or Complete. A device calls Batch.Complete, never
//     Completer.Complete.
//   - Every request completes exactly once, also on abort, session loss and
//     shutdown. Until then it is the device's; afterwards its owner's.
//   - Write payloads are reference-counted. The submitter keeps its holds until
//     completion; a device that may still send the bytes afterwards has holds
//     of its own. The bytes never change.
//   - Read payloads come from the device: at completion with [OK], Request.Data
//     holds them and the completer takes them. So a retry never shares a buffer
//     with an attempt that is still alive.
//
// # Batch
//
// A goroutine that reads a socket owns a Batch. It decodes and submits all that
// the socket had, and then calls Run: the deferred completions are delivered,
// which may append to further send queues, and every queue that was touched is
// flushed once. Timers and session-loss handling use a Batch of their own.
//
// # Credits, not refusals
//
// A connection gets a [Grant] when it opens, drawn on the [Pool] of each flow,
// and stops reading when it is used up, until completions give credits back.
//
// # The scheduler's view
//
// Only the scheduler queues. A LUN that has to hold back what it was given
// (no path, a ghost range, a busy target) tells its [Observer], so that held
// requests do not take up the window of the others.
package backends
