// SPDX-License-Identifier: Apache-2.0

// Package proxy is a TCP proxy that injects faults on one path between an
// initiator and a target. One instance stands for one path: it listens on a
// loopback address and forwards each connection to one target address.
//
//	p := proxy.MustNew(t, proxy.Options{Target: "127.0.0.1:13260", Protocol: proxy.ISCSI, Seed: 1})
//	... use p.Addr() as the portal ...
//	p.Set(proxy.Fault{Kind: proxy.BlackHole})
//	... the gateway must fail over ...
//	p.Clear()
//	if p.Counters().Fault(proxy.BlackHole).Bytes == 0 { t.Fatal("nothing was swallowed") }
//
// A fault test asserts on [Counters] that its fault took place; a test whose
// fault hit nothing proves nothing.
//
// # What the proxy is not
//
// It ends TCP on both sides, so it cannot show lost segments: the kernel of
// the proxy acknowledges what it has read. A [Hold] is what a network
// partition that heals looks like (bytes come late, nothing is lost); a
// [BlackHole] loses bytes for good, so connections that lost some are reset
// when it is cleared, as a middlebox does that forgot its state.
//
// # PDU awareness
//
// With Protocol ISCSI both directions are split into PDUs (RFC 7143 11.2) by
// a framer of its own that shares no code with the product; digests are learnt
// from the Login Response keys (RFC 7143 13.1). A [Trigger] can then start a
// fault at byte N of a chosen PDU. The header of a PDU is forwarded only when
// all of its 48 bytes have come. Portals that a target advertises are not
// rewritten.
//
// # How a direction works
//
//	source -> reader (frames, counts, corrupts, duplicates, fires triggers)
//	       -> queue  -> writer (holds, delays, paces, swallows) -> destination
//
// Without a fault the reader writes to the destination itself and the queue
// stays empty. End of stream and reset travel through the queue like bytes, so
// a held direction delivers what it holds even if its source died long ago;
// the destination then sees FIN after the last byte.
//
// Concurrency: all methods of Proxy may be called from any goroutine.
// Determinism: random choices come from Options.Seed and the connection's
// number; for a given stream of PDUs the same bits are flipped.
package proxy
