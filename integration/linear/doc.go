// SPDX-License-Identifier: Apache-2.0

// Package linear checks that a disk is linearizable: that what concurrent clients
// saw of it is what they would have seen of a disk that carries out one request
// after the other, each at some moment between its begin and its end. The search
// for such an order is porcupine's (github.com/anishathalye/porcupine), so that it
// shares no reasoning with package stamp, which decides the same by a rule.
//
//	h, err := linear.Run(ctx, linear.Config{Ops: 10_000, Seed: 1}, client1, client2)
//	v := h.Check(time.Minute)
//	if !v.OK() { v.WriteHTML(file); t.Fatal(v) }
//
// # The model
//
// Each sector is a register of its own; a request for several sectors is one
// operation on each. Every write has a value of its own, of which all words of the
// sector are made, together with the sector's number. So a read tells which write
// it saw, and misdirected and torn sectors are known without a search.
//
// # Writes that did not end well
//
// A write without an answer stays open: it may take effect until the end of the
// history. A write that was answered with an error may take effect until the
// acknowledgement of the next overlapping write that began after the error, and
// only before that one does. Without this rule a ghost is taken for a late effect:
// W1 fails, W2 is acknowledged over it, and W1 lands then.
//
// A write that did not end well and that no read has seen is left out: whether it
// took effect makes no difference to anybody.
//
// # Torn reads
//
// A target that serves a file may mix two writes in one sector that is read
// meanwhile. Such a read counts as one read of each value found, all in its time,
// so each of them must be right by itself. With no write in flight it is a fault.
package linear
