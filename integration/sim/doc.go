// SPDX-License-Identifier: Apache-2.0

// Package sim is a storage network in memory for deterministic simulation inside
// testing/synctest: connections, targets and their faults in virtual time. What
// runs on it is the real initiator, byte for byte: each PDU is encoded, cut into
// reads and decoded on both sides.
//
//	n := sim.NewNetwork()
//	tg := n.Target("iqn.2026-11.test:a", sim.Tgtd(), "10.0.0.1:3260", "10.0.0.2:3260")
//	u := tg.Unit(1, sim.NewMedium(1<<20), scsi.NAARegistered(0x001405, 7, 1))
//	k, err := iscsi.New(iscsi.Config{..., Dial: n.Dialer("vmhba0")})
//	... time.AfterFunc(d, func() { tg.Stop() }) ...
//
// # What the network does
//
// A connection is two streams. Each has bytes on their way, which a fault can hold
// or swallow, and bytes that have arrived, which a stopped process does not read.
// Closing our end takes nothing back: what has arrived, and what is held and let go
// later, is read by the target before it sees the end. That is what was measured on
// Linux for FIN and for RST.
//
// # What the targets do
//
// A [Behaviour] has one field for each row of what was measured on tgtd and LIO;
// [Tgtd] and [LIO] are the two. A target process reads its connections, one
// goroutine for each; a write that it has read in full is given to a worker and
// changes the medium when the worker is done, whatever has become of the
// connection. Several targets may have one medium: processes on one file.
//
// # Concurrency
//
// One lock guards a network and all that is on it, and is held for moments; all
// waiting is on channels and timers, as synctest needs it. All methods are safe for
// concurrent use.
package sim
