// SPDX-License-Identifier: Apache-2.0

// Package thrash breaks paths at random under the real gateway, and has what it
// did judged. It is the thrasher of the test bed.
//
// A round is made from its seed alone ([NewPlan]): a topology, and a list of
// faults, each with its victim and its length. [Run] builds the topology anew
// (tgtd processes, proxies or links, a gateway as a child process), puts 8
// stamping writers over NBD on it, and carries the faults out one after the
// other: strike, wait until the gateway has lost the paths, mend, wait until all
// is well again. Then all that was written is judged, through the gateway and on
// the backing file; the journal of the writers is in this process, outside of
// what is tested.
//
// # What a round demands
//
//   - No violation.
//   - No error of a client. LUNs queue while all paths are down, so this holds for
//     rounds without a living path too. In rounds that kill the gateway, requests
//     in flight on the connections that ended with it are the exception; they are
//     counted apart, and stay open in the journal's sense: they may take effect,
//     until a write over them is acknowledged.
//   - Each fault took place: the proxy counted it, or the gateway told of it.
//     A round that injected nothing has failed.
//   - All paths come back, and no ghost is left.
//
// # Figures
//
// A [Report] has, for each kind of fault, how many were injected, how many cost a
// path that was in use, and how long a client waited: of all requests that were
// in flight at some time between the strike and the end of the repair, the
// longest wait from the strike on. A write that overlaps one whose end is not
// known waits for the fence, so [Report] tells the longest time in which nothing
// ended at all, too.
//
// # Repeating
//
// Every failure prints `make thrash SEED=n ROUNDS=1`. A seed repeats the topology,
// the faults, their order and their lengths; not the timing of processes.
package thrash
