// SPDX-License-Identifier: Apache-2.0

// Package stream moves messages between sockets and buffers: a [Reader] that
// takes all that a socket holds and holds no memory while idle, and a [Queue]
// that collects what is to be sent and hands it to the kernel with one vector
// write. Both front-ends and the initiator are built on it.
//
// # One goroutine reads a socket and does the work itself
//
// The reading goroutine calls Fill, decodes every complete message, carries
// each through to the next socket's Queue by Append, and then calls Flush on
// the queues that it touched (backends.Batch remembers them). Flush writes
// without ever waiting. When the kernel's send buffer is full, the rest is
// finished by a goroutine of the queue; whoever calls Flush meanwhile returns
// at once. So no request changes goroutines on its fast path.
//
// # Ownership
//
// A Queue holds a reference on every payload slice until its last byte was
// handed to the kernel, or until Close, which waits for the writer first. The
// bytes of a payload that a failed connection may still carry are therefore
// never re-used. Position tells, for every message, whether a byte of it has
// left: [Queue.Sent] below or equal to the message's start position means not
// one byte.
//
// # Concurrency
//
// Append, Urgent, Flush, Remove, Sent and Pending of a Queue are safe for
// concurrent use. The order of messages is the order of Append calls; only those
// of Urgent overtake. A Reader belongs to one goroutine.
//
// Connections that give no raw descriptor (net.Pipe) are served through
// net.Conn by the queue's own goroutine, always.
//
// # TLS
//
// [Secure] stands between a TLS library and the socket, and gives up waiting to the
// Reader and the Queue: whoever flushes encrypts, up to sealBytes at once and in
// records as long as can be, and sends with one vector write; whoever fills decrypts
// all that has come. So TLS costs no goroutine either. What is encrypted counts as
// pending, and as sent, until it has left.
package stream
