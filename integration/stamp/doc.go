// SPDX-License-Identifier: Apache-2.0

// Package stamp checks that a disk returns what was written to it, while paths
// fail, targets restart and writes overlap. It is the judge of fault tests.
//
//	c, err := stamp.New(stamp.Config{Writers: 8, Duration: 10 * time.Second, Seed: 1})
//	rep, err := c.Run(ctx, client1, client2) // targets; writers are spread over them
//	... faults are injected meanwhile ...
//	if rep.Violations != 0 { t.Fatal(rep) }
//	bad, err := c.Verify(file)              // afterwards, on the backing file itself
//
// # What is written
//
// Every 512-byte sector carries the run, its LBA, writer and sequence number of
// the write, a pattern derived from them, and CRC32C over all ([Stamp]). So each
// write of a run has a value of its own, and a sector that is read back names
// the write it comes from.
//
// # What is checked
//
// Each sector is a register. A read must return a value for which some order of
// all operations exists that keeps to real time (linearizability). Because
// values are unique, this needs no search (Gibbons and Korach, "Testing Shared
// Memories", 1997): give each value v the time f(v) at which the first
// operation on it ended (its write's acknowledgement, or the end of the first
// read that saw it) and s(v) at which the last one began. The history is good
// if no two values have f(v) < s(w) and f(w) < s(v): such v and w would each
// have to precede the other. Overlapping writes in flight thus leave a set of
// permissible values, and the first read that sees one of them narrows it.
//
// A write that got an error may take effect at any time, until a write to the
// same sector that began after that error is acknowledged; from then on it must
// never be seen (no ghost write). A write without an answer stays open.
//
// Violations are told apart as [Torn], [Misdirected], [Corrupt], [Stale] (an
// acknowledged newer write is missing) and [Ghost] (an older write came back
// over one that had been seen).
//
// A sector that was read while a write to it was in flight may be put together
// of permissible values: targets that serve a file from the page cache do that,
// and no client may rely on more. Such sectors are counted, not condemned,
// unless Config.Atomic is set. At rest a sector is never torn.
//
// # The journal
//
// The intent of each write is recorded before the request is sent, and its end
// after the answer, in memory and, if Config.Journal is set, in an append-only
// file outside the system under test. [Check] judges a backing file by it after
// everything has crashed. Operations are put in order by a counter under the
// model's lock; the clock of the host is used for reports only.
//
// # What it does not check
//
// Power loss: a write that was acknowledged must stay. Use targets whose cache
// survives the faults that the test injects.
package stamp
