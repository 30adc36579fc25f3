// SPDX-License-Identifier: Apache-2.0

// Package nbd is the NBD server: it offers devices as exports over TCP and unix
// sockets, as doc/proto.md of NetworkBlockDevice/nbd describes it. It knows
// [backends.Device] and nothing of what is behind it.
//
// # What is spoken
//
// Fixed newstyle negotiation with EXPORT_NAME, ABORT, LIST, STARTTLS, INFO, GO,
// STRUCTURED_REPLY, EXTENDED_HEADERS, LIST_META_CONTEXT and SET_META_CONTEXT, and
// transmission in one of three dialects (chunk.go): READ, WRITE, FLUSH, TRIM,
// CACHE, WRITE_ZEROES, BLOCK_STATUS, DISC; FUA on every command; RESIZE where
// [Handle.Resize] says how (resize.go). Many requests are in flight per connection and
// replies go out as requests end, in any order. Every other option is answered with
// ERR_UNSUP.
//
// Metadata contexts of every export (meta.go, status.go): base:allocation, as the
// device tells it, and pathgate:paths, whose flags are [PathsDegraded],
// [PathsNone] and [PathsHeld]. Zeros that are read become holes (hole.go).
//
// # One request's way
//
//  1. transmit.go: the connection's goroutine takes what the socket has
//     (stream.Reader), decodes every complete request and checks it (command.go).
//  2. transmit.go: it takes a credit of the device's Grant, fills a pooled task
//     (task.go; longer than the device's limits: split.go), and submits
//     all tasks of this wake-up in one call. Write payloads are slices of the
//     receive memory; nothing is copied.
//  3. task.go: the device completes a task on any goroutine. Header and read
//     payload are appended to the connection's stream.Queue; the batch of that
//     goroutine flushes the queue once.
//
// Nothing of this allocates, but for BLOCK_STATUS and RESIZE, and no request has a
// goroutine of its own but the RESIZEs of a connection, which share one. The header of a READ, or of its chunks, is made when all data is
// there, so an error after the header, which would force a disconnect, cannot
// happen.
//
// # Back-pressure
//
// A connection stops reading its socket while the Grant has no credit, and
// while more than Config.MaxPending bytes of replies wait for the client. An idle
// connection holds no data buffer.
//
// # TLS
//
// A listener has TLS off, optional or required ([Security]). STARTTLS begins the
// negotiation anew: the connection gets another Reader and Queue, over TLS
// (tls.go, stream.Secure), and what the source is asked from then on has the client's
// certificate in its Peer. Everything else is as without.
//
// # Ends
//
// DISC or the end of the client's stream: what is outstanding is carried out
// and answered, then the connection closes. A lost connection: the same,
// without answers. A stop of the server or of an export: requests that still come
// are answered with ESHUTDOWN (infoReconnects, CloseOnStop: not at all), outstanding ones are served; what is left at the
// deadline is aborted. A connection's goroutine ends after its last request, so
// that a device may be closed when Serve has returned.
//
// # Locks
//
// Server.mu, then conn.mu; both are leaves for everything outside this package.
package nbd
